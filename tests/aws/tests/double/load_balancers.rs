//! Load balancers, their attributes and their capacity.

use crate::{A, Bed, attribute};

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_load_balancer_looks_like_a_network_one_and_becomes_active_after_some_reads() {
    let bed = Bed::new();
    bed.aws.provisioning_reads(2);
    let settings = [("Name", "web"), ("Type", "network"), ("Subnets.member.1", bed.subnet(0))];
    let made = bed.ok("CreateLoadBalancer", &settings);
    let arn = made.one("LoadBalancerArn");
    let (front, unique) = arn.rsplit_once('/').unwrap();
    assert!(front.ends_with(":loadbalancer/net/web"), "{arn}");
    assert_eq!(unique.len(), 16);
    assert_eq!(made.one("DNSName"), format!("web-{unique}.elb.eu-central-1.amazonaws.com"));
    assert_eq!(made.one("Scheme"), "internet-facing");
    assert_eq!(made.one("ZoneName"), A);
    assert_eq!(made.one("VpcId"), bed.place.vpc);
    let state = || bed.ok("DescribeLoadBalancers", &[("LoadBalancerArns.member.1", &arn)]).one("Code");
    assert_eq!(
        [made.one("Code"), state(), state(), state()],
        ["provisioning", "provisioning", "provisioning", "active"]
    );
    bed.aws.set_state(&arn, "failed").unwrap();
    assert_eq!(state(), "failed");
    assert!(bed.aws.set_state("arn:aws:elasticloadbalancing:::nothing", "failed").is_err());
    let unknown = format!("{front}/0123456789abcdef");
    let both = [("LoadBalancerArns.member.1", arn.as_str()), ("LoadBalancerArns.member.2", &unknown)];
    assert_eq!(bed.refused("DescribeLoadBalancers", &both), "LoadBalancerNotFound");
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_repeated_creation_answers_the_same_one_unless_it_differs() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    assert_eq!(bed.balancer("web"), arn);
    let of = |name, scheme, subnet| {
        [("Name", name), ("Type", "network"), ("Scheme", scheme), ("Subnets.member.1", subnet)]
    };
    let refused = |settings: &[_]| bed.refused("CreateLoadBalancer", settings);
    assert_eq!(refused(&of("web", "internal", bed.subnet(0))), "DuplicateLoadBalancerName");
    assert_eq!(refused(&of("web", "internet-facing", bed.subnet(1))), "DuplicateLoadBalancerName");
    let long = "a".repeat(33);
    assert_eq!(refused(&of(&long, "internal", bed.subnet(0))), "ValidationError");
    assert_eq!(refused(&of("b", "internal", "subnet-0123456789abcdef0")), "SubnetNotFound");
    let second = [("Subnets.member.2", bed.place.zones[0].private.as_str())];
    let twice = [of("b", "internal", bed.subnet(0)).as_slice(), &second].concat();
    assert_eq!(refused(&twice), "InvalidConfigurationRequest");
    assert_eq!(bed.ok("DescribeLoadBalancers", &[]).all("LoadBalancerArn"), [arn]);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn addresses_of_subnets_come_back_and_subnets_can_be_set() {
    let bed = Bed::new();
    let elastic = bed.call("ec2", "AllocateAddress", &[("Domain", "vpc")]).unwrap();
    let (allocation, address) = (elastic.one("allocationId"), elastic.one("publicIp"));
    let settings = [
        ("Name", "fixed"),
        ("Type", "network"),
        ("IpAddressType", "dualstack"),
        ("EnablePrefixForIpv6SourceNat", "on"),
        ("SubnetMappings.member.1.SubnetId", bed.subnet(0)),
        ("SubnetMappings.member.1.AllocationId", &allocation),
        ("SubnetMappings.member.1.IPv6Address", "2001:db8::1"),
    ];
    let arn = bed.ok("CreateLoadBalancer", &settings).one("LoadBalancerArn");
    let read = bed.ok("DescribeLoadBalancers", &[("Names.member.1", "fixed")]);
    assert_eq!(read.one("AllocationId"), allocation);
    assert_eq!(read.one("IpAddress"), address);
    assert_eq!(read.one("IPv6Address"), "2001:db8::1");
    assert_eq!(read.one("EnablePrefixForIpv6SourceNat"), "on");
    let one = [("LoadBalancerArn", arn.as_str()), ("SubnetMappings.member.1.SubnetId", bed.subnet(1))];
    assert_eq!(bed.ok("SetSubnets", &one).one("SubnetId"), bed.subnet(1));
    let read = bed.ok("DescribeLoadBalancers", &[]);
    assert_eq!(read.one("SubnetId"), bed.subnet(1));
    assert_eq!(read.all("AllocationId").len(), 0);

    let private = &bed.place.zones[0].private;
    let internal = [
        ("Name", "inside"),
        ("Type", "network"),
        ("Scheme", "internal"),
        ("SubnetMappings.member.1.SubnetId", private),
        ("SubnetMappings.member.1.PrivateIPv4Address", "10.0.100.9"),
    ];
    let made = bed.ok("CreateLoadBalancer", &internal);
    assert_eq!(made.one("PrivateIPv4Address"), "10.0.100.9");
    let dual = [("LoadBalancerArn", made.one("LoadBalancerArn")), ("IpAddressType", "dualstack".to_owned())];
    let dual = dual.each_ref().map(|(k, v)| (*k, v.as_str()));
    assert_eq!(bed.refused("SetIpAddressType", &dual), "InvalidConfigurationRequest", "no IPv6 there");
    let unknown = [("Name", "x"), ("Type", "network"), ("SubnetMappings.member.1.SubnetId", bed.subnet(0))];
    let unknown =
        [unknown.as_slice(), &[("SubnetMappings.member.1.AllocationId", "eipalloc-00000001")]].concat();
    assert_eq!(bed.refused("CreateLoadBalancer", &unknown), "AllocationIdNotFound");
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn security_groups_can_be_set_only_where_there_were_some() {
    let bed = Bed::new();
    let without = bed.balancer("without");
    let group = bed.place.node_group.as_str();
    assert_eq!(bed.refused("SetSecurityGroups", &set(&without, group)), "InvalidConfigurationRequest");
    let settings = [
        ("Name", "with"),
        ("Type", "network"),
        ("Subnets.member.1", bed.subnet(0)),
        ("SecurityGroups.member.1", group),
    ];
    let switch = "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic";
    let made = bed.ok("CreateLoadBalancer", &settings);
    assert_eq!(made.one(switch), "on");
    let arn = made.one("LoadBalancerArn");
    assert_eq!(bed.refused("SetSecurityGroups", &set(&arn, "sg-00000000000000000")), "InvalidSecurityGroup");
    bed.ok("SetSecurityGroups", &[set(&arn, group).as_slice(), &[(switch, "off")]].concat());
    assert_eq!(bed.ok("DescribeLoadBalancers", &[("Names.member.1", "with")]).one(switch), "off");
    assert_eq!(bed.ok("DescribeLoadBalancers", &[("Names.member.1", "without")]).all(switch).len(), 0);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_protected_load_balancer_stays_and_a_deleted_one_takes_its_listeners_along() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let group = bed.group("web", "TCP");
    let listener = bed.listener(&arn, "TCP", "80", &group);
    let protect = |on| {
        let it = attribute("LoadBalancerArn", &arn, "deletion_protection.enabled", on);
        bed.ok("ModifyLoadBalancerAttributes", &it);
    };
    protect("true");
    let it = [("LoadBalancerArn", arn.as_str())];
    assert_eq!(bed.refused("DeleteLoadBalancer", &it), "OperationNotPermitted");
    protect("false");
    bed.ok("DeleteLoadBalancer", &it);
    bed.ok("DeleteLoadBalancer", &it);
    assert_eq!(bed.refused("DescribeListeners", &[("ListenerArns.member.1", &listener)]), "ListenerNotFound");
    assert_eq!(bed.refused("DescribeListeners", &it), "LoadBalancerNotFound");
    bed.ok("DeleteTargetGroup", &[("TargetGroupArn", &group)]);
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn attributes_have_the_defaults_of_network_load_balancers_and_are_kept() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let it = [("LoadBalancerArn", arn.as_str())];
    let read = bed.ok("DescribeLoadBalancerAttributes", &it);
    for (key, value) in [
        ("deletion_protection.enabled", "false"),
        ("load_balancing.cross_zone.enabled", "false"),
        ("access_logs.s3.enabled", "false"),
        ("dns_record.client_routing_policy", "any_availability_zone"),
        ("zonal_shift.config.enabled", "false"),
        ("ipv6.deny_all_igw_traffic", "false"),
    ] {
        assert_eq!(read.value(key).as_deref(), Some(value), "{key}");
    }
    let set = |key, value| attribute("LoadBalancerArn", &arn, key, value);
    bed.ok("ModifyLoadBalancerAttributes", &set("load_balancing.cross_zone.enabled", "true"));
    let read = bed.ok("DescribeLoadBalancerAttributes", &it);
    assert_eq!(read.value("load_balancing.cross_zone.enabled").as_deref(), Some("true"));
    let foreign = set("routing.http2.enabled", "true");
    assert_eq!(bed.refused("ModifyLoadBalancerAttributes", &foreign), "InvalidConfigurationRequest");
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn capacity_can_be_reserved_and_reset() {
    let bed = Bed::new();
    let arn = bed.balancer("web");
    let it = ("LoadBalancerArn", arn.as_str());
    let units = |document: &crate::Document| document.all("CapacityUnits");
    assert_eq!(units(&bed.ok("DescribeCapacityReservation", &[it])).len(), 0);
    let wanted = [it, ("MinimumLoadBalancerCapacity.CapacityUnits", "2750")];
    assert_eq!(bed.ok("ModifyCapacityReservation", &wanted).one("Code"), "pending");
    let read = bed.ok("DescribeCapacityReservation", &[it]);
    assert_eq!((units(&read), read.one("Code")), (vec!["2750".to_owned()], "provisioned".to_owned()));
    bed.ok("ModifyCapacityReservation", &[it, ("ResetCapacityReservation", "true")]);
    assert_eq!(units(&bed.ok("DescribeCapacityReservation", &[it])).len(), 0);
    assert_eq!(bed.refused("ModifyCapacityReservation", &[it]), "ValidationError");
}

fn set<'a>(arn: &'a str, group: &'a str) -> [(&'static str, &'a str); 2] {
    [("LoadBalancerArn", arn), ("SecurityGroups.member.1", group)]
}
