use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// How to reach a router and what to agree on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    status = "BGPPeerStatus",
    doc = "A router that nodes hold a BGP session with.",
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
pub struct BGPPeerSpec {
    /// Number of the autonomous system of the nodes. 0 is reserved (RFC 7607).
    #[serde(rename = "myASN")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub my_asn: i64,
    /// Number of the router's autonomous system. Give either this or `dynamicASN`.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub peer_asn: Option<i64>,
    /// Takes the router's autonomous system from its own words instead of `peerASN`: `internal` accepts only that
    /// of the nodes, `external` any other.
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// The autonomous system that this router takes the nodes for, in place of `myASN`.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_i64))]
    pub local_asn: Option<i64>,
    /// Address of the router. Give either this or `interface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// Network interface of the nodes behind which the router is found by its link-local address, for a session
    /// without configured addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The nodes' own address for the session, where the kernel's choice does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// TCP port of the router.
    #[serde(default = "bgp_port", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384))]
    pub peer_port: Option<i32>,
    /// How long the session lives without a message of the other side: a duration such as `90s`, either 0 or at
    /// least three seconds (RFC 4271 §4.2). Both sides agree on the shorter one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// How often to say that one is still there: a duration, at most the hold time. Without it, a third of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// How long to wait between two attempts to connect: a duration of whole seconds, from `1s` to `65535s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "duration(self) >= duration('1s') && duration(self) < duration('65536s')",
            "message": "the connect time must lie between 1s and 65535s",
        },
        {
            "rule": "duration(self).getMilliseconds() % 1000 == 0",
            "message": "the connect time must be a whole number of seconds",
        },
    ]))]
    pub connect_time: Option<String>,
    /// The identifier that nodes give themselves in BGP, written as an IPv4 address. Without it, each node uses one
    /// of its own addresses.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Chooses the nodes that open the session. One selector that fits is enough; without any, every node does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// Password of the session (TCP MD5, RFC 2385), readable for everyone who may read this object. Better use
    /// `passwordSecret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The Secret that holds the password under the key `password`. It must have the type
    /// `kubernetes.io/basic-auth` and lie in the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// Name of the BFDProfile that watches the path to the router. Without it there is no BFD session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Whether other routers may lie between the nodes and this one. Only meant for a peer of another autonomous
    /// system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// Whether the router keeps forwarding to a node while its speaker restarts (RFC 4724). It cannot change once
    /// it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "enableGracefulRestart cannot change once it is set"}]))]
    pub enable_graceful_restart: Option<bool>,
    /// Name of the routing domain (VRF) of the node from which the router is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Old way to say that a session carries only the routes of its own address family. Deprecated: that is so
    /// unless `dualStackAddressFamily` is set.
    #[serde(default = "no", rename = "disableMP", skip_serializing_if = "Option::is_none")]
    pub disable_mp: Option<bool>,
    /// Whether one session carries both IPv4 and IPv6 routes.
    #[serde(default = "no", skip_serializing_if = "Option::is_none")]
    pub dual_stack_address_family: Option<bool>,
}

/// What a router's autonomous system must be when its number is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// The same as that of the nodes.
    Internal,
    /// Any but that of the nodes.
    External,
}

/// Names a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// Name of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Namespace of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Nothing is reported here yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BGPPeerStatus {}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
const fn bgp_port() -> Option<i32> {
    Some(179)
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
const fn no() -> Option<bool> {
    Some(false)
}
