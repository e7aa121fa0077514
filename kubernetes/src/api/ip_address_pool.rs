use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// The addresses of a pool and who may use them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    plural = "ipaddresspools",
    namespaced,
    status = "IPAddressPoolStatus",
    doc = "A set of addresses that may be given to Services of type LoadBalancer.",
    printcolumn(
        name = "Auto Assign",
        type_ = "boolean",
        json_path = ".spec.autoAssign",
        description = "Whether Services that ask for nothing get addresses from here"
    ),
    printcolumn(
        name = "Avoid Buggy IPs",
        type_ = "boolean",
        json_path = ".spec.avoidBuggyIPs",
        description = "Whether IPv4 addresses that end in 0 or 255 are left out"
    ),
    printcolumn(
        name = "Addresses",
        type_ = "string",
        json_path = ".spec.addresses",
        description = "The ranges of the pool"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// The ranges of the pool, each a CIDR prefix (`192.0.2.0/24`) or first and last address with a dash between
    /// (`192.0.2.10-192.0.2.20`). IPv4 and IPv6 may stand together. Addresses are handed out in the order of this
    /// list, the lowest of a range first. No two ranges, in this pool or another, may overlap.
    pub addresses: Vec<String>,
    /// Whether a Service that names neither a pool nor an address may get one from here. With `false` the pool
    /// serves only those that ask for it.
    #[serde(default = "yes", skip_serializing_if = "Option::is_none")]
    pub auto_assign: Option<bool>,
    /// Never hand out an IPv4 address whose last number is 0 or 255. Some old routers and clients take those for
    /// network or broadcast addresses.
    #[serde(default = "no", rename = "avoidBuggyIPs", skip_serializing_if = "Option::is_none")]
    pub avoid_buggy_ips: Option<bool>,
    /// Keeps the pool for some namespaces or Services. Without it the pool is open to every Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

/// Who may use a pool, and in which order pools are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Order among the pools that fit a Service: lower positive numbers come first, 0 comes after all of them.
    /// Pools of equal priority are tried by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Names of namespaces whose Services may use the pool, in addition to those that `namespaceSelectors` chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Chooses namespaces by their labels. One selector that fits is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selectors: Option<Vec<LabelSelector>>,
    /// Chooses Services by their labels. One selector that fits is enough. Where namespaces are limited too,
    /// both must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selectors: Option<Vec<LabelSelector>>,
}

/// How much of a pool is in use. The controller writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IPAddressPoolStatus {
    /// How many IPv4 addresses are assigned.
    #[serde(rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// How many IPv6 addresses are assigned.
    #[serde(rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// How many IPv4 addresses are free.
    #[serde(rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// How many IPv6 addresses are free; the largest number that fits where there are more.
    #[serde(rename = "availableIPv6")]
    pub available_ipv6: i64,
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
const fn yes() -> Option<bool> {
    Some(true)
}

#[expect(clippy::unnecessary_wraps, reason = "the default of an optional field")]
const fn no() -> Option<bool> {
    Some(false)
}
