use std::{collections::BTreeMap, env, net::IpAddr, time::Duration};

use crate::{Action, Script, World};

/// From the death of a node until each of its addresses has another owner.
const MOVED: Duration = Duration::from_millis(250);

/// Who answers for each address.
fn owners(world: &World) -> BTreeMap<IpAddr, usize> {
    let mut owners = BTreeMap::new();
    for host in &world.hosts {
        for address in &host.answers {
            let other = owners.insert(*address, host.number);
            assert_eq!(other, None, "{address} is answered by {} too", host.name);
        }
    }
    owners
}

/// Four hundred take a minute, so `make soak` plays them, and `make test` fewer. A thousand take many minutes and five gigabytes.
#[test]
fn a_node_dies_among_many() {
    let nodes = if env::var_os("LANDFALL_SOAK").is_some() { 400 } else { 80 };
    let services = nodes / 4;
    let script = format!("nodes {nodes}\nservices {services}\nseed 2\nuntil 0");
    let mut world = World::new(&Script::parse(&script).expect("a script"));
    world.run_until(world.now + Duration::from_secs(3));
    let before = owners(&world);
    assert_eq!(before.len(), services);
    let count = |node: usize| before.values().filter(|owner| **owner == node).count();
    let dead = (0..nodes).max_by_key(|node| count(*node)).expect("there are nodes");
    assert!(count(dead) > 1);

    world.act(Action::PowerOff(dead));
    world.run_until(world.now + MOVED);
    let after = owners(&world);
    for (address, owner) in &before {
        let now = after.get(address);
        let moved = now.is_some_and(|now| now != owner);
        assert_eq!(moved, *owner == dead, "{address} of {owner}, where {dead} died: {now:?}");
    }
    assert_eq!(world.judge.finish(), []);
    println!("{} of {services} addresses moved among {nodes} nodes", count(dead));
}
