//! Scheme, subnets and fixed addresses.

use landfall_aws_plan::{Locale, Op, Scheme, Subnet};

use crate::world::{World, map, subnet};

const OWN: &str = "kubernetes.io/cluster/harbor";

/// A world with these subnets only.
fn world(subnets: Vec<Subnet>) -> World {
    let mut world = World::new();
    world.aws.subnets = subnets;
    world.restart();
    world
}

fn chosen(world: &mut World) -> Vec<String> {
    let stack = world.stack().unwrap();
    stack.load_balancer.subnets.iter().map(|mapping| mapping.subnet.as_str().to_owned()).collect()
}

#[test]
fn the_scheme_is_that_of_the_first_source() {
    let mut world = World::new();
    let scheme = |world: &mut World| world.stack().unwrap().load_balancer.scheme;
    assert_eq!(scheme(&mut world), Scheme::Internal, "step 4: the flag");
    world.settings.default_scheme = Scheme::InternetFacing;
    world.converge();
    world.settings.default_scheme = Scheme::Internal;
    assert_eq!(scheme(&mut world), Scheme::InternetFacing, "step 3: the live one");
    world.annotate("aws-load-balancer-internal", "true");
    assert_eq!(scheme(&mut world), Scheme::Internal, "step 2: the old annotation");
    world.annotate("aws-load-balancer-scheme", "internet-facing");
    assert_eq!(scheme(&mut world), Scheme::InternetFacing, "step 1: the annotation");
}

#[test]
fn candidates_carry_the_role_of_the_scheme_with_an_empty_value_or_1() {
    let mut subnets = vec![subnet("subnet-a", "a"), subnet("subnet-b", "b"), subnet("subnet-c", "c")];
    subnets[0].tags = map(&[("kubernetes.io/role/internal-elb", "")]);
    subnets[1].tags = map(&[("kubernetes.io/role/elb", "1")]);
    subnets[2].tags = map(&[("kubernetes.io/role/internal-elb", "no")]);
    let mut world = world(subnets);
    assert_eq!(chosen(&mut world), ["subnet-a"]);
    world.annotate("aws-load-balancer-scheme", "internet-facing");
    assert_eq!(chosen(&mut world), ["subnet-b"]);
}

#[test]
fn without_any_tagged_subnet_the_route_to_the_internet_decides() {
    let mut subnets = vec![subnet("subnet-a", "a"), subnet("subnet-b", "b")];
    subnets.iter_mut().for_each(|subnet| subnet.tags.clear());
    let mut world = world(subnets);
    world.aws.route_tables.insert("subnet-b".to_owned(), true);
    assert_eq!(chosen(&mut world), ["subnet-a"]);
    world.annotate("aws-load-balancer-scheme", "internet-facing");
    assert_eq!(chosen(&mut world), ["subnet-b"]);
    world.settings.subnets_by_reachability = false;
    assert!(world.problem().contains("evaluated 0 subnets"));
}

