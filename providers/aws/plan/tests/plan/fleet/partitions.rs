//! China and GovCloud: ARNs begin with other words there, and nothing may depend on these.

use std::collections::BTreeMap;
use std::time::Duration;

use landfall_aws_plan::{ADOPT, Hostname, LoadBalancerArn, PREFIX, Rhythm};

use super::Fleet;

/// How ARNs of load balancers begin, and a certificate.
const PLACES: [(&str, &str); 3] = [
    (
        "arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012",
        "arn:aws-cn:iam::123456789012:server-certificate/one",
    ),
    (
        "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012",
        "arn:aws-us-gov:acm:us-gov-west-1:123456789012:certificate/one",
    ),
    (
        "arn:aws:elasticloadbalancing:us-east-1:123456789012",
        "arn:aws:acm:us-east-1:123456789012:certificate/one",
    ),
];

fn ports(fleet: &Fleet, arn: &LoadBalancerArn) -> Vec<u16> {
    fleet.aws.load_balancers[arn].listeners.as_ref().unwrap().keys().copied().collect()
}

#[test]
fn load_balancers_are_made_mended_adopted_and_deleted_in_every_partition() {
    for (arns, certificate) in PLACES {
        let mut fleet = Fleet::new(1, Rhythm::default());
        fleet.aws.arns = Some(arns);
        fleet.annotate("web-0", "aws-load-balancer-ssl-cert", certificate);
        fleet.annotate("web-0", "aws-load-balancer-ssl-ports", "443");
        fleet.converge();
        let own = fleet.aws.load_balancers.keys().next().unwrap().clone();
        assert!(own.as_str().starts_with(arns));
        let name = fleet.aws.load_balancers[&own].dns_name.clone();
        assert_eq!(fleet.status("web-0"), (Hostname::Publish(name), "Active"), "{arns}");
        let listener = fleet.aws.load_balancers[&own].listeners.as_ref().unwrap()[&443].clone();
        assert_eq!(listener.certificate.as_deref(), Some(certificate));

        // A listener that AWS no longer knows puts its load balancer in doubt, whose ARN is in that of the listener.
        let listeners = fleet.aws.load_balancers.get_mut(&own).unwrap().listeners.as_mut().unwrap();
        fleet.unknown = listeners.remove(&443).map(|gone| gone.arn);
        fleet.annotate(
            "web-0",
            "aws-load-balancer-ssl-negotiation-policy",
            "ELBSecurityPolicy-TLS13-1-2-2021-06",
        );
        fleet.pass(Duration::from_mins(1));
        assert_eq!((ports(&fleet, &own), fleet.status("web-0").1), (vec![80, 443], "Active"), "{arns}");
        fleet.restart(Rhythm::default());
        fleet.jobs.clear();
        fleet.converge();
        assert_eq!(fleet.calls(), 0, "{:?}", fleet.kinds());

        let mut theirs = fleet.aws.load_balancers[&own].clone();
        theirs.arn = format!("{arns}:loadbalancer/net/theirs/0000000000001234").as_str().into();
        theirs.name = "theirs".to_owned();
        theirs.tags.clear();
        theirs.security_groups.clear();
        theirs.listeners = Some([].into());
        let adopted = theirs.arn.clone();
        fleet.aws.load_balancers.insert(adopted.clone(), theirs);
        let wanted = adopted.as_str().to_owned();
        fleet.change("web-0", |service| _ = service.annotations.insert(ADOPT.to_owned(), wanted));
        fleet.restart(Rhythm::default());
        fleet.pass(Duration::from_mins(5));
        assert_eq!(fleet.aws.load_balancers.keys().collect::<Vec<_>>(), [&adopted]);
        assert_eq!((ports(&fleet, &adopted), fleet.status("web-0").1), (vec![80, 443], "Active"), "{arns}");

        fleet.change("web-0", |service| service.deleting = true);
        fleet.pass(Duration::from_mins(5));
        assert!(fleet.services.is_empty() && fleet.aws.target_groups.is_empty(), "{arns}");
        assert_eq!(ports(&fleet, &adopted), [0; 0], "{arns}");
    }
}

#[test]
fn traffic_is_shared_with_a_target_group_of_every_partition() {
    for (arns, _) in PLACES {
        let mut fleet = Fleet::new(1, Rhythm::default());
        fleet.aws.arns = Some(arns);
        fleet.converge();
        let mut theirs = fleet.aws.target_groups.values().next().unwrap().clone();
        theirs.arn = format!("{arns}:targetgroup/theirs/0000000000001234").as_str().into();
        (theirs.name, theirs.tags) = ("theirs".to_owned(), BTreeMap::new());
        let arn = theirs.arn.clone();
        fleet.aws.target_groups.insert(arn.clone(), theirs);
        let groups = format!(r#"[{{"targetGroupARN":"{arn}","weight":7}}]"#);
        let forward = format!(r#"{{"baseServiceWeight":3,"targetGroups":{groups}}}"#);
        let action = format!(r#"{{"type":"forward","forwardConfig":{forward}}}"#);
        let name = format!("{PREFIX}actions.TCP-80");
        fleet.change("web-0", |service| _ = service.annotations.insert(name, action));
        fleet.pass(Duration::from_mins(3));
        assert_eq!(fleet.status("web-0").1, "Active", "{}", fleet.message("web-0"));
        let lb = fleet.aws.load_balancers.values().next().unwrap();
        let forward = lb.listeners.as_ref().unwrap()[&80].forward.as_ref().unwrap();
        let weights: Vec<_> = forward.weights().collect();
        assert!(weights.contains(&(&arn, 7)) && weights.len() == 2, "{weights:?}");
    }
}
