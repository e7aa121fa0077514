//! A person moves an address to a node, and a machine takes back what it is best for: nothing is lost, and no two machines
//! answer the same question.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use landfall_e2e::cluster::ANSWERED;
use landfall_e2e::machines::PATIENCE;
use landfall_e2e::manifests::{SHOP, list, plain_advertisement, pool, service};
use landfall_e2e::requests::{Open, Traffic, settled};
use landfall_e2e::wait::{throughout, until};
use landfall_e2e::{Asker, Cluster, Contender, Machines, Sections};
use landfall_lan::{Host, MacAddress};
use landfall_testbed::guide;
use serde_json::{Value, json};

/// How long an owner is watched for moving on.
const CALM: Duration = Duration::from_secs(2);
/// Four questions of a peer, the last one 1.65 s after the first, and a machine that is busy with other things.
const FOUND_OUT: Duration = Duration::from_secs(5);
/// The label that takes a node out.
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn machines_hand_over_when_a_person_asks() {
    on_machines(&[], |machines| {
        let before = machines.owner(0)?;
        let to = (before + 1) % 3;
        let stream = machines.stream(0)?;
        stream.answered_after(Instant::now(), PATIENCE)?;
        let begin = Instant::now();
        machines.prefer(0, to, "1")?;
        let after = machines.successor(0, before)?;
        ensure!(after == to, "machine {after} took it, not {to}");
        std::thread::sleep(CALM);
        one_after_the_other(&machines.asker, machines.address(0), begin, &macs(machines, &[before, to]))?;
        ensure!(stream.lost_since(begin) == 0, "{} datagrams were lost", stream.lost_since(begin));
        eprintln!("   longest gap {:.0?}", stream.longest_gap_since(begin));
        // Every process begins anew, with the annotation in its manifest: nothing moves.
        for index in (0..3).rev() {
            machines.process(index)?.kill()?;
            machines.run(index)?;
            throughout("it stays", CALM, || {
                let mac = machines.host(to).mac();
                let heard = machines.asker.heard_since(machines.address(0), begin + CALM / 2);
                ensure!(heard.iter().all(|heard| Some(heard.mac) == mac), "another machine answers");
                Ok(())
            })?;
        }
        until("the owner to answer", PATIENCE, || {
            let owner = machines.owner(0)?;
            ensure!(owner == to, "machine {owner} has it");
            Ok(())
        })
    });
}

#[test]
#[ignore = "needs root and nft; make test runs it"]
fn a_machine_that_returns_takes_back_what_it_is_best_for() {
    on_machines(&["--fail-back", "2s"], |machines| {
        let best = machines.owner(0)?;
        let stream = machines.stream(0)?;
        machines.host(best).cut()?;
        let heir = machines.successor(0, best)?;
        machines.host(best).heal()?;
        stream.answered_after(Instant::now(), PATIENCE)?;
        let begin = Instant::now();
        let owner = machines.successor(0, heir)?;
        ensure!(owner == best, "machine {owner} took it, not {best}");
        ensure!(begin.elapsed() > Duration::from_secs(1), "it was back after {:?}", begin.elapsed());
        std::thread::sleep(CALM);
        let (lost, gap) = (stream.lost_since(begin), stream.longest_gap_since(begin));
        eprintln!("   {lost} lost, longest gap {gap:.0?}");
        ensure!(lost == 0, "{lost} datagrams were lost");
        one_after_the_other(&machines.asker, machines.address(0), begin, &macs(machines, &[heir, best]))
    });
}

/// A filter on its port lets its kernel's ARP out, and not that for the address: the machine works, and no client finds it.
#[test]
#[ignore = "needs root and nft; make test runs it"]
fn a_machine_that_nobody_hears_gives_the_address_away() {
    on_machines(&[], |machines| {
        let before = machines.owner(0)?;
        let deaf = (before + 1) % 3;
        let hook = format!("type filter hook egress device {} priority 0", Host::INTERFACE);
        let address = machines.address(0);
        let rules = format!(
            "add table netdev unheard; add chain netdev unheard out {{ {hook}; }}; \
             add rule netdev unheard out arp saddr ip {address} drop"
        );
        let output = machines.host(deaf).command("nft").arg(rules).output()?;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        let stream = machines.stream(0)?;
        stream.answered_after(Instant::now(), PATIENCE)?;
        let begin = Instant::now();
        machines.prefer(0, deaf, "1")?;
        until("the machine that is not heard to give it away", PATIENCE, || {
            let log = machines.log(deaf)?;
            ensure!(log.contains("announcementNotConfirmed"), "it does not say so");
            ensure!(log.contains("another node takes it over"), "{log}");
            Ok(())
        })?;
        let answered = Instant::now();
        stream.answered_after(answered, PATIENCE)?;
        until("an owner that is heard", PATIENCE, || {
            let owner = machines.owner(0)?;
            ensure!(owner != deaf, "nobody can hear that one");
            Ok(())
        })?;
        let gap = stream.longest_gap_since(begin);
        eprintln!("   longest gap {gap:.0?}");
        ensure!(gap < FOUND_OUT, "a client waited for {gap:?}");
        // Nobody tries it again.
        throughout("it stays where it is heard", CALM, || {
            let owners = machines.owners(0)?;
            ensure!(!owners.contains(&deaf) && owners.len() == 1, "owners: {owners:?}");
            Ok(())
        })
    });
}

