//! What was observed of the cluster, indexed so that a change costs what it touches, and which node may own which
//! group of addresses, with a typed reason where it may not.
//!
//! Three parts: [`Cluster`] takes observations in, [`Groups`] keeps addresses together that must not be split over
//! nodes, and [`Appraisal`] is the view of one group that ownership is decided by.
//!
//! The filters and their order follow MetalLB's layer 2 election, with links, leaving nodes and forwarding added.

mod appraisal;
mod catalog;
mod facts;
mod groups;
mod observe;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{AddressRange, Classes, EndpointSlice, NodeView, ServiceKey, ServiceView};

pub use appraisal::{Appraisal, Preference, Verdict};
pub use facts::Merit;
pub use groups::{Group, GroupId, Groups};

pub(crate) use self::facts::Serving;

use self::catalog::Catalog;
use crate::{links::LinkSummary, membership::MemberState};

/// Which Services and nodes count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Services that are handled.
    pub classes: Classes,
    /// Let nodes own addresses although they carry the exclude label.
    pub ignore_exclude_lb: bool,
}

/// What membership knows of a node's speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// How it stands.
    pub state: MemberState,
    /// Its links; `None` until it told them.
    pub links: Option<Vec<LinkSummary>>,
    /// It can forward in mode `node-port`.
    pub node_port: bool,
    /// It looks for addresses when a peer asks it to.
    pub looks: bool,
    /// The addresses that it gave up because nobody heard its answers.
    pub given_up: BTreeSet<IpAddr>,
}

impl Member {
    /// One that has not told anything of itself.
    #[must_use]
    pub const fn unread(state: MemberState) -> Self {
        Self { state, links: None, node_port: false, looks: false, given_up: BTreeSet::new() }
    }
}

/// What observations and members changed since the last call of [`Cluster::take_touched`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Groups whose Services, addresses, pools, advertisements or endpoints changed.
    pub groups: BTreeSet<GroupId>,
    /// Groups that are no more. Their addresses may live on in others.
    pub gone: BTreeSet<GroupId>,
    /// Addresses that no group has any more.
    pub orphans: BTreeSet<IpAddr>,
    /// Nodes that changed, as objects or as members.
    pub nodes: BTreeSet<Box<str>>,
    /// Services that are not handled any more, or have no address in a pool.
    pub departed: BTreeSet<ServiceKey>,
    /// The pools have other ranges than before.
    pub ranges: bool,
    /// Services whose annotation asks for another node than before, since the first lists were complete; `None` where it
    /// asks for none any more.
    pub moves: BTreeMap<ServiceKey, Option<Box<str>>>,
}

impl Touched {
    /// Whether nothing was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
            && self.gone.is_empty()
            && self.orphans.is_empty()
            && self.nodes.is_empty()
            && self.departed.is_empty()
            && self.moves.is_empty()
            && !self.ranges
    }
}

/// A Service that is handled here, with what was worked out about it.
#[derive(Clone, Debug)]
struct Tracked {
    view: Box<ServiceView>,
    /// Its status addresses that lie in a pool, with the pool's name; in their order, each once.
    addresses: Vec<(IpAddr, Box<str>)>,
}

/// The index.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    settings: Settings,
    services: BTreeMap<ServiceKey, Tracked>,
    /// Every status address of a handled Service, in a pool or not.
    by_address: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    catalog: Catalog,
    nodes: BTreeMap<Box<str>, Box<NodeView>>,
    members: BTreeMap<Box<str>, Member>,
    slices: BTreeMap<ServiceKey, Box<EndpointSlice>>,
    slices_of: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
    serving: BTreeMap<ServiceKey, Serving>,
    groups: Groups,
    touched: Touched,
    synced: bool,
}

impl Cluster {
    /// An empty index.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Which Services and nodes count.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the first list of every kind is complete. Decide nothing before.
    #[must_use]
    pub const fn synced(&self) -> bool {
        self.synced
    }

    /// What changed since the last call.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// A handled Service.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceView> {
        self.services.get(key).map(|tracked| &*tracked.view)
    }

    /// The handled Services, in order.
    pub fn services(&self) -> impl Iterator<Item = &ServiceView> {
        self.services.values().map(|tracked| &*tracked.view)
    }

    /// The addresses of a handled Service that lie in a pool, in the order of its status.
    pub fn addresses(&self, key: &ServiceKey) -> impl Iterator<Item = IpAddr> + '_ {
        self.services.get(key).into_iter().flat_map(|tracked| &tracked.addresses).map(|(address, _)| *address)
    }

    /// The ranges of all pools, in order. Whatever is announced lies in one of them.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> {
        self.catalog.ranges()
    }

    /// The EndpointSlices of a Service, in order of name.
    pub fn slices(&self, service: &ServiceKey) -> impl Iterator<Item = &EndpointSlice> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(name)).map(|slice| &**slice)
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.values().map(|node| &**node)
    }

    /// The members, by node.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(node, member)| (&**node, member))
    }

    /// How many members there are.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The member on a node.
    #[must_use]
    pub fn member(&self, node: &str) -> Option<&Member> {
        self.members.get(node)
    }

    /// The groups.
    #[must_use]
    pub const fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The view of one group that ownership is decided by.
    #[must_use]
    pub fn appraise(&self, id: GroupId) -> Option<Appraisal<'_>> {
        Some(Appraisal::new(self, self.groups.get(id)?))
    }
}
