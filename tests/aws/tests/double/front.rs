//! The log of calls, faults, limits, and what passes through.

use std::net::{IpAddr, Ipv4Addr};

use landfall_aws_double::{Bucket, Double, Fault, Limits};

use crate::{Bed, REGION};

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn calls_are_logged_with_their_parameters_and_status() {
    let bed = Bed::new();
    assert_eq!(bed.aws.calls(), [], "what a place is made of is not in the log");
    let arn = bed.balancer("web");
    bed.refused("DescribeLoadBalancers", &[("Names.member.1", "nobody")]);
    let calls = bed.aws.calls();
    let told: Vec<_> = calls.iter().map(|c| (c.service.as_str(), c.action.as_str(), c.status)).collect();
    let elb = "elasticloadbalancing";
    assert_eq!(told, [(elb, "CreateLoadBalancer", 200), (elb, "DescribeLoadBalancers", 400)]);
    assert_eq!(calls[0].parameters["Subnets.member.1"], bed.subnet(0));
    assert!(!calls[0].parameters.contains_key("Action"));
    assert_eq!(bed.aws.count("CreateLoadBalancer"), 1);
    bed.aws.forget_calls();
    bed.ok("DeleteLoadBalancer", &[("LoadBalancerArn", &arn)]);
    assert_eq!(bed.aws.count("CreateLoadBalancer"), 0);
    assert_eq!(bed.aws.count("DeleteLoadBalancer"), 1);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_fault_is_used_once_before_or_after_the_change() {
    let bed = Bed::new();
    bed.aws.fail("CreateTargetGroup", Fault::refused("TooManyTargetGroups"));
    bed.aws.fail("CreateTargetGroup", Fault::After);
    let settings = [("Name", "a"), ("Protocol", "TCP"), ("Port", "1"), ("VpcId", &bed.place.vpc)];
    assert_eq!(bed.refused("CreateTargetGroup", &settings), "TooManyTargetGroups");
    assert_eq!(bed.ok("DescribeTargetGroups", &[]).all("TargetGroupArn").len(), 0);
    let lost = bed.aws.call("elasticloadbalancing", REGION, "CreateTargetGroup", &settings);
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(bed.aws.calls().last().map(|c| (c.action == "CreateTargetGroup", c.status)), Some((true, 0)));
    let arn = bed.ok("DescribeTargetGroups", &[]).one("TargetGroupArn");
    assert_eq!(bed.ok("CreateTargetGroup", &settings).one("TargetGroupArn"), arn);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn after_a_cut_the_change_stands_and_nothing_else_arrives() {
    let bed = Bed::new();
    bed.aws.cut_after_change();
    bed.ok("DescribeTargetGroups", &[]);
    assert!(!bed.aws.is_cut());
    let settings = [("Name", "a"), ("Protocol", "TCP"), ("Port", "1"), ("VpcId", &bed.place.vpc)];
    let other = [("Name", "b"), ("Protocol", "TCP"), ("Port", "1"), ("VpcId", &bed.place.vpc)];
    bed.aws.call("elasticloadbalancing", REGION, "CreateTargetGroup", &settings).unwrap_err();
    assert!(bed.aws.is_cut());
    bed.aws.call("elasticloadbalancing", REGION, "CreateTargetGroup", &other).unwrap_err();
    bed.aws.call("elasticloadbalancing", REGION, "DescribeTargetGroups", &[]).unwrap_err();
    bed.aws.restore();
    assert_eq!(bed.ok("DescribeTargetGroups", &[]).one("TargetGroupName"), "a");
    assert_eq!(bed.aws.count("CreateTargetGroup"), 1);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn calls_beyond_the_limits_are_throttled_in_the_words_of_each_service() {
    let bed = Bed::new();
    let never = Bucket { burst: 2, per_second: 0.0 };
    bed.aws.throttle(Some(Limits { elb_describe: never, ec2_describe: never, ..Limits::default() }));
    for _ in 0..2 {
        bed.ok("DescribeLoadBalancers", &[]);
        bed.call("ec2", "DescribeVpcs", &[]).unwrap();
    }
    let (status, body) = bed.aws.call("elasticloadbalancing", REGION, "DescribeTargetGroups", &[]).unwrap();
    assert_eq!(status, 400);
    assert!(body.contains("<Code>Throttling</Code><Message>Rate exceeded</Message>"), "{body}");
    let (status, body) = bed.aws.call("ec2", REGION, "DescribeVpcs", &[]).unwrap();
    assert_eq!(status, 503);
    assert!(body.contains("<Errors><Error><Code>RequestLimitExceeded</Code>"), "{body}");
    bed.group("other-bucket", "TCP");
    bed.aws.throttle(None);
    bed.ok("DescribeLoadBalancers", &[]);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn tokens_return_with_time() {
    let bed = Bed::new();
    let quick = Bucket { burst: 1, per_second: 50.0 };
    bed.aws.throttle(Some(Limits { elb_describe: quick, ..Limits::default() }));
    bed.ok("DescribeLoadBalancers", &[]);
    while bed.call("elasticloadbalancing", "DescribeLoadBalancers", &[]).is_err() {}
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn other_services_and_calls_pass_through() {
    let bed = Bed::new();
    let identity = bed.call("sts", "GetCallerIdentity", &[]).unwrap();
    assert_eq!(identity.one("Account").len(), 12);
    let arn = bed.balancer("web");
    let group = bed.group("web", "TCP");
    let listener = bed.listener(&arn, "TCP", "80", &group);
    let rules = bed.ok("DescribeRules", &[("ListenerArn", &listener)]);
    assert_eq!(rules.all("TargetGroupArn"), [group]);
    assert_eq!(bed.refused("ModifyIpPools", &[("LoadBalancerArn", &arn)]), "InternalFailure");
    assert!(bed.ok("DescribeSSLPolicies", &[]).all("Name").len() > 5);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn many_clients_at_once_do_not_confuse_moto() {
    let bed = Bed::new();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let bed = &bed;
            scope.spawn(move || {
                for n in 0..4 {
                    let group = bed.group(&format!("web-{client}-{n}"), "TCP");
                    bed.ok("DescribeTargetGroups", &[("TargetGroupArns.member.1", &group)]);
                    bed.call("ec2", "DescribeSecurityGroups", &[]).expect("moto answers");
                    let settings = [("CidrBlock", "10.9.0.0/16")];
                    bed.call("ec2", "CreateVpc", &settings).expect("moto answers");
                }
            });
        }
    });
    assert_eq!(bed.ok("DescribeTargetGroups", &[]).all("TargetGroupArn").len(), 16 * 4);
    assert_eq!(bed.aws.count("CreateVpc"), 16 * 4);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn the_front_listens_where_it_is_told() {
    let aws = Double::start_on(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77))).unwrap();
    assert!(aws.endpoint().starts_with("http://127.0.0.77:"));
    assert_eq!(aws.call("ec2", REGION, "DescribeVpcs", &[]).unwrap().0, 200);
}
