//! EC2: what is corrected, and the place.

use landfall_aws_double::CLUSTER;

use crate::{A, B, Bed};

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn ranges_of_subnets_are_associated() {
    let bed = Bed::new();
    let read = bed.call("ec2", "DescribeSubnets", &[("SubnetId.1", bed.subnet(0))]).unwrap();
    assert_eq!(read.all("ipv6CidrBlock").len(), 1);
    assert!(
        read.0.contains("<ipv6CidrBlockState><state>associated</state></ipv6CidrBlockState>"),
        "{}",
        read.0
    );
    let code = bed.call("ec2", "DescribeSubnets", &[("SubnetId.1", "subnet-0123456789abcdef0")]).err();
    assert_eq!(code.as_deref(), Some("InvalidSubnetID.NotFound"));
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_security_group_in_use_cannot_be_deleted() {
    let bed = Bed::new();
    let make = |name| {
        let settings = [("GroupName", name), ("GroupDescription", "test"), ("VpcId", bed.place.vpc.as_str())];
        bed.call("ec2", "CreateSecurityGroup", &settings).unwrap().one("groupId")
    };
    let delete = |group: &str| bed.call("ec2", "DeleteSecurityGroup", &[("GroupId", group)]).map(drop);
    let in_use = Err("DependencyViolation".to_owned());
    let group = make("front");
    let settings = [
        ("Name", "web"),
        ("Type", "network"),
        ("Subnets.member.1", bed.subnet(0)),
        ("SecurityGroups.member.1", &group),
    ];
    let arn = bed.ok("CreateLoadBalancer", &settings).one("LoadBalancerArn");
    assert_eq!(delete(&group), in_use, "a load balancer uses it");
    bed.ok("DeleteLoadBalancer", &[("LoadBalancerArn", &arn)]);
    let rule = [
        ("GroupId", bed.place.node_group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "80"),
        ("IpPermissions.1.ToPort", "80"),
        ("IpPermissions.1.Groups.1.GroupId", &group),
    ];
    bed.call("ec2", "AuthorizeSecurityGroupIngress", &rule).unwrap();
    assert_eq!(delete(&group), in_use, "a rule refers to it");
    bed.call("ec2", "RevokeSecurityGroupIngress", &rule).unwrap();
    assert_eq!(delete(&group), Ok(()));
    assert_eq!(delete(&group), Err("InvalidGroup.NotFound".to_owned()));
    bed.aws.instance(&bed.place, B).unwrap();
    assert_eq!(delete(&bed.place.node_group), in_use, "an instance is in it");
}

#[test]
#[ignore = "needs moto from PyPI; make test runs it"]
fn a_place_has_tagged_subnets_and_a_route_to_the_internet() {
    let bed = Bed::new();
    assert_eq!(bed.place.zones.iter().map(|z| z.name.as_str()).collect::<Vec<_>>(), [A, B]);
    for (role, of) in [("elb", 0), ("internal-elb", 1)] {
        let filter = format!("tag:kubernetes.io/role/{role}");
        let filters = [
            ("Filter.1.Name", filter.as_str()),
            ("Filter.1.Value.1", "1"),
            ("Filter.2.Name", "vpc-id"),
            ("Filter.2.Value.1", &bed.place.vpc),
        ];
        let read = bed.call("ec2", "DescribeSubnets", &filters).unwrap();
        let mut found = read.all("subnetId");
        found.sort();
        let mut placed: Vec<_> = bed
            .place
            .zones
            .iter()
            .map(|z| if of == 0 { z.public.clone() } else { z.private.clone() })
            .collect();
        placed.sort();
        assert_eq!(found, placed);
    }
    let filters = [("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", bed.subnet(0))];
    let routes = bed.call("ec2", "DescribeRouteTables", &filters).unwrap();
    assert!(routes.all("destinationCidrBlock").contains(&"0.0.0.0/0".to_owned()), "{}", routes.0);
    let groups = bed.call("ec2", "DescribeSecurityGroups", &[("GroupId.1", &bed.place.node_group)]).unwrap();
    assert!(groups.all("key").contains(&format!("kubernetes.io/cluster/{CLUSTER}")));
}
