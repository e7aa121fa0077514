use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// Which addresses are announced to BGP peers, in which form, from which nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    namespaced,
    status = "BGPAdvertisementStatus",
    doc = "Makes the addresses of pools known to routers by BGP.",
    printcolumn(
        name = "IPAddressPools",
        type_ = "string",
        json_path = ".spec.ipAddressPools",
        description = "Pools by name"
    ),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors",
        description = "Pools by label"
    ),
    printcolumn(
        name = "Peers",
        type_ = "string",
        json_path = ".spec.peers",
        description = "Peers that are told"
    ),
    printcolumn(
        name = "Node Selectors",
        type_ = "string",
        json_path = ".spec.nodeSelectors",
        description = "Nodes by label",
        priority = 10
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || (self.aggregationLength == 32 && self.aggregationLengthV6 == 128)",
    "message": "serviceSelectors need single addresses: leave aggregationLength at 32 and aggregationLengthV6 at 128",
}]))]
pub struct BGPAdvertisementSpec {
    /// Length of the IPv4 prefixes that are announced. With 32 each address is announced for itself; a shorter
    /// length joins neighbours into one route. It cannot be shorter than a range of the pool.
    #[serde(default = "single_ipv4", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub aggregation_length: Option<i32>,
    /// Length of the IPv6 prefixes that are announced. With 128 each address is announced for itself.
    #[serde(default = "single_ipv6", skip_serializing_if = "Option::is_none")]
    pub aggregation_length_v6: Option<i32>,
    /// The LOCAL_PREF of the routes: among several routes to one prefix, the highest number wins. Only peers of the
    /// same autonomous system hear of it. 0 stands for the router's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub local_pref: Option<i64>,
    /// How many times the own autonomous system is repeated in the path of the routes, so that other routers prefer
    /// shorter ones. Not repeated if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub as_path_prepend: Option<i32>,
    /// Communities that the routes carry: `65000:100`, `large:65000:1:2`, or a name from a Community object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<String>>,
    /// Names of the pools to announce. Pools that `ipAddressPoolSelectors` chooses are announced as well. When both
    /// fields are empty, every pool is announced. A name without a pool has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address_pools: Option<Vec<String>>,
    /// Chooses pools by their labels. One selector that fits is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_address_pool_selectors: Option<Vec<LabelSelector>>,
    /// Chooses the nodes that may be the next hop. One selector that fits is enough; without any, every node may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// Names of the peers that are told. When empty, every peer is. A name without a peer has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<String>>,
    /// Chooses Services by their labels. One selector that fits is enough; without any, all Services of the pools
    /// are announced. Routes that join several addresses cannot be limited so, hence both lengths must then be
    /// those of single addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selectors: Option<Vec<LabelSelector>>,
}

/// Nothing is reported here yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BGPAdvertisementStatus {}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
const fn single_ipv4() -> Option<i32> {
    Some(32)
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
const fn single_ipv6() -> Option<i32> {
    Some(128)
}
