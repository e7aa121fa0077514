use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Labels, Pool, Selector};

/// An `L2Advertisement` whose every field has been parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct L2Advertisement {
    /// `metadata.name`.
    pub name: Box<str>,
    /// `spec.ipAddressPools`; names that do not exist have no effect.
    pub pools: BTreeSet<Box<str>>,
    /// `spec.ipAddressPoolSelectors`; union with `pools`, both empty means every pool.
    pub pool_selectors: Vec<Selector>,
    /// `spec.nodeSelectors`, any of which must match; empty means every node.
    pub node_selectors: Vec<Selector>,
    /// `spec.serviceSelectors`, any of which must match; empty means every Service.
    pub service_selectors: Vec<Selector>,
    /// `spec.interfaces`, exact names; empty means every interface.
    pub interfaces: BTreeSet<Box<str>>,
    /// `spec.preferredNodeSelectors`.
    pub preferences: Vec<NodePreference>,
}

/// One entry of `preferredNodeSelectors`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodePreference {
    /// 1 to 100; the weights of all that match a node are added up.
    pub weight: u32,
    /// Which nodes it is for.
    pub nodes: Selector,
}

impl L2Advertisement {
    /// Whether it advertises addresses of `pool`.
    #[must_use]
    pub fn selects_pool(&self, pool: &Pool) -> bool {
        selects_pool(&self.pools, &self.pool_selectors, pool)
    }

    /// Whether a node with these labels may announce for it.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.node_selectors, labels)
    }

    /// Whether it is for a Service with these labels.
    #[must_use]
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_empty(&self.service_selectors, labels)
    }
}

/// Names and selectors of an advertisement: their union, or every pool where both are empty.
pub(crate) fn selects_pool(names: &BTreeSet<Box<str>>, selectors: &[Selector], pool: &Pool) -> bool {
    (names.is_empty() && selectors.is_empty())
        || names.contains(&pool.name)
        || selectors.iter().any(|selector| selector.matches(&pool.labels))
}

pub(crate) fn any_or_empty(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
}
