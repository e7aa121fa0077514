use landfall_model::{BgpPeer, Community, CommunityName, PeerEndpoint, Reason, RemoteAs};

use crate::{
    Mode,
    fault::Faults,
    reach::Reach,
    set::{BFD_PROFILE, BGP_ADVERTISEMENT, COMMUNITY, PEER, POOL, Set},
};

/// What the native mode does not have: each use of it is a fault of its own.
pub(crate) fn judge(set: &Set<'_>, reach: &Reach, faults: &mut Faults<'_>) {
    let mut refuse = |object, field: &str, what: &str| {
        let message =
            format!("{what}, which the mode native cannot do; take it out, or use the mode frr-k8s or frr");
        faults.permanent(object, field, Reason::Unsupported, message);
    };
    for profile in &set.profiles {
        refuse((BFD_PROFILE, &profile.name), "", "it sets up BFD");
    }
    for peer in &set.peers {
        for (field, what) in beyond(peer) {
            refuse((PEER, &peer.name), field, what);
        }
    }
    for object in &set.communities {
        for (index, (alias, community)) in object.aliases.iter().enumerate() {
            if large(community) {
                let field = format!("spec.communities[{index}].value");
                refuse((COMMUNITY, &object.name), &field, &format!("{alias:?} is a large community"));
            }
        }
    }
    for (place, advertisement) in set.advertisements.iter().enumerate() {
        let object = (BGP_ADVERTISEMENT, &*advertisement.name);
        if let Some((pool, range)) = reach.ipv6(set, place) {
            let what = format!("{range} of {POOL} {pool:?} is IPv6");
            refuse(object, "spec.ipAddressPools", &what);
        }
        for community in &advertisement.communities {
            match community {
                CommunityName::Value(value) if large(value) => {
                    refuse(object, "spec.communities", &format!("{value} is a large community"));
                }
                // That of an alias is a fault of the object that gives it.
                CommunityName::Value(_) | CommunityName::Alias(_) => {}
            }
        }
    }
}

/// Only frr-k8s makes the path of a route longer.
pub(crate) fn judge_prepends(set: &Set<'_>, mode: Mode, faults: &mut Faults<'_>) {
    for advertisement in set.advertisements.iter().filter(|one| one.as_path_prepend > 0) {
        let message = format!(
            "it repeats the autonomous system, which the mode {mode} cannot do; take it out, or use the mode frr-k8s"
        );
        let object = (BGP_ADVERTISEMENT, &*advertisement.name);
        faults.permanent(object, "spec.asPathPrepend", Reason::Unsupported, message);
    }
}

const fn large(community: &Community) -> bool {
    match community {
        Community::Large(_, _, _) => true,
        Community::Standard(_, _) => false,
    }
}

/// The fields of a peer that go beyond the mode, and what each sets.
fn beyond(peer: &BgpPeer) -> Vec<(&'static str, &'static str)> {
    let dynamic = match peer.remote {
        RemoteAs::Number(_) => false,
        RemoteAs::Internal | RemoteAs::External => true,
    };
    let unnumbered = match peer.endpoint {
        PeerEndpoint::Address(_) => false,
        PeerEndpoint::Interface(_) => true,
    };
    let rows = [
        (dynamic, "spec.dynamicASN", "it leaves the autonomous system to the router"),
        (peer.local_asn.is_some(), "spec.localASN", "it shows another autonomous system to this router"),
        (unnumbered, "spec.interface", "it finds the router by an interface"),
        (peer.keepalive_given, "spec.keepaliveTime", "it sets a keepalive time"),
        (peer.connect_time.is_some(), "spec.connectTime", "it sets the time between two attempts"),
        (peer.bfd_profile.is_some(), "spec.bfdProfile", "it uses BFD"),
        (peer.graceful_restart, "spec.enableGracefulRestart", "it uses graceful restart"),
        (!peer.vrf.is_empty(), "spec.vrf", "it is in a VRF"),
        (peer.disable_mp, "spec.disableMP", "it turns multiprotocol BGP off"),
        (peer.dual_stack, "spec.dualStackAddressFamily", "it carries both families"),
    ];
    rows.into_iter().filter(|(set, _, _)| *set).map(|(_, field, what)| (field, what)).collect()
}
