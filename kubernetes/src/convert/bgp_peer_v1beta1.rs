use crate::api::{
    BGPPeer, BGPPeerSpec, BGPPeerV1Beta1, BGPPeerV1Beta1Spec, LabelSelector, LabelSelectorRequirement,
    NodeSelectorRequirementV1Beta1, NodeSelectorV1Beta1,
};

/// A `BGPPeer` of `v1beta1` in the words of `v1beta2`, with the defaults that the API server fills in there. Whether its
/// values make sense is for [`super::bgp_peer`] to say.
///
/// Timers that were left out stay left out, as when the API server reads a stored `v1beta1` as `v1beta2`:
/// docs/metallb-kinds.md.
#[must_use]
pub fn bgp_peer_from_v1beta1(object: &BGPPeerV1Beta1) -> BGPPeer {
    let old = &object.spec;
    let selectors = old.node_selectors.as_ref();
    BGPPeer {
        metadata: object.metadata.clone(),
        spec: BGPPeerSpec {
            my_asn: old.my_asn,
            peer_asn: Some(old.peer_asn),
            dynamic_asn: None,
            local_asn: None,
            peer_address: Some(old.peer_address.clone()),
            interface: None,
            source_address: old.source_address.clone(),
            peer_port: Some(old.peer_port.filter(|port| *port != 0).unwrap_or(179)),
            hold_time: old.hold_time.clone(),
            keepalive_time: old.keepalive_time.clone(),
            connect_time: None,
            router_id: old.router_id.clone(),
            node_selectors: selectors.map(|selectors| selectors.iter().map(selector).collect()),
            password: old.password.clone(),
            password_secret: None,
            bfd_profile: old.bfd_profile.clone(),
            ebgp_multi_hop: old.ebgp_multi_hop,
            enable_graceful_restart: None,
            vrf: None,
            disable_mp: Some(false),
            dual_stack_address_family: Some(false),
        },
        status: object.status,
    }
}

fn selector(old: &NodeSelectorV1Beta1) -> LabelSelector {
    let expressions = old.match_expressions.as_ref().map(|expressions| {
        let expressions = expressions.iter().map(|one| LabelSelectorRequirement {
            key: one.key.clone(),
            operator: one.operator.clone(),
            values: Some(one.values.clone()),
        });
        expressions.collect()
    });
    LabelSelector { match_labels: old.match_labels.clone(), match_expressions: expressions }
}

/// A `BGPPeer` of `v1beta2` in the words of `v1beta1`, as far as that has words for it: who reads a peer in the old
/// version and writes it back loses the rest, as with MetalLB. A peer by interface has an empty address there, and one
/// without a number the autonomous system 0.
#[must_use]
pub fn bgp_peer_to_v1beta1(object: &BGPPeer) -> BGPPeerV1Beta1 {
    let new = &object.spec;
    let selectors = new.node_selectors.as_ref();
    BGPPeerV1Beta1 {
        metadata: object.metadata.clone(),
        spec: BGPPeerV1Beta1Spec {
            my_asn: new.my_asn,
            peer_asn: new.peer_asn.unwrap_or(0),
            peer_address: new.peer_address.clone().unwrap_or_default(),
            source_address: new.source_address.clone(),
            peer_port: new.peer_port,
            hold_time: new.hold_time.clone(),
            keepalive_time: new.keepalive_time.clone(),
            router_id: new.router_id.clone(),
            node_selectors: selectors.map(|selectors| selectors.iter().map(old_selector).collect()),
            password: new.password.clone(),
            bfd_profile: new.bfd_profile.clone(),
            ebgp_multi_hop: new.ebgp_multi_hop,
        },
        status: object.status,
    }
}

fn old_selector(new: &LabelSelector) -> NodeSelectorV1Beta1 {
    let expressions = new.match_expressions.as_ref().map(|expressions| {
        let expressions = expressions.iter().map(|one| NodeSelectorRequirementV1Beta1 {
            key: one.key.clone(),
            operator: one.operator.clone(),
            values: one.values.clone().unwrap_or_default(),
        });
        expressions.collect()
    });
    NodeSelectorV1Beta1 { match_labels: new.match_labels.clone(), match_expressions: expressions }
}