fn on_machines(flags: &[&str], case: impl FnOnce(&mut Machines) -> Result<()>) {
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let mut machines = Machines::start(3, 1, Contender::Landfall(flags)).expect("machines");
    let outcome = case(&mut machines);
    let diagnosis = outcome.as_ref().err().map(|error| format!("{error:#}\n{}", machines.diagnosis()));
    machines.teardown().expect("nothing is left");
    assert!(diagnosis.is_none(), "{}", diagnosis.unwrap_or_default());
}

fn macs(machines: &Machines, indices: &[usize]) -> Vec<MacAddress> {
    indices.iter().filter_map(|index| machines.host(*index).mac()).collect()
}

/// Whoever was heard once another one had spoken was not heard again.
fn one_after_the_other(asker: &Asker, address: IpAddr, since: Instant, line: &[MacAddress]) -> Result<()> {
    let mut heard: Vec<MacAddress> =
        asker.heard_since(address, since).into_iter().map(|heard| heard.mac).collect();
    heard.dedup();
    ensure!(line.ends_with(&heard) && !heard.is_empty(), "first {line:?}, but it was {heard:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn a_person_moves_a_service() {
    let mut sections = Sections::on_new_cluster(prepare);
    sections.run("to another node, and no connection is lost", moved);
    sections.run("as the documentation says", documented);
    sections.run("what cannot be is said, and changes nothing", refused);
    sections.run("what cannot be yet waits, and says so", waits);
    sections.finish();
}

fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.deploy_backends("web", 4)?;
    cluster.install()?;
    let addresses = ["10.77.0.200-10.77.0.239", "fd77::c8:0/120"];
    cluster.apply(&list([pool("lan", &addresses, json!({})), plain_advertisement("lan")]))?;
    cluster.apply(&service("web", "web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}})))?;
    for address in cluster.addresses("web", 2)? {
        settled(cluster.client(), SocketAddr::new(address, 80), ANSWERED)?;
    }
    Ok(())
}

/// The Service, and the machine that watches who answers for it.
struct Scene<'a> {
    cluster: &'a Cluster,
    addresses: Vec<IpAddr>,
    asker: Asker,
}

impl<'a> Scene<'a> {
    fn set(cluster: &'a Cluster) -> Result<Self> {
        let (addresses, asker) = (cluster.addresses("web", 2)?, Asker::start(cluster.watcher())?);
        addresses.iter().for_each(|address| asker.ask_for(*address));
        Ok(Self { cluster, addresses, asker })
    }

    /// The node that answers for both addresses.
    fn owner(&self) -> Result<String> {
        until("one owner", ANSWERED, || {
            let owners = self.addresses.iter().map(|address| self.asker.owner(*address));
            let owners = owners.collect::<Result<Vec<_>>>()?;
            ensure!(owners[0] == owners[1], "{owners:?}");
            self.cluster.node_of(owners[0])
        })
    }

    fn is_owner(&self, node: &str) -> Result<()> {
        until("the owner to be the one that was asked for", ANSWERED, || {
            let owner = self.owner()?;
            ensure!(owner == node, "{owner} answers, not {node}");
            Ok(())
        })
    }

    /// Another node than the owner.
    fn other(&self) -> Result<String> {
        let owner = self.owner()?;
        let mut names = self.cluster.bed().nodes().map(|node| node.host().name().to_owned());
        names.find(|name| *name != owner).context("there is another node")
    }

    fn mac(&self, node: &str) -> Result<MacAddress> {
        self.cluster.bed().node(node)?.host().mac().context("it has a port")
    }
}

/// Exit code, standard output and standard error of `landfall move`.
fn landfall_move(cluster: &Cluster, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = cluster.run_landfall(&[&["move"], arguments].concat())?;
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, erred) = (words(&output.stdout), words(&output.stderr));
    eprint!("   $ landfall move {}\n   {said}{erred}", arguments.join(" "));
    Ok((output.status.code(), said, erred))
}

