use serde_json::{Value, json};

use super::{Row, accepted, object, pool, refused, selector_rows};

/// Lists of addresses of one pool.
const ACCEPTED: &[(&str, &[&str])] = &[
    ("host bits", &["192.168.7.77/24"]),
    ("blanks around a dash", &["192.0.2.1 -  192.0.2.9"]),
    ("first and last the same", &["192.0.2.1-192.0.2.1"]),
    ("IPv4 in IPv6, a prefix", &["::ffff:192.0.2.0/120"]),
    ("IPv4 in IPv6, a range", &["::ffff:192.0.2.1-192.0.2.9"]),
    ("both families", &["192.0.2.0/24", "2001:db8::/64"]),
    ("adjacent entries", &["192.0.2.0/25", "192.0.2.128/25", "192.0.3.0-192.0.3.9"]),
    ("all of IPv4", &["0.0.0.0/0"]),
    ("all of IPv6", &["::/0"]),
    ("all of IPv4 as a range", &["0.0.0.0-255.255.255.255"]),
    ("all of IPv6 as a range", &["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
    ("the last address", &["255.255.255.255-255.255.255.255"]),
    ("loopback", &["127.0.0.0/8", "::1/128"]),
    ("multicast", &["224.0.0.0/4", "ff00::/8"]),
    ("link-local", &["169.254.0.0/16", "fe80::/10"]),
    ("a length with leading zeros", &["192.0.2.0/024"]),
    ("a large range of IPv6", &["2001:db8::1-2001:db8:ffff::"]),
];

const REFUSED: &[(&str, &[&str])] = &[
    ("no addresses", &[]),
    ("an address without a mask", &["192.0.2.1"]),
    ("an IPv6 address without a mask", &["2001:db8::1"]),
    ("/33", &["192.0.2.0/33"]),
    ("/129", &["2001:db8::/129"]),
    ("a signed length", &["192.0.2.0/+24"]),
    ("an empty text", &[""]),
    ("a zone", &["fe80::1%eth0/64"]),
    ("an octet with a leading zero", &["192.0.02.0/24"]),
    ("an octet with a leading zero in a range", &["192.0.2.01-192.0.2.9"]),
    ("a blank before a prefix", &[" 192.0.2.0/24"]),
    ("a blank after a prefix", &["192.0.2.0/24 "]),
    ("first after last", &["192.0.2.9-192.0.2.1"]),
    ("two dashes", &["192.0.2.1-192.0.2.2-192.0.2.3"]),
    ("no last", &["192.0.2.1-"]),
    ("no first", &["-192.0.2.1"]),
    ("a prefix as an end", &["192.0.2.1-192.0.2.0/24"]),
    ("IPv4 first, IPv6 last", &["192.0.2.1-2001:db8::1"]),
    ("IPv6 first, IPv4 last", &["2001:db8::1-192.0.2.1"]),
    ("a prefix twice", &["192.0.2.0/24", "192.0.2.0/24"]),
    ("a prefix in another", &["192.0.2.0/24", "192.0.2.128/25"]),
    ("a range over a prefix", &["192.0.2.0/24", "192.0.2.255-192.0.3.0"]),
    ("two ranges that overlap", &["192.0.2.1-192.0.2.9", "192.0.2.9-192.0.2.20"]),
];

/// Lists of two pools.
const OVERLAPS: &[(&str, &str, &str)] = &[
    ("the same", "192.0.2.0/24", "192.0.2.0/24"),
    ("the second larger", "192.0.2.0/25", "192.0.2.0/24"),
    ("the first larger", "192.0.2.0/24", "192.0.2.0/25"),
    ("ranges", "192.0.2.1-192.0.2.9", "192.0.2.9-192.0.2.11"),
    ("IPv6", "2001:db8::/64", "2001:db8::7/128"),
];

pub(super) fn rows() -> Vec<Row> {
    let named = |(what, addresses): &(&str, &[&str])| (format!("pool: {what}"), vec![pool("a", addresses)]);
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(ACCEPTED.iter().map(named).map(|(what, objects)| accepted(&what, objects)));
    rows.extend(REFUSED.iter().map(named).map(|(what, objects)| refused(&what, objects)));
    rows.extend(OVERLAPS.iter().map(|(what, one, other)| {
        refused(&format!("two pools: {what}"), vec![pool("a", &[one]), pool("b", &[other])])
    }));
    let with = |more: Value| {
        let mut spec = json!({ "addresses": ["192.0.2.0/24"] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object("IPAddressPool", "a", &spec)
    };
    let allocation = |allocation: Value| vec![with(json!({ "serviceAllocation": allocation }))];
    rows.extend([
        accepted("two pools: adjacent", vec![pool("a", &["192.0.2.0/25"]), pool("b", &["192.0.2.128/25"])]),
        accepted("two pools: other families", vec![pool("a", &["0.0.0.0/0"]), pool("b", &["::/1"])]),
        accepted(
            "two pools: overlap, one in the form of IPv6",
            vec![pool("a", &["::ffff:192.0.2.0/120"]), pool("b", &["192.0.2.128/25"])],
        ),
        refused("two pools: one name", vec![pool("a", &["192.0.2.0/25"]), pool("a", &["192.0.2.128/25"])]),
        refused("pool: no name", vec![pool("", &["192.0.2.0/25"])]),
        refused("pool: addresses absent", vec![object("IPAddressPool", "a", &json!({}))]),
        accepted("serviceAllocation: empty", allocation(json!({}))),
        accepted("serviceAllocation: a negative priority", allocation(json!({ "priority": -1 }))),
        accepted("serviceAllocation: a large priority", allocation(json!({ "priority": 2_147_483_648_i64 }))),
        accepted(
            "serviceAllocation: a namespace that is not there",
            allocation(json!({ "namespaces": ["x"] })),
        ),
        refused("serviceAllocation: a namespace twice", allocation(json!({ "namespaces": ["x", "x"] }))),
    ]);
    for field in ["namespaceSelectors", "serviceSelectors"] {
        rows.extend(selector_rows(&format!("serviceAllocation.{field}"), |list| {
            allocation(json!({ field: list })).remove(0)
        }));
    }
    rows.extend(l2());
    rows
}

fn l2() -> Vec<Row> {
    let l2 = |spec: Value| vec![pool("a", &["192.0.2.0/24"]), object("L2Advertisement", "l2", &spec)];
    let preferring = |weight: i64, preference: Value| {
        l2(json!({ "preferredNodeSelectors": [{ "weight": weight, "preference": preference }] }))
    };
    let expression =
        |operator: &str, values: &[&str]| json!({ "key": "a", "operator": operator, "values": values });
    let mut rows = vec![
        accepted("L2Advertisement: empty", l2(json!({}))),
        accepted("L2Advertisement: unknown pool", l2(json!({ "ipAddressPools": ["none", "a"] }))),
        refused("L2Advertisement: a pool twice", l2(json!({ "ipAddressPools": ["a", "a"] }))),
        accepted(
            "L2Advertisement: an interface twice",
            l2(json!({ "interfaces": ["eth0", "eth0", "none"] })),
        ),
        accepted("preferredNodeSelectors: weight 0", preferring(0, json!({}))),
        accepted("preferredNodeSelectors: weight 101", preferring(101, json!({}))),
        accepted(
            "preferredNodeSelectors: weight 100",
            preferring(100, json!({ "matchLabels": { "a": "b" } })),
        ),
        accepted(
            "preferredNodeSelectors: a value twice",
            preferring(1, json!({ "matchExpressions": [expression("In", &["b", "b"])] })),
        ),
        refused(
            "preferredNodeSelectors: an unknown operator",
            preferring(1, json!({ "matchExpressions": [expression("Near", &["b"])] })),
        ),
        refused(
            "preferredNodeSelectors: a value that is none",
            preferring(1, json!({ "matchLabels": { "a": "b c" } })),
        ),
    ];
    for field in ["ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors"] {
        rows.extend(selector_rows(&format!("L2Advertisement.{field}"), |list| {
            object("L2Advertisement", "l2", &json!({ field: list }))
        }));
    }
    rows
}
