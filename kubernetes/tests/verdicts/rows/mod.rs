//! Each rule of MetalLB's parser, with its verdict: sets that are fine but for one thing.

mod advertisements;
mod peers;
mod pools;

use landfall_verdict::Mode;
use serde_json::{Value, json};

use crate::answers::Outcome::{self, Accepted, Refused, Transient};

/// A set, and what MetalLB says of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) modes: &'static [Mode],
    pub(crate) expected: Outcome,
    pub(crate) objects: Vec<Value>,
}

/// Every mode but the native one.
const FRR: &[Mode] = &[Mode::Frr, Mode::FrrK8s];

pub(crate) fn all() -> Vec<Row> {
    [pools::rows(), advertisements::rows(), peers::rows()].concat()
}

/// A row for every mode.
fn row(expected: Outcome, what: &str, objects: Vec<Value>) -> Row {
    Row { what: what.to_owned(), modes: Mode::ALL, expected, objects }
}

fn accepted(what: &str, objects: Vec<Value>) -> Row {
    row(Accepted, what, objects)
}

fn refused(what: &str, objects: Vec<Value>) -> Row {
    row(Refused, what, objects)
}

fn transient(what: &str, objects: Vec<Value>) -> Row {
    row(Transient, what, objects)
}

impl Row {
    fn in_modes(self, modes: &'static [Mode]) -> Self {
        Self { modes, ..self }
    }

    /// One row for the modes with FRR, and one that says that the native mode refuses it.
    fn not_native(self) -> [Self; 2] {
        let what = format!("{}, which the native mode cannot do", self.what);
        [Self { expected: Refused, modes: &[Mode::Native], what, ..self.clone() }, self.in_modes(FRR)]
    }
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
    json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind, "metadata": { "name": name }, "spec": spec,
    })
}

fn pool(name: &str, addresses: &[&str]) -> Value {
    object("IPAddressPool", name, &json!({ "addresses": addresses }))
}

fn bgp(name: &str, spec: &Value) -> Value {
    object("BGPAdvertisement", name, spec)
}

/// A peer at an address, with more fields.
fn peer(name: &str, address: &str, more: &Value) -> Value {
    let mut spec = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": address });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    object("BGPPeer", name, &spec)
}

fn profile(name: &str, spec: &Value) -> Value {
    object("BFDProfile", name, spec)
}

fn community(name: &str, aliases: &[(&str, &str)]) -> Value {
    let aliases: Vec<Value> =
        aliases.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    object("Community", name, &json!({ "communities": aliases }))
}

/// A Node that [`on`] selects.
fn node(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "name": name } } })
}

fn on(node: &str) -> Value {
    json!([{ "matchLabels": { "name": node } }])
}

/// The Secrets that peers may name.
pub(crate) fn secrets() -> Vec<Value> {
    let secret = |name: &str, kind: &str, key: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "type": kind, "data": { key: "c2VjcmV0" },
        })
    };
    vec![
        secret("good", "kubernetes.io/basic-auth", "password"),
        secret("other", "Opaque", "password"),
        secret("empty", "kubernetes.io/basic-auth", "username"),
    ]
}

/// Lists of selectors, and whether one may write them.
fn selectors() -> Vec<(&'static str, Value, bool)> {
    let expression = |key: &str, operator: &str, values: &[&str]| json!({ "key": key, "operator": operator, "values": values });
    let one = |expressions: Value| json!([{ "matchExpressions": expressions }]);
    let label = json!({ "matchLabels": { "a": "b" } });
    let same = json!({ "matchExpressions": [expression("a", "In", &["b"])] });
    let (ab, ba) = (expression("a", "In", &["x", "y"]), expression("a", "In", &["y", "x"]));
    let exists = expression("a", "Exists", &[]);
    vec![
        ("one", json!([label]), true),
        ("the empty one", json!([{}]), true),
        ("one twice", json!([label, label]), false),
        ("the empty one twice", json!([{}, {}]), false),
        (
            "one twice, values in another order",
            json!([{ "matchExpressions": [ab] }, { "matchExpressions": [ba] }]),
            false,
        ),
        (
            "one twice, expressions in another order",
            json!([{ "matchExpressions": [ab, exists] }, { "matchExpressions": [exists, ba] }]),
            true,
        ),
        ("one twice, as a label and as an expression", json!([label, same]), true),
        (
            "an expression that says what a label says",
            json!([{ "matchLabels": { "a": "b" }, "matchExpressions": [expression("a", "In", &["b"])] }]),
            true,
        ),
        ("an expression twice", one(json!([ab, ba])), false),
        ("a value twice", one(json!([expression("a", "In", &["x", "x"])])), false),
        ("an unknown operator", one(json!([expression("a", "Near", &["x"])])), false),
        ("In without values", one(json!([expression("a", "In", &[])])), false),
        ("Exists with values", one(json!([expression("a", "Exists", &["x"])])), false),
        ("a key that is none", one(json!([expression("-a", "Exists", &[])])), false),
        ("a key with a prefix", one(json!([expression("example.com/a", "Exists", &[])])), true),
        ("a key with a bad prefix", one(json!([expression("Example/a", "Exists", &[])])), false),
        ("a value that is none", one(json!([expression("a", "NotIn", &["x y"])])), false),
        ("a label's value that is none", json!([{ "matchLabels": { "a": "-b" } }]), false),
        ("an empty value", json!([{ "matchLabels": { "a": "" } }]), true),
    ]
}

/// The lists in a field of an object that `build` makes.
fn selector_rows(field: &str, build: impl Fn(Value) -> Value) -> Vec<Row> {
    let rows = selectors().into_iter().map(|(what, list, fine)| {
        row(if fine { Accepted } else { Refused }, &format!("{field}: {what}"), vec![build(list)])
    });
    rows.collect()
}