#[test]
fn filters_take_subnets_and_say_how_many() {
    let mut subnets: Vec<Subnet> = ["a", "b", "c"].map(|zone| subnet(&format!("subnet-{zone}"), zone)).into();
    subnets[0].tags.insert("kubernetes.io/cluster/other".to_owned(), "owned".to_owned());
    subnets[1].free_addresses = 7;
    subnets[2].blocks.truncate(1);
    let mut world = world(subnets);
    world.annotate("aws-load-balancer-ip-address-type", "dualstack");
    let text = world.problem();
    for part in [
        "unable to resolve at least one subnet",
        "evaluated 3",
        "1 tagged for other clusters",
        "1 with fewer than 8",
        "1 without an IPv6",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    world.settings.subnets_cluster_tag_check = false;
    assert_eq!(chosen(&mut world), ["subnet-a"]);
}

#[test]
fn eight_free_addresses_are_enough() {
    let mut one = subnet("subnet-a", "a");
    one.free_addresses = 8;
    assert_eq!(chosen(&mut world(vec![one])), ["subnet-a"]);
}

#[test]
fn of_one_zone_the_one_with_our_tag_then_the_smallest_id() {
    let mut subnets = vec![
        subnet("subnet-d", "x"),
        subnet("subnet-c", "x"),
        subnet("subnet-b", "y"),
        subnet("subnet-a", "y"),
    ];
    subnets[0].tags.insert(OWN.to_owned(), "shared".to_owned());
    assert_eq!(chosen(&mut world(subnets)), ["subnet-a", "subnet-d"]);
}

#[test]
fn all_are_of_one_kind_of_place() {
    for locale in [Locale::LocalZone, Locale::WavelengthZone, Locale::Outpost] {
        let mut subnets = vec![subnet("subnet-a", "a"), subnet("subnet-b", "b")];
        subnets[1].locale = locale;
        assert!(world(subnets).problem().contains("subnets in multiple locales"));
    }
}

#[test]
fn named_subnets_are_found_by_id_or_name_in_their_order() {
    let mut subnets = vec![subnet("subnet-a", "a"), subnet("subnet-b", "b"), subnet("subnet-c", "b")];
    subnets[0].tags = map(&[("Name", "front")]);
    let mut world = world(subnets);
    world.annotate("aws-load-balancer-subnets", "subnet-b, front");
    assert_eq!(chosen(&mut world), ["subnet-b", "subnet-a"]);
    world.annotate("aws-load-balancer-subnets", "subnet-b,nowhere");
    assert!(world.problem().contains("couldn't find all subnets"));
    world.annotate("aws-load-balancer-subnets", "subnet-b,subnet-c");
    assert!(world.problem().contains("multiple subnets in same Availability Zone b"));
}

#[test]
fn each_subnet_of_a_dual_stack_load_balancer_has_an_ipv6_block() {
    let without = || {
        let mut subnets = vec![subnet("subnet-a", "a"), subnet("subnet-b", "b")];
        subnets[1].blocks.truncate(1);
        world(subnets)
    };
    let dualstack = ("aws-load-balancer-ip-address-type", "dualstack");
    let mut named = without();
    named.annotate("aws-load-balancer-subnets", "subnet-a,subnet-b");
    let mut kept = without();
    kept.converge();
    for world in [&mut named, &mut kept] {
        world.annotate(dualstack.0, dualstack.1);
        let text = world.problem();
        assert!(text.contains("subnets subnet-b do not have an associated IPv6 CIDR block"), "{text}");
    }
    let mut found = without();
    assert_eq!(chosen(found.annotate(dualstack.0, dualstack.1)), ["subnet-a"], "discovery leaves it out");
}

#[test]
fn another_order_of_the_same_subnets_changes_nothing() {
    let mut world = World::new();
    world.annotate("aws-load-balancer-subnets", "subnet-b,subnet-a").converge().aws.calls.clear();
    world.annotate("aws-load-balancer-subnets", "subnet-a,subnet-b").converge();
    let sets = world.aws.calls.iter().filter(|op| matches!(op, Op::SetSubnets { .. }));
    assert_eq!(sets.count(), 0, "{:?}", world.aws.calls);
}

#[test]
fn a_live_load_balancer_keeps_its_subnets_until_others_are_named() {
    let mut world = World::new();
    world.converge();
    world.aws.subnets.push(subnet("subnet-c", "eu-west-1c"));
    world.restart();
    assert_eq!(chosen(&mut world), ["subnet-a", "subnet-b"]);
    world.annotate("aws-load-balancer-subnets", "subnet-a,subnet-b,subnet-c").converge();
    assert_eq!(world.aws.load_balancers.values().next().unwrap().subnets.len(), 3);
}

#[test]
fn fixed_addresses_belong_to_their_scheme_and_their_subnet() {
    // Annotations, and a part of the problem or of the first mapping.
    let internal = ("aws-load-balancer-scheme", "internal");
    let public = ("aws-load-balancer-scheme", "internet-facing");
    let dual = ("aws-load-balancer-ip-address-type", "dualstack");
    let eip = "aws-load-balancer-eip-allocations";
    let private = "aws-load-balancer-private-ipv4-addresses";
    let v6 = "aws-load-balancer-ipv6-addresses";
    let nat = ("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on");
    let prefixes = "aws-load-balancer-source-nat-ipv6-prefixes";
    let refused: &[(&[(&str, &str)], &str)] = &[
        (&[public, (eip, "eipalloc-1")], "count of EIP allocations (1) and subnets (2) must match"),
        (&[internal, (eip, "eipalloc-1,eipalloc-2")], "only be set for internet facing"),
        (&[public, (private, "10.0.97.9,10.0.98.9")], "only be set for internal"),
        (
            &[internal, (private, "10.0.97.9,10.0.97.10")],
            "expect one private IPv4 address in subnet subnet-a, found 2",
        ),
        (&[internal, (private, "10.0.97.9,pear")], "each entry must be an IPv4 address"),
        (&[internal, (v6, "fd00:0:0:61::9,fd00:0:0:62::9")], "lb not dual-stack"),
        (
            &[internal, dual, (prefixes, "auto_assigned,auto_assigned")],
            "needs aws-load-balancer-enable-prefix",
        ),
        (&[internal, dual, nat, (prefixes, "auto_assigned,fd00::/64")], "neither auto_assigned nor a /80"),
    ];
    for (annotations, part) in refused {
        let mut world = World::new();
        annotations.iter().for_each(|(name, value)| _ = world.annotate(name, value));
        let result = world.stack().expect_err(part);
        let text = result.iter().map(ToString::to_string).collect::<String>();
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let mut world = World::new();
    world
        .annotate(private, "10.0.98.9,10.0.97.9")
        .annotate(v6, "fd00:0:0:62::9,fd00:0:0:61::9")
        .annotate(dual.0, dual.1);
    world.annotate(nat.0, nat.1).annotate(prefixes, "auto_assigned,fd00:0:0:62:1::/80");
    let subnets = world.stack().unwrap().load_balancer.subnets;
    assert_eq!(subnets[0].private_ipv4, Some("10.0.97.9".parse().unwrap()));
    assert_eq!(subnets[1].ipv6, Some("fd00:0:0:62::9".parse().unwrap()));
    assert_eq!(subnets[1].source_nat_prefix.as_deref(), Some("fd00:0:0:62:1::/80"));
    let mut world = World::new();
    world.annotate(public.0, public.1).annotate(eip, "eipalloc-1,eipalloc-2");
    assert_eq!(world.stack().unwrap().load_balancer.subnets[1].allocation.as_deref(), Some("eipalloc-2"));
}

#[test]
fn another_source_nat_prefix_is_set_on_a_live_load_balancer() {
    const PREFIXES: &str = "aws-load-balancer-source-nat-ipv6-prefixes";
    let mut world = World::new();
    world
        .annotate("aws-load-balancer-ip-address-type", "dualstack")
        .annotate("aws-load-balancer-enable-prefix-for-ipv6-source-nat", "on")
        .annotate("aws-load-balancer-private-ipv4-addresses", "10.0.97.9,10.0.98.9")
        .annotate(PREFIXES, "auto_assigned,fd00:0:0:62:1::/80")
        .converge();
    // AWS chooses the first, spells them its own way, and lists subnets in an order of its own.
    let lb = world.aws.load_balancers.values_mut().next().unwrap();
    lb.subnets[0].source_nat_prefix = Some("fd00:0:0:61:9::/80".to_owned());
    lb.subnets[1].source_nat_prefix = Some("fd00:0000:0000:0062:0001:0000:0000:0000/80".to_owned());
    lb.subnets.reverse();
    world.restart();
    world.aws.calls.clear();
    world.converge();
    assert_eq!(world.aws.calls, []);

    world.annotate(PREFIXES, "auto_assigned,fd00:0:0:62:2::/80").converge();
    let set = |op: &Op| {
        let Op::SetSubnets { subnets, source_nat, .. } = op else { return None };
        Some((subnets.clone(), *source_nat))
    };
    let calls: Vec<_> = world.aws.calls.iter().filter_map(set).collect();
    let [(subnets, source_nat)] = &calls[..] else { panic!("{calls:?}") };
    let prefixes: Vec<_> = subnets.iter().map(|mapping| mapping.source_nat_prefix.as_deref()).collect();
    assert_eq!(prefixes, [Some("fd00:0:0:61:9::/80"), Some("fd00:0:0:62:2::/80")], "the chosen one stays");
    assert!(source_nat.is_none() && subnets.iter().all(|mapping| mapping.private_ipv4.is_some()));

    // Some answers have no prefixes; then what was set last counts, unless something else was changed since.
    world.aws.load_balancers.values_mut().next().unwrap().subnets[1].source_nat_prefix = None;
    world.restart();
    world.aws.calls.clear();
    world.converge();
    assert_eq!(world.aws.calls, []);
    // Not asked for any more, they stay.
    world.service.annotations.remove(&format!("{}{PREFIXES}", landfall_aws_plan::PREFIX));
    world.converge();
    assert_eq!(world.aws.calls.iter().filter_map(set).count(), 0);
}