fn moved(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let traffic = Traffic::start(cluster.client(), SocketAddr::new(scene.addresses[0], 80))?;
    traffic.answered_after(Instant::now(), ANSWERED)?;
    for target in ["shop/web".to_owned(), scene.addresses[1].to_string()] {
        let (before, to) = (scene.owner()?, scene.other()?);
        let targets = scene.addresses.iter().map(|address| SocketAddr::new(*address, 80));
        let open = targets.flat_map(|target| [target; 4]).map(|target| Open::start(cluster.client(), target));
        let mut open = open.collect::<Result<Vec<_>>>()?;
        let begin = Instant::now();
        let (code, said, _) = landfall_move(cluster, &[&target, "--to", &to])?;
        ensure!(code == Some(0), "{code:?}");
        ensure!(said.starts_with(&format!("Service shop/web moved from {before} to {to} in ")), "{said}");
        scene.is_owner(&to)?;
        std::thread::sleep(CALM);
        for address in &scene.addresses {
            one_after_the_other(&scene.asker, *address, begin, &[scene.mac(&before)?, scene.mac(&to)?])?;
        }
        ensure!(traffic.lost_since(begin) == 0, "{}", traffic.told_since(begin));
        open.iter_mut().try_for_each(Open::ask).context("a connection from before the move")?;
        eprintln!("   {}", traffic.told_since(begin));
        let (code, said, _) = landfall_move(cluster, &[&target, "--to", &to])?;
        ensure!(code == Some(0) && said.contains("announces Service shop/web already"), "{said}");
    }
    let object =
        cluster.kubectl(["get", "service", "web", "-n", SHOP, "-o", "json", "--show-managed-fields"])?;
    let object: Value = serde_json::from_str(&object)?;
    let managers = object["metadata"]["managedFields"].as_array().context("it has managers")?;
    ensure!(managers.iter().any(|one| one["manager"] == "landfall-move"), "{managers:?}");
    Ok(())
}

fn documented(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let to = scene.other()?;
    for line in guide::commands("docs/failover.md", "## A planned move")? {
        cluster.shell(&line.replace("node-2", &to))?;
    }
    scene.is_owner(&to)?;
    let annotations = ["get", "service", "web", "-n", SHOP, "-o", "jsonpath={.metadata.annotations}"];
    let annotations = cluster.kubectl(annotations)?;
    ensure!(
        !annotations.contains("preferred-node") && !annotations.contains("move-requested"),
        "{annotations}"
    );
    Ok(())
}

fn refused(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let (before, other) = (scene.owner()?, scene.other()?);
    cluster.kubectl(["label", "node", &other, &format!("{EXCLUDE}=")])?;
    let rows: &[(&[&str], &[&str])] = &[
        (&["shop/web", "--to", "nowhere"], &["no node \"nowhere\"", "nodes that may", &before]),
        (&["shop/web", "--to", &other], &[&other, "NodeExcluded", "nodes that may", &before]),
        (&["shop/nothing", "--to", &other], &["no Service shop/nothing", "landfall status"]),
        (&["web", "--to", &other], &["no Service default/web"]),
        (&["192.0.2.77", "--to", &other], &["no Service has the address 192.0.2.77"]),
    ];
    for (arguments, parts) in rows {
        let (code, said, erred) = landfall_move(cluster, arguments)?;
        ensure!(code == Some(2) && said.is_empty(), "{code:?} {said}");
        ensure!(parts.iter().all(|part| erred.contains(part)), "{parts:?}: {erred}");
    }
    let (code, said, _) = landfall_move(cluster, &["web", "-n", "shop"])?;
    ensure!(code == Some(0) && said.contains("prefers no node"), "{said}");
    ensure!(scene.owner()? == before, "it has moved");
    cluster.kubectl(["label", "node", &other, &format!("{EXCLUDE}-")]).map(drop)
}

/// With kubectl, as a person would who has no `landfall` at hand.
fn waits(cluster: &Cluster) -> Result<()> {
    let scene = Scene::set(cluster)?;
    let (before, other) = (scene.owner()?, scene.other()?);
    cluster.kubectl(["label", "node", &other, &format!("{EXCLUDE}=")])?;
    // What the nodes know of the label they know before the annotation comes.
    throughout("nothing moves", CALM / 2, || Ok(()))?;
    let wish = format!("landfall.dev/preferred-node={other}");
    cluster.kubectl(["annotate", "service", "web", "-n", SHOP, &wish])?;
    until("an event", ANSWERED, || {
        let events = ["get", "events", "-n", SHOP, "--field-selector", "reason=moveWaits", "-o", "yaml"];
        let events = cluster.kubectl(events)?;
        ensure!(events.contains("NodeExcluded") && events.contains(&other), "{events}");
        Ok(())
    })?;
    ensure!(scene.owner()? == before, "it has moved");
    cluster.kubectl(["label", "node", &other, &format!("{EXCLUDE}-")])?;
    scene.is_owner(&other)
}
