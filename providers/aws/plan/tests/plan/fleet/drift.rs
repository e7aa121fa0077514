//! What somebody else changes in AWS is put back, counted and told once; what we change ourselves is not.

use std::time::Duration;

use landfall_aws_plan::{Event, Rhythm, Service, Written};
use landfall_model::NodePort;

use super::Fleet;

fn told(fleet: &Fleet) -> Vec<&str> {
    let drifts = fleet.writes.iter().filter_map(|write| match &write.what {
        Written::Event(Event::Drift, text) => Some(&**text),
        Written::Event(..)
        | Written::Finalizer(_)
        | Written::Status(_)
        | Written::Gate(_)
        | Written::Ledger(_) => None,
    });
    drifts.collect()
}

/// A change by hand, its kind, and what the event says of it.
type Change = (fn(&mut Fleet), &'static str, &'static [&'static str]);

const CHANGES: [Change; 10] = [
    (
        |fleet| {
            let lb = fleet.aws.load_balancers.values_mut().next().unwrap();
            let attributes = lb.attributes.as_mut().unwrap();
            attributes.insert("load_balancing.cross_zone.enabled".to_owned(), "false".to_owned());
        },
        "load_balancer",
        &["loadbalancer/net/", ": load_balancing.cross_zone.enabled is false, not true"],
    ),
    (
        |fleet| {
            let lb = fleet.aws.load_balancers.values_mut().next().unwrap();
            lb.tags.insert("team".to_owned(), "other".to_owned());
        },
        "load_balancer",
        &["loadbalancer/net/", ": team is other, not shop"],
    ),
    (
        |fleet| _ = fleet.aws.load_balancers.values_mut().next().unwrap().security_groups.pop_first(),
        "load_balancer",
        &["security groups is "],
    ),
    (
        |fleet| _ = fleet.aws.load_balancers.values_mut().next().unwrap().subnets.pop(),
        "load_balancer",
        &["subnets is subnet-a, not subnet-a, subnet-b"],
    ),
    (
        |fleet| {
            let lb = fleet.aws.load_balancers.values_mut().next().unwrap();
            lb.listeners.as_mut().unwrap().remove(&443);
        },
        "listener",
        &["the listener of port 443 is gone"],
    ),
    (
        |fleet| {
            let lb = fleet.aws.load_balancers.values_mut().next().unwrap();
            let listener = lb.listeners.as_mut().unwrap().get_mut(&443).unwrap();
            listener.protocol = landfall_aws_plan::ListenerProtocol::Udp;
        },
        "listener",
        &["listener/net/", ": protocol is UDP, not TCP"],
    ),
    (
        |fleet| fleet.aws.target_groups.values_mut().next().unwrap().health_check.interval = 33,
        "target_group",
        &["targetgroup/", ": health check interval is 33, not 10"],
    ),
    (
        |fleet| {
            let group = fleet.aws.target_groups.values_mut().next().unwrap();
            group.attributes.as_mut().unwrap().clear();
        },
        "target_group",
        &["deregistration_delay.timeout_seconds is not set, not 30"],
    ),
    (
        |fleet| {
            let groups = fleet.aws.security_groups.values_mut();
            let mut front = groups.filter(|group| group.name.contains("web0"));
            _ = front.next().unwrap().ingress.pop_first();
        },
        "security_group",
        &["rules are gone: tcp 80-80 from 0.0.0.0/0"],
    ),
    (
        |fleet| {
            let lb = fleet.aws.load_balancers.pop_first().unwrap().1;
            fleet.aws.target_groups.values_mut().for_each(|group| _ = group.load_balancers.remove(&lb.arn));
        },
        "load_balancer",
        &["load balancer k8s-shop-web0-", " is gone"],
    ),
];

fn fleet() -> Fleet {
    let mut fleet = Fleet::new(1, Rhythm::default());
    fleet.annotate("web-0", "aws-load-balancer-attributes", "load_balancing.cross_zone.enabled=true");
    fleet.annotate("web-0", "aws-load-balancer-additional-resource-tags", "team=shop");
    let delay = "deregistration_delay.timeout_seconds=30";
    fleet.annotate("web-0", "aws-load-balancer-target-group-attributes", delay);
    // Without the annotation a live load balancer stays in the subnets that it has.
    fleet.annotate("web-0", "aws-load-balancer-subnets", "subnet-a,subnet-b");
    fleet.converge();
    fleet
}

#[test]
fn what_somebody_else_changed_is_counted_and_named_once() {
    for (change, kind, says) in CHANGES {
        let mut fleet = fleet();
        change(&mut fleet);
        fleet.pass(Duration::from_mins(31));
        fleet.aws.settle();
        fleet.pass(Duration::from_mins(31));
        assert_eq!(fleet.drifts, [kind], "{:?}", told(&fleet));
        let said = told(&fleet);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(says.iter().all(|part| said[0].contains(part)), "{said:?}");
        assert_eq!(fleet.status("web-0").1, "Active");
    }
}

#[test]
fn what_users_and_nodes_change_is_no_drift() {
    let changes: [fn(&mut Service); 4] = [
        |service| _ = service.ports.pop(),
        |service| service.ports[0].node_port = Some(NodePort(31_999)),
        |service| service.annotations.clear(),
        |service| service.source_ranges = vec!["10.1.0.0/16".to_owned()],
    ];
    let mut fleet = fleet();
    for change in changes {
        fleet.change("web-0", change);
        fleet.converge();
    }
    fleet.annotate("web-0", "aws-load-balancer-scheme", "internet-facing");
    fleet.converge();
    fleet.node("n3", Some("i-03"));
    fleet.node("n2", None);
    fleet.converge();
    fleet.restart(Rhythm::default());
    fleet.converge();
    fleet.change("web-0", |service| service.deleting = true);
    fleet.pass(Duration::from_mins(31));
    assert_eq!((fleet.drifts.len(), told(&fleet).len()), (0, 0), "{:?}", told(&fleet));
}
