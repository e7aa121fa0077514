//! Security groups of the load balancer.

use landfall_aws_plan::{Op, Settings, Source};

use crate::world::{World, security_group};

/// Names of the groups that the load balancer carries, generated ones by their stem.
fn groups(world: &World) -> Vec<String> {
    let lb = world.aws.load_balancers.values().next().unwrap();
    let names = lb.security_groups.iter().map(|id| world.aws.security_groups[id].name.clone());
    let mut names: Vec<String> = names
        .map(|name| {
            name.rsplit_once('-')
                .filter(|_| name.starts_with("k8s-"))
                .map_or(name.clone(), |(stem, _)| stem.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// Name, settings, annotations, groups.
type Row<'a> = (&'a str, fn(&mut Settings), &'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn each_row_gives_its_groups() {
    let mine = ("aws-load-balancer-security-groups", "mine");
    let manage = ("aws-load-balancer-manage-backend-security-group-rules", "true");
    let no_backend: fn(&mut Settings) = |settings| settings.backend_security_group = false;
    let no_groups: fn(&mut Settings) = |settings| settings.security_groups = false;
    let own_backend: fn(&mut Settings) =
        |settings| settings.backend_security_group_id = Some("sg-theirs".into());
    let as_is: fn(&mut Settings) = |_| {};
    let rows: &[Row] = &[
        ("managed and backend", as_is, &[], &["k8s-shop-web", "k8s-traffic-harbor"]),
        ("managed only", no_backend, &[], &["k8s-shop-web"]),
        ("managed and a back-end group of the user", own_backend, &[], &["k8s-shop-web", "sg-theirs"]),
        ("given and a back-end group of the user", own_backend, &[mine, manage], &["sg-mine", "sg-theirs"]),
        ("given", as_is, &[mine], &["sg-mine"]),
        (
            "given by id and backend",
            as_is,
            &[("aws-load-balancer-security-groups", "sg-mine"), manage],
            &["k8s-traffic-harbor", "sg-mine"],
        ),
        ("gate off", no_groups, &[], &[]),
        ("disabled", as_is, &[("aws-load-balancer-disable-nlb-sg", "true")], &[]),
    ];
    for (row, set, annotations, expected) in rows {
        let mut world = World::new();
        world.aws.security_groups.insert("sg-theirs".into(), security_group("sg-theirs", &[]));
        world.restart();
        set(&mut world.settings);
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        assert_eq!(groups(world.converge()), *expected, "{row}");
        world.service.deleting = true;
        world.converge();
        assert!(world.aws.security_groups.contains_key(&"sg-theirs".into()), "{row}");
    }
}

#[test]
fn a_load_balancer_without_groups_stays_without() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-disable-nlb-sg", "true").converge();
    world.service.annotations.clear();
    assert_eq!(groups(world.converge()), [""; 0]);
    world.annotate("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "on");
    assert!(world.problem().contains("made without"));
}

#[test]
fn groups_cannot_all_be_removed_from_a_live_load_balancer() {
    let mut world = World::new();
    world.converge().settings.security_groups = false;
    let text = world.problem();
    assert!(text.contains("conflicting security groups configuration"), "{text}");
    assert!(text.contains("feature gate NLBSecurityGroup"), "{text}");
    world.settings.security_groups = true;
    world.annotate("aws-load-balancer-disable-nlb-sg", "true");
    assert!(world.problem().contains("conflicting security groups configuration"));
}

#[test]
fn groups_that_are_not_there_are_named() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-security-groups", "mine,nowhere");
    let text = world.problem();
    assert!(
        text.contains("couldn't find all security groups")
            && text.contains("nowhere")
            && !text.contains("mine,"),
        "{text}"
    );
}

#[test]
fn rules_for_given_groups_need_the_backend_group() {
    let mut world = World::new();
    world.settings.backend_security_group = false;
    world.annotate("aws-load-balancer-security-groups", "mine");
    world.annotate("aws-load-balancer-manage-backend-security-group-rules", "true");
    assert!(world.problem().contains("backendSG feature is required"));
}

#[test]
fn every_port_is_open_to_every_source() {
    let rules = |annotations: &[(&str, &str)], ranges: &[&str]| {
        let mut world = World::new();
        world.service.source_ranges = ranges.iter().map(|range| (*range).to_owned()).collect();
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        let group = world.stack().unwrap().security_group.unwrap();
        let text = |source: &Source| match source {
            Source::Block(block) => block.to_string(),
            Source::PrefixList(list) => list.clone(),
            Source::Group(id) => id.to_string(),
        };
        group
            .ingress
            .iter()
            .map(|rule| format!("{} {}-{} {}", rule.protocol, rule.from, rule.to, text(&rule.source)))
            .collect::<Vec<_>>()
    };
    let dual = ("aws-load-balancer-ip-address-type", "dualstack");
    let lists = ("aws-load-balancer-security-group-prefix-lists", "pl-1");
    assert_eq!(rules(&[], &[]), ["tcp 80-80 0.0.0.0/0", "tcp 443-443 0.0.0.0/0"]);
    assert_eq!(
        rules(&[dual], &[]),
        ["tcp 80-80 0.0.0.0/0", "tcp 80-80 ::/0", "tcp 443-443 0.0.0.0/0", "tcp 443-443 ::/0"]
    );
    assert_eq!(rules(&[lists], &[]), ["tcp 80-80 pl-1", "tcp 443-443 pl-1"]);
    assert_eq!(
        rules(&[lists], &["10.1.2.3/8"]),
        ["tcp 80-80 10.0.0.0/8", "tcp 80-80 pl-1", "tcp 443-443 10.0.0.0/8", "tcp 443-443 pl-1"]
    );
    let icmp = rules(&[dual, ("aws-load-balancer-enable-icmp-for-path-mtu-discovery", "on")], &[]);
    assert_eq!(icmp[..2], ["icmp 3-4 0.0.0.0/0", "icmpv6 2-0 ::/0"]);
}

#[test]
fn ipv6_sources_need_a_dual_stack_load_balancer() {
    let mut world = World::new();
    world.annotate("load-balancer-source-ranges", "fd00::/8");
    assert!(world.problem().contains("unsupported v6 cidr"));
}

#[test]
fn rules_are_opened_before_others_are_closed() {
    let mut world = World::new();
    world.converge().aws.calls.clear();
    world.service.source_ranges = vec!["10.0.0.0/8".to_owned()];
    world.converge();
    let position = |wanted: fn(&Op) -> bool| world.aws.calls.iter().position(wanted).unwrap();
    assert!(
        position(|op| matches!(op, Op::AuthorizeIngress { .. }))
            < position(|op| matches!(op, Op::RevokeIngress { .. }))
    );
}

#[test]
fn private_link_rules_are_set_where_asked_for() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-inbound-sg-rules-on-private-link-traffic", "off").converge();
    assert_eq!(world.aws.load_balancers.values().next().unwrap().private_link_rules.as_deref(), Some("off"));
}
