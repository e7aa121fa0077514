use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{AddressRange, Labels, Reason, Selector, ServiceKey};

/// An `IPAddressPool` whose every field has been parsed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `metadata.labels`, which advertisements select by.
    pub labels: Labels,
    /// `spec.addresses` in listed order, which is the order of allocation. Entries of one pool do not overlap.
    pub ranges: Vec<AddressRange>,
    /// `spec.autoAssign`: use it for Services that ask for no pool and no address.
    pub auto_assign: bool,
    /// `spec.avoidBuggyIPs`: never hand out an IPv4 address that ends in 0 or 255.
    pub avoid_buggy_ips: bool,
    /// `spec.serviceAllocation`: whom it is for; `None` means everybody.
    pub allocation: Option<ServiceAllocation>,
    /// What MetalLB's pools do not have; see [`PoolRules`].
    #[serde(default)]
    pub rules: PoolRules,
}

/// Limits on what is handed out of a pool, from annotations of the `IPAddressPool`. An address that a Service has
/// already stays with it, whatever they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolRules {
    /// `landfall.dev/exclude`: never handed out. They do not overlap, and need not lie in the pool.
    pub exclude: Vec<AddressRange>,
    /// `landfall.dev/reserve`: handed out to this Service only, whether it exists or not. Each lies in the pool.
    pub reserved: BTreeMap<IpAddr, ServiceKey>,
    /// `landfall.dev/quota-per-namespace`: how many addresses the Services of one namespace may have.
    pub quota: Option<u32>,
    /// `landfall.dev/quarantine`: how long an address that was given back waits before another Service gets it.
    pub quarantine: Option<Duration>,
}

/// `IPAddressPool.spec.serviceAllocation`: pins a pool to some Services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceAllocation {
    /// `priority`: lower positive numbers first, 0 after all of them.
    pub priority: i32,
    /// `namespaces`.
    pub namespaces: BTreeSet<Box<str>>,
    /// `namespaceSelectors`; union with `namespaces`. Non-empty selectors that match nothing admit nobody.
    pub namespace_selectors: Vec<Selector>,
    /// `serviceSelectors`, any of which must match where there is one.
    pub service_selectors: Vec<Selector>,
}

impl Pool {
    /// Whether a Service with these labels, in a namespace of this name and these labels, may use the pool.
    #[must_use]
    pub fn admits(&self, namespace: &str, namespace_labels: &Labels, service_labels: &Labels) -> bool {
        self.refusal(namespace, namespace_labels, service_labels).is_none()
    }

    /// Why such a Service may not use the pool: [`Reason::NamespaceNotAllowed`] or [`Reason::ServiceNotSelected`].
    #[must_use]
    pub fn refusal(
        &self,
        namespace: &str,
        namespace_labels: &Labels,
        service_labels: &Labels,
    ) -> Option<Reason> {
        let allocation = self.allocation.as_ref()?;
        let open = allocation.namespaces.is_empty() && allocation.namespace_selectors.is_empty();
        let namespace_fits = open
            || allocation.namespaces.contains(namespace)
            || allocation.namespace_selectors.iter().any(|selector| selector.matches(namespace_labels));
        let service_fits = allocation.service_selectors.is_empty()
            || allocation.service_selectors.iter().any(|selector| selector.matches(service_labels));
        match (namespace_fits, service_fits) {
            (false, _) => Some(Reason::NamespaceNotAllowed),
            (true, false) => Some(Reason::ServiceNotSelected),
            (true, true) => None,
        }
    }
}
