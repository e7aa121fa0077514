use std::{path::Path, time::Duration};

use landfall_kubernetes::write::FileWriter;
use landfall_model::{Assignment, IpMode, ServiceKey};

use super::*;

fn outbox() -> Outbox {
    Outbox::new(Store::Files(FileWriter::new(Path::new("/nonexistent/of/the/outbox"))))
}

fn write(name: &str, from: &[&str], to: &[&str]) -> Effect {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    let ingress = addresses(to).into_iter().map(|address| (address, IpMode::Vip)).collect();
    Effect::Service(Box::new(ServiceStatusWrite {
        key: ServiceKey::new("shop", name),
        uid: name.into(),
        resource_version: "1".into(),
        assignment: if to.is_empty() { Assignment::Release } else { Assignment::Set { ingress, pool: None } },
        observed_addresses: addresses(from),
        conditions: Vec::new(),
        observed_conditions: Vec::new(),
    }))
}

#[tokio::test]
async fn an_address_is_given_away_after_it_was_taken_back() {
    let mut outbox = outbox();
    outbox.add(vec![
        write("old", &["192.0.2.1"], &["192.0.2.2"]),
        write("keeps", &["192.0.2.9"], &["192.0.2.9"]),
        write("new", &[], &["192.0.2.1"]),
        write("free", &[], &["192.0.2.3"]),
    ]);
    assert!(outbox.may_start(Instant::ZERO));
    outbox.start();
    assert_eq!((outbox.statuses_in_flight, outbox.statuses.len()), (2, 2));
    assert!(!outbox.may_start(Instant::ZERO));
    loop {
        let done = outbox.next().await.unwrap();
        if matches!(&done, Done::Service(write, _) if &*write.key.name == "old") {
            break;
        }
        assert!(!outbox.may_start(Instant::ZERO), "the address is still shown");
    }
    assert!(outbox.may_start(Instant::ZERO));
    outbox.start();
    assert_eq!((outbox.taking_back.len(), outbox.statuses.len()), (0, 0));
}

#[tokio::test]
async fn a_pause_holds_back_statuses_and_events() {
    let mut outbox = outbox();
    let now = Instant::from_micros(5);
    let later = now + Duration::from_secs(1);
    assert_eq!(outbox.resume(now), None);
    outbox.pause(later);
    outbox.pause(now);
    assert_eq!(outbox.resume(now), None, "nothing waits");
    outbox.add(vec![write("web", &[], &["192.0.2.1"])]);
    assert_eq!((outbox.may_start(now), outbox.resume(now)), (false, Some(later)));
    assert_eq!((outbox.may_start(later), outbox.resume(later)), (true, None));
}

#[tokio::test]
async fn no_more_than_the_limit_is_in_flight() {
    let mut outbox = outbox();
    outbox.add(
        (0..100).map(|index| write(&format!("s{index}"), &[], &[&format!("192.0.2.{index}")])).collect(),
    );
    outbox.start();
    assert_eq!(
        (outbox.statuses_in_flight, outbox.statuses.len()),
        (STATUSES_IN_FLIGHT, 100 - STATUSES_IN_FLIGHT)
    );
}

#[tokio::test]
async fn notices_make_way_for_statuses_and_are_not_forgotten() {
    let mut outbox = outbox();
    let event = |n: usize| Effect::Event {
        service: ServiceKey::new("shop", "web"),
        uid: "1".into(),
        warning: false,
        reason: "IPAllocated",
        message: n.to_string(),
    };
    let statuses = (0..STATUSES_PER_NOTICE * 3).map(|n| write(&n.to_string(), &[], &[]));
    outbox.add(statuses.chain((0..10).map(event)).collect());
    outbox.start();
    assert_eq!((outbox.statuses_in_flight, outbox.notices_in_flight), (STATUSES_IN_FLIGHT, 0));
    let mut notices = 0;
    while !outbox.statuses.is_empty() {
        let done = outbox.next().await.unwrap();
        notices += usize::from(matches!(done, Done::Event(_)));
        // As many wait at any time as may fly.
        outbox.add(vec![event(0)]);
        outbox.start();
    }
    assert!((1..=3).contains(&notices), "{notices} notices beside {} statuses", STATUSES_PER_NOTICE * 3);
    assert_eq!(outbox.notices_in_flight, NOTICES_IN_FLIGHT);
}
