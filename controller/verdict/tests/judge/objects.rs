//! Objects that are fine, to be changed, and faults as short texts.

use std::net::IpAddr;

use landfall_model::{
    BfdProfile, BgpAdvertisement, BgpPeer, Communities, Labels, NodeView, PeerEndpoint, Pool, RemoteAs,
    Selector,
};
use landfall_verdict::{Mode, Objects, judge};

/// An install without objects.
pub(crate) fn none() -> Objects {
    Objects { namespace: "lb".into(), ..Objects::default() }
}

pub(crate) fn pool(name: &str, ranges: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        labels: Labels::new(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
        rules: landfall_model::PoolRules::default(),
    }
}

/// One that reaches every pool.
pub(crate) fn advertisement(name: &str) -> BgpAdvertisement {
    BgpAdvertisement { name: name.into(), ..BgpAdvertisement::default() }
}

pub(crate) fn peer(name: &str, address: &str) -> BgpPeer {
    BgpPeer::new(name, 64512, RemoteAs::Number(64513), PeerEndpoint::Address(ip(address)))
}

pub(crate) fn profile(name: &str, echo_mode: bool) -> BfdProfile {
    BfdProfile { name: name.into(), echo_mode, ..BfdProfile::default() }
}

pub(crate) fn communities(name: &str, aliases: &[(&str, &str)]) -> Communities {
    let aliases = aliases.iter().map(|(alias, value)| ((*alias).into(), value.parse().unwrap()));
    Communities { name: name.into(), aliases: aliases.collect() }
}

/// A node that [`on`] selects by its name.
pub(crate) fn node(name: &str) -> NodeView {
    let labels = Labels::from([("name".to_owned(), name.to_owned())]);
    NodeView { name: name.into(), labels, ..NodeView::default() }
}

pub(crate) fn on(node: &str) -> Vec<Selector> {
    vec![Selector::parse([("name", node)], []).unwrap()]
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The faults, such as `BGPPeer b spec.myASN Conflict`; a transient one ends in a question mark.
pub(crate) fn verdict(objects: &Objects, mode: Mode) -> Vec<String> {
    let faults = judge(objects, mode);
    let texts = faults.iter().map(|fault| {
        assert_eq!(fault.object.namespace, objects.namespace);
        let mark = if fault.transient { "?" } else { "" };
        format!("{} {} {} {}{mark}", fault.object.kind, fault.object.name, fault.field, fault.reason)
    });
    texts.collect()
}

/// The message of the only fault.
pub(crate) fn message(objects: &Objects, mode: Mode) -> String {
    let mut faults = judge(objects, mode);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0).message
}

/// Judges each row in the mode and compares; a row says what it is about, the objects, and the faults.
pub(crate) fn table(mode: Mode, rows: impl IntoIterator<Item = (&'static str, Objects, Vec<&'static str>)>) {
    for (row, objects, faults) in rows {
        assert_eq!(verdict(&objects, mode), faults, "{row}");
    }
}
