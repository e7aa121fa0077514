//! What the API server may tell a speaker.

use std::net::{IpAddr, Ipv4Addr};

use arbitrary::Arbitrary;
use landfall_model::{
    EXCLUDE_LABEL, Invalid, Labels, NodeView, ObjectName, Observation, Reason, SpeakerView, TrafficPolicy,
};

use super::{ADDRESSES, NODES};
use crate::objects::{
    advertisement, key, node, pool, proxied, see_advertisement, see_service, see_slice, service, slice,
};

/// An object as it is now, or that it is gone.
#[derive(Arbitrary, Debug)]
pub(super) enum Object {
    Service { name: u8, addresses: u8, kind: u8 },
    Endpoints { name: u8, nodes: u8, gone: bool },
    Node { node: u8, flags: u8 },
    Pool { ranges: u8 },
    Advertisement { name: u8, kind: u8 },
    Speaker { node: u8, gone: bool },
    Odd { kind: u8 },
}

impl Object {
    pub(super) fn observation(self) -> Observation {
        match self {
            Self::Service { name, addresses, kind } => {
                let name = format!("s{}", name % 4);
                if kind % 8 == 0 {
                    return Observation::Service(key(&name), None);
                }
                let mut view = service(&name, &pick(&ADDRESSES, addresses));
                view.created = i64::from(kind);
                match kind % 8 {
                    1 => view.traffic_policy = TrafficPolicy::Local,
                    2 => view = proxied(view),
                    3 => view.class = Some("other".into()),
                    4 => view.load_balancer = false,
                    5 => view.ports.clear(),
                    _ => {}
                }
                see_service(view)
            }
            Self::Endpoints { name, nodes, gone } => {
                let slice = slice(&format!("s{}", name % 4), &pick(&NODES, nodes));
                let Observation::EndpointSlice(name, seen) = see_slice(slice) else {
                    unreachable!("it is a slice")
                };
                Observation::EndpointSlice(name, seen.filter(|_| !gone))
            }
            Self::Node { node: number, flags } => {
                let mut view = NodeView {
                    ready: flags & 1 == 0,
                    network_unavailable: flags & 6 == 6,
                    leaving: flags & 8 != 0,
                    addresses: vec![peer_address(number % 3)],
                    ..node(NODES[usize::from(number) % 3])
                };
                if flags & 16 != 0 {
                    view.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
                }
                let name = view.name.clone();
                Observation::Node(name, (flags & 224 != 224).then(|| Box::new(view)))
            }
            Self::Pool { ranges } => {
                let all = ["192.0.2.0/24", "2001:db8::/64", "203.0.113.0/24"];
                let seen = pool("lan", &pick(&all, ranges));
                Observation::Pool("lan".into(), (ranges & 128 == 0).then(|| Box::new(seen)))
            }
            Self::Advertisement { name, kind } => {
                let mut seen = advertisement(&format!("a{}", name % 2));
                match kind % 5 {
                    0 => seen.interfaces = ["eth0".into()].into(),
                    1 => seen.interfaces = ["eth1".into(), "eth9".into()].into(),
                    2 => seen.pools = ["lan".into()].into(),
                    3 => return Observation::L2Advertisement(seen.name, None),
                    _ => {}
                }
                see_advertisement(seen)
            }
            Self::Speaker { node, gone } => {
                let name = NODES[usize::from(node) % 3];
                let view = SpeakerView { node: name.into(), addresses: vec![peer_address(node % 3)] };
                Observation::Speaker(format!("speaker-{name}").into(), (!gone).then_some(view))
            }
            Self::Odd { kind } => odd(kind),
        }
    }
}

pub(super) fn peer_address(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 200 + number % 4).into()
}

/// What a speaker does not care about.
fn odd(kind: u8) -> Observation {
    match kind % 3 {
        0 => Observation::Namespace("shop".into(), Some(Labels::new())),
        1 => {
            let invalid =
                Invalid { field: "spec".into(), reason: Reason::InvalidValue, message: "nonsense".into() };
            let name = ObjectName { kind: "IPAddressPool", namespace: "".into(), name: "lan".into() };
            Observation::Invalid(name, Some(Box::new(invalid)))
        }
        _ => Observation::Synced,
    }
}

fn pick<'a>(all: &[&'a str], mask: u8) -> Vec<&'a str> {
    all.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, one)| *one).collect()
}
