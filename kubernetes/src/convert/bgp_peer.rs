use std::{net::IpAddr, time::Duration};

use landfall_model::{BgpPeer, Invalid, PeerEndpoint, PeerPassword, Reason, RemoteAs};

use super::{duration::duration, invalid, number::number, object_name, selector::selectors};
use crate::api::{BGPPeer, BGPPeerSpec, DynamicAsn};

/// A `BGPPeer` of `v1beta2`. Whether its profile and its Secret exist, and how it gets along with other peers, is not
/// seen here. A text that is empty counts as left out, and so does the `peerASN` 0.
///
/// # Errors
/// When not exactly one of `peerASN` and `dynamicASN`, or of `peerAddress` and `interface`, is given; both `password`
/// and `passwordSecret` are; a number, an address, a duration or a selector cannot be read or is out of its range; the
/// timers do not fit each other; or several hops are said to lie between routers of one autonomous system.
pub fn bgp_peer(object: &BGPPeer) -> Result<BgpPeer, Invalid> {
    let spec = &object.spec;
    let name = object_name(object.metadata.name.as_ref())?;
    let my_asn = my_asn(spec)?;
    let timers = timers(spec)?;
    let local_asn = spec.local_asn.map(|value| number("spec.localASN", value, 1..=u32::MAX.into()));
    Ok(BgpPeer {
        name,
        my_asn,
        remote: remote(spec, my_asn)?,
        local_asn: local_asn.transpose()?,
        endpoint: endpoint(spec)?,
        source: address("spec.sourceAddress", spec.source_address.as_ref())?,
        port: port(spec)?,
        hold_time: timers.hold,
        keepalive_time: timers.keepalive,
        keepalive_given: timers.keepalive_given,
        connect_time: connect_time(spec)?,
        router_id: address("spec.routerID", spec.router_id.as_ref())?,
        node_selectors: selectors("spec.nodeSelectors", spec.node_selectors.as_ref())?,
        password: password(spec)?,
        bfd_profile: given(spec.bfd_profile.as_ref()).map(Into::into),
        multi_hop: spec.ebgp_multi_hop.unwrap_or(false),
        graceful_restart: spec.enable_graceful_restart.unwrap_or(false),
        vrf: given(spec.vrf.as_ref()).unwrap_or_default().into(),
        disable_mp: spec.disable_mp.unwrap_or(false),
        dual_stack: spec.dual_stack_address_family.unwrap_or(false),
    })
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn my_asn(spec: &BGPPeerSpec) -> Result<u32, Invalid> {
    const FIELD: &str = "spec.myASN";
    if spec.my_asn == 0 {
        let message =
            "0 is reserved (RFC 7607); give the number of the nodes' autonomous system, such as 64512";
        return Err(invalid(Reason::InvalidValue, FIELD, message));
    }
    number(FIELD, spec.my_asn, 1..=u32::MAX.into())
}

fn remote(spec: &BGPPeerSpec, my_asn: u32) -> Result<RemoteAs, Invalid> {
    match (spec.peer_asn.filter(|value| *value != 0), spec.dynamic_asn) {
        (Some(value), None) => {
            let value: u32 = number("spec.peerASN", value, 1..=u32::MAX.into())?;
            if value == my_asn && spec.ebgp_multi_hop == Some(true) {
                let message = format!(
                    "it is for peers of another autonomous system, and both myASN and peerASN are {value}; leave it \
                     out, or correct peerASN"
                );
                return Err(invalid(Reason::Contradiction, "spec.ebgpMultiHop", message));
            }
            Ok(RemoteAs::Number(value))
        }
        (None, Some(DynamicAsn::Internal)) => Ok(RemoteAs::Internal),
        (None, Some(DynamicAsn::External)) => Ok(RemoteAs::External),
        (None, None) => {
            let message = "the router's autonomous system is missing; give its number, or dynamicASN";
            Err(invalid(Reason::MissingField, "spec.peerASN", message))
        }
        (Some(value), Some(_)) => {
            let message = format!("peerASN says {value} already; give one of the two");
            Err(invalid(Reason::Contradiction, "spec.dynamicASN", message))
        }
    }
}

fn endpoint(spec: &BGPPeerSpec) -> Result<PeerEndpoint, Invalid> {
    const FIELD: &str = "spec.peerAddress";
    match (address(FIELD, spec.peer_address.as_ref())?, given(spec.interface.as_ref())) {
        (Some(address), None) => Ok(PeerEndpoint::Address(address)),
        (None, Some(interface)) => Ok(PeerEndpoint::Interface(interface.into())),
        (None, None) => {
            let message =
                "the router's address is missing; give it, or the interface behind which the router is";
            Err(invalid(Reason::MissingField, FIELD, message))
        }
        (Some(address), Some(_)) => {
            let message = format!("peerAddress says {address} already; give one of the two");
            Err(invalid(Reason::Contradiction, "spec.interface", message))
        }
    }
}

/// An address, an IPv4 one even where it is written as IPv6 (RFC 4291 §2.5.5.2).
fn address(field: &str, written: Option<&String>) -> Result<Option<IpAddr>, Invalid> {
    let read = given(written).map(|text| {
        text.parse().map(|address: IpAddr| address.to_canonical()).map_err(|_| {
            let message =
                format!("{text:?} is not an IP address; write one such as 192.0.2.7 or 2001:db8::7");
            invalid(Reason::InvalidAddress, field, message)
        })
    });
    read.transpose()
}

/// 0 stands for 179, as `v1beta1` had it: the API server reads objects of its time as they are.
fn port(spec: &BGPPeerSpec) -> Result<u16, Invalid> {
    match spec.peer_port.unwrap_or(0) {
        0 => Ok(179),
        port => number("spec.peerPort", i64::from(port), 1..=16384),
    }
}

fn password(spec: &BGPPeerSpec) -> Result<PeerPassword, Invalid> {
    let secret = spec.password_secret.as_ref().and_then(|secret| given(secret.name.as_ref()));
    match (given(spec.password.as_ref()), secret) {
        (None, None) => Ok(PeerPassword::None),
        (Some(_), None) => Ok(PeerPassword::Plain),
        (None, Some(name)) => Ok(PeerPassword::Secret(name.into())),
        (Some(_), Some(name)) => {
            let message = format!(
                "it names the Secret {name:?}, and there is a password in spec.password too; remove that"
            );
            Err(invalid(Reason::Contradiction, "spec.passwordSecret.name", message))
        }
    }
}

struct Timers {
    hold: Option<Duration>,
    keepalive: Option<Duration>,
    keepalive_given: bool,
}

/// The hold time counts in whole seconds (RFC 4271 §4.2). Whether the keepalive time is longer is looked at before the
/// rest is cut off, as MetalLB does it.
fn timers(spec: &BGPPeerSpec) -> Result<Timers, Invalid> {
    const HOLD: &str = "spec.holdTime";
    const KEEPALIVE: &str = "spec.keepaliveTime";
    let read =
        |field: &str, text: &Option<String>| text.as_deref().map(|text| duration(field, text)).transpose();
    let (hold, keepalive) = (read(HOLD, &spec.hold_time)?, read(KEEPALIVE, &spec.keepalive_time)?);
    let Some(exact) = hold.or_else(|| keepalive.map(|keepalive| keepalive.saturating_mul(3))) else {
        return Ok(Timers { hold: None, keepalive: None, keepalive_given: false });
    };
    let whole = Duration::from_secs(exact.as_secs());
    if !whole.is_zero() && whole < Duration::from_secs(3) {
        let (field, message) = match (&spec.hold_time, &spec.keepalive_time) {
            (None, Some(text)) => (
                KEEPALIVE,
                format!(
                    "{text} makes a hold time of {exact:?}, three times as long, and that must be 0 or at least 3s (RFC 4271 §4.2); use 0 or at least 1s"
                ),
            ),
            (text, _) => {
                let text = text.as_deref().unwrap_or_default();
                (HOLD, format!("{text} is too short; use 0 or at least 3s (RFC 4271 §4.2)"))
            }
        };
        return Err(invalid(Reason::InvalidValue, field, message));
    }
    if let Some(keepalive) = keepalive.filter(|keepalive| *keepalive > exact) {
        let message = format!(
            "{keepalive:?} is longer than the hold time of {exact:?}, so the session would end between two messages; use \
             a third of that"
        );
        return Err(invalid(Reason::Contradiction, KEEPALIVE, message));
    }
    Ok(Timers {
        hold: Some(whole),
        keepalive: Some(keepalive.map_or(whole / 3, |keepalive| keepalive.min(whole))),
        keepalive_given: keepalive.is_some_and(|keepalive| !keepalive.is_zero()),
    })
}

fn connect_time(spec: &BGPPeerSpec) -> Result<Option<Duration>, Invalid> {
    const FIELD: &str = "spec.connectTime";
    let Some(text) = spec.connect_time.as_deref() else {
        return Ok(None);
    };
    let time = duration(FIELD, text)?;
    if time.subsec_nanos() != 0 || !(1..=65535).contains(&time.as_secs()) {
        let message = format!("{text} does not fit; use a whole number of seconds from 1s to 65535s");
        return Err(invalid(Reason::InvalidValue, FIELD, message));
    }
    Ok(Some(time))
}
