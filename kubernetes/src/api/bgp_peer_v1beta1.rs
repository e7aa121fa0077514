use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BGPPeerStatus;

/// How to reach a router, in the words of the old version. It lacks much of `v1beta2`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPPeer",
    root = "BGPPeerV1Beta1",
    plural = "bgppeers",
    namespaced,
    status = "BGPPeerStatus",
    storage = false,
    deprecated = "metallb.io/v1beta1 BGPPeer is deprecated; use metallb.io/v1beta2",
    doc = "A router that nodes hold a BGP session with. This version is deprecated: write `v1beta2`.",
    printcolumn(
        name = "Address",
        type_ = "string",
        json_path = ".spec.peerAddress",
        description = "Address of the router"
    ),
    printcolumn(
        name = "ASN",
        type_ = "string",
        json_path = ".spec.peerASN",
        description = "Autonomous system of the router"
    ),
    printcolumn(
        name = "BFD Profile",
        type_ = "string",
        json_path = ".spec.bfdProfile",
        description = "How failures of the path are detected"
    ),
    printcolumn(
        name = "Multi Hops",
        type_ = "string",
        json_path = ".spec.ebgpMultiHop",
        description = "Whether other routers may lie between"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerV1Beta1Spec {
    /// Number of the autonomous system of the nodes. 0 is reserved (RFC 7607).
    #[serde(rename = "myASN")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub my_asn: i64,
    /// Number of the router's autonomous system.
    #[serde(rename = "peerASN")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub peer_asn: i64,
    /// Address of the router.
    pub peer_address: String,
    /// The nodes' own address for the session, where the kernel's choice does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// TCP port of the router. 0 stands for 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16384))]
    pub peer_port: Option<i32>,
    /// How long the session lives without a message of the other side: a duration such as `90s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// How often to say that one is still there: a duration, at most the hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// The identifier that nodes give themselves in BGP, written as an IPv4 address.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Chooses the nodes that open the session. One selector that fits is enough; without any, every node does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selectors: Option<Vec<NodeSelectorV1Beta1>>,
    /// Password of the session (TCP MD5, RFC 2385), readable for everyone who may read this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Name of the BFDProfile that watches the path to the router. Without it there is no BFD session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Whether other routers may lie between the nodes and this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
}

/// Chooses nodes by their labels. All parts must hold; an empty selector chooses every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSelectorV1Beta1 {
    /// Labels that must be present with exactly these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Tests on labels. Every one must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_expressions: Option<Vec<NodeSelectorRequirementV1Beta1>>,
}

/// One test on one label of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSelectorRequirementV1Beta1 {
    /// Key of the label.
    pub key: String,
    /// What is tested, such as `In` or `NotIn`.
    pub operator: String,
    /// Values to compare with. This version asks for one at least, whatever the operator.
    #[schemars(length(min = 1))]
    pub values: Vec<String>,
}
