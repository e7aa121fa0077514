//! Target groups, their attributes, and their targets.

use landfall_aws_double::Health;

use crate::{A, Bed, Document, REGION, attribute};

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_repeated_creation_answers_the_same_group_unless_it_differs() {
    let bed = Bed::new();
    let arn = bed.group("web", "TCP");
    assert_eq!(bed.group("web", "TCP"), arn);
    let other = [("Name", "web"), ("Protocol", "UDP"), ("Port", "8080"), ("VpcId", &bed.place.vpc)];
    assert_eq!(bed.refused("CreateTargetGroup", &other), "DuplicateTargetGroupName");
    let v6 = [
        ("Name", "six"),
        ("Protocol", "TCP"),
        ("Port", "80"),
        ("VpcId", &bed.place.vpc),
        ("TargetType", "ip"),
        ("IpAddressType", "ipv6"),
    ];
    bed.ok("CreateTargetGroup", &v6);
    let read = bed.ok("DescribeTargetGroups", &[("Names.member.1", "six")]);
    assert_eq!(read.one("IpAddressType"), "ipv6");
    assert_eq!(bed.refused("DescribeTargetGroups", &[("Names.member.1", "nobody")]), "TargetGroupNotFound");
    bed.ok("DeleteTargetGroup", &[("TargetGroupArn", &arn)]);
    bed.ok("DeleteTargetGroup", &[("TargetGroupArn", &arn)]);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn health_checks_over_http_have_a_matcher() {
    let bed = Bed::new();
    let arn = bed.group("web", "TCP");
    let it = ("TargetGroupArn", arn.as_str());
    let read = || bed.ok("DescribeTargetGroups", &[("TargetGroupArns.member.1", &arn)]);
    let tcp = read();
    assert_eq!([tcp.one("HealthCheckProtocol"), tcp.one("HealthCheckTimeoutSeconds")], ["TCP", "10"]);
    assert_eq!(tcp.all("HttpCode").len() + tcp.all("HealthCheckPath").len(), 0);
    bed.ok("ModifyTargetGroup", &[it, ("HealthCheckProtocol", "HTTP"), ("HealthCheckPort", "10256")]);
    let http = read();
    assert_eq!(
        [http.one("HttpCode"), http.one("HealthCheckPath"), http.one("HealthCheckPort")],
        ["200-399", "/", "10256"]
    );
    bed.ok("ModifyTargetGroup", &[it, ("Matcher.HttpCode", "200"), ("HealthCheckPath", "/healthz")]);
    assert_eq!([read().one("HttpCode"), read().one("HealthCheckPath")], ["200", "/healthz"]);
    bed.ok("ModifyTargetGroup", &[it, ("HealthCheckProtocol", "TCP")]);
    assert_eq!(read().all("HttpCode").len(), 0);
    for wrong in
        [("HealthyThresholdCount", "1"), ("UnhealthyThresholdCount", "11"), ("HealthCheckProtocol", "UDP")]
    {
        assert_eq!(bed.refused("ModifyTargetGroup", &[it, wrong]), "ValidationError", "{wrong:?}");
    }
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn groups_have_the_attributes_of_network_load_balancers() {
    let bed = Bed::new();
    let tcp = bed.group("tcp", "TCP");
    let udp = bed.group("udp", "UDP");
    let read = |arn| bed.ok("DescribeTargetGroupAttributes", &[("TargetGroupArn", arn)]);
    for (key, of_tcp, of_udp) in [
        ("deregistration_delay.timeout_seconds", Some("300"), Some("300")),
        ("preserve_client_ip.enabled", Some("false"), Some("true")),
        ("proxy_protocol_v2.enabled", Some("false"), Some("false")),
        ("stickiness.enabled", Some("false"), Some("false")),
        ("stickiness.type", Some("source_ip"), Some("source_ip")),
        ("target_health_state.unhealthy.connection_termination.enabled", Some("true"), None),
    ] {
        assert_eq!(read(&tcp).value(key).as_deref(), of_tcp, "{key}");
        assert_eq!(read(&udp).value(key).as_deref(), of_udp, "{key}");
    }
    let group = "TargetGroupArn";
    let delay = "deregistration_delay.timeout_seconds";
    bed.ok("ModifyTargetGroupAttributes", &attribute(group, &tcp, delay, "3600"));
    assert_eq!(read(&tcp).value(delay).as_deref(), Some("3600"));
    let refused = |pairs: &[(&str, &str)]| bed.refused("ModifyTargetGroupAttributes", pairs);
    assert_eq!(refused(&attribute(group, &tcp, delay, "3601")), "ValidationError");
    assert_eq!(refused(&attribute(group, &tcp, "no.such.key", "1")), "ValidationError");
    let keep = attribute(group, &udp, "preserve_client_ip.enabled", "false");
    assert_eq!(refused(&keep), "InvalidConfigurationRequest");
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_group_names_the_load_balancers_that_use_it_now() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let group = bed.group("web", "TCP");
    let users = || {
        let Document(text) = bed.ok("DescribeTargetGroups", &[("TargetGroupArns.member.1", &group)]);
        text.matches(&arn).count()
    };
    assert_eq!(users(), 0);
    let first = bed.listener(&arn, "TCP", "80", &group);
    let second = bed.listener(&arn, "TCP", "81", &group);
    assert_eq!(users(), 1);
    assert_eq!(bed.ok("DescribeTargetGroups", &[("LoadBalancerArn", &arn)]).one("TargetGroupArn"), group);
    bed.ok("DeleteListener", &[("ListenerArn", &first)]);
    assert_eq!(users(), 1);
    bed.ok("DeleteListener", &[("ListenerArn", &second)]);
    assert_eq!(users(), 0);
    assert_eq!(bed.ok("DescribeTargetGroups", &[("LoadBalancerArn", &arn)]).all("TargetGroupArn").len(), 0);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn targets_go_from_initial_to_healthy_and_drain() {
    let bed = Bed::new();
    bed.aws.initial_reads(2);
    let group = bed.group("web", "TCP");
    let it = ("TargetGroupArn", group.as_str());
    let states = || bed.ok("DescribeTargetHealth", &[it]).all("State");
    let two = [
        it,
        ("Targets.member.1.Id", "10.0.0.4"),
        ("Targets.member.2.Id", "10.0.0.4"),
        ("Targets.member.2.Port", "9090"),
    ];
    bed.ok("RegisterTargets", &two);
    assert_eq!(states(), ["unused", "unused"], "no listener forwards to the group");
    bed.listener(&bed.balancer("web"), "TCP", "80", &group);
    assert_eq!([states(), states(), states()], [["initial"; 2], ["initial"; 2], ["healthy"; 2]]);
    let read = bed.ok("DescribeTargetHealth", &[it]);
    assert_eq!(read.all("Port"), ["8080", "9090"]);
    bed.aws.set_health("10.0.0.4", Health::Unhealthy);
    let read = bed.ok("DescribeTargetHealth", &[it]);
    assert_eq!(
        (read.all("State"), &read.all("Reason")[0]),
        (vec!["unhealthy".to_owned(); 2], &"Target.FailedHealthChecks".to_owned())
    );
    bed.aws.set_health("10.0.0.4", Health::Healthy);

    bed.aws.draining_reads(2);
    bed.ok("DeregisterTargets", &two[..2]);
    assert_eq!([states(), states()], [["draining", "healthy"]; 2]);
    assert_eq!(states(), ["healthy"]);
    bed.ok("DeregisterTargets", &two[..2]);
    let asked = bed.ok("DescribeTargetHealth", &two[..2]);
    assert_eq!([asked.one("State"), asked.one("Reason")], ["unused", "Target.NotRegistered"]);
    let named = [it, ("Targets.member.1.Id", "web-1")];
    assert_eq!(bed.refused("RegisterTargets", &named), "ValidationError");
    let outside = [it, ("Targets.member.1.Id", "192.168.0.1"), ("Targets.member.1.AvailabilityZone", "all")];
    bed.ok("RegisterTargets", &outside);
    assert_eq!(bed.ok("DescribeTargetHealth", &[it]).one("AvailabilityZone"), "all");
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn instances_that_do_not_exist_in_the_vpc_are_refused_as_targets() {
    let bed = Bed::new();
    let settings = [("Name", "nodes"), ("Protocol", "TCP"), ("Port", "30080"), ("VpcId", &bed.place.vpc)];
    let group = bed.ok("CreateTargetGroup", &settings).one("TargetGroupArn");
    let (instance, address) = bed.aws.instance(&bed.place, A).unwrap();
    assert!(address.starts_with("10.0.100."), "{address}");
    let both = [
        ("TargetGroupArn", group.as_str()),
        ("Targets.member.1.Id", &instance),
        ("Targets.member.2.Id", "i-0123456789abcdef0"),
    ];
    assert_eq!(bed.refused("RegisterTargets", &both), "InvalidTarget");
    assert_eq!(bed.ok("DescribeTargetHealth", &both[..1]).all("Id").len(), 0, "all or none");
    let elsewhere = bed.aws.place(REGION, &[A]).unwrap();
    let (foreign, _) = bed.aws.instance(&elsewhere, A).unwrap();
    let foreign = [both[0], ("Targets.member.1.Id", foreign.as_str())];
    assert_eq!(bed.refused("RegisterTargets", &foreign), "InvalidTarget", "of another VPC");
    bed.ok("RegisterTargets", &both[..2]);
    assert_eq!(bed.ok("DescribeTargetHealth", &both[..1]).one("Id"), instance);
    bed.call("ec2", "StopInstances", &[("InstanceId.1", &instance)]).unwrap();
    assert_eq!(bed.refused("RegisterTargets", &both[..2]), "InvalidTarget");
    bed.ok("DeregisterTargets", &both);
}
