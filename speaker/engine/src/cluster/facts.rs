use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{
    EndpointSlice, Ingress, IpMode, L2Advertisement, NodeView, Reason, ServiceView, TrafficPolicy,
};

use super::{Cluster, Member, Tracked, Verdict};
use crate::{
    links::{Allowed, LinkChoice, Usable, usable},
    membership::MemberState,
};

/// Where a Service has endpoints that answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) anywhere: bool,
    /// Endpoints without a `nodeName` are on no node.
    pub(crate) nodes: BTreeSet<Box<str>>,
    /// Those of them whose endpoints all terminate: they answer still, and soon no more.
    pub(crate) draining: BTreeSet<Box<str>>,
}

impl Serving {
    pub(crate) fn of<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> Self {
        let mut serving = Self::default();
        let mut staying = BTreeSet::new();
        for endpoint in slices.flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.answers()) {
            serving.anywhere = true;
            serving.nodes.extend(endpoint.node.clone());
            if endpoint.ready {
                staying.extend(endpoint.node.clone());
            }
        }
        serving.draining = serving.nodes.difference(&staying).cloned().collect();
        serving
    }
}

/// How good an owner a node would be, the best first. Where all nodes are alike, as in most clusters, everything
/// before the preference is equal and the order is MetalLB's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Merit {
    /// It was lost, and must be heard for longer before it counts again: it serves only where no other can.
    pub unsettled: bool,
    /// Addresses of the group that the node could not announce.
    pub missing: usize,
    /// It is not Ready, though its speaker is alive.
    pub not_ready: bool,
    /// Policy Local, and its endpoints of a Service all terminate.
    pub draining: bool,
    /// It had an address of the group, and nobody heard its answers.
    pub given_up: bool,
    /// The worst way in which an interface was found; `None` when there is nothing to announce.
    pub choice: Option<LinkChoice>,
    /// An annotation names the node.
    pub preferred: Reverse<bool>,
    /// The sum of the weights of all matching `preferredNodeSelectors`.
    pub preference: Reverse<u32>,
}

impl Merit {
    /// Whether no node can outclass it: each address is announced on an interface with a connected subnet that contains it,
    /// its endpoints stay, and it was not found silent.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        self.choice <= Some(LinkChoice::Subnet) && !self.draining && !self.given_up
    }

    /// Whether a node of this merit reaches the addresses by a better kind of link, or by endpoints that stay, or has not given
    /// them up, and is nowhere worse: reason enough to take them from a node of the merit `other`, whose answers nobody may be
    /// able to use, or soon nobody. The best of several nodes is never outclassed, so this comes to an end.
    #[must_use]
    pub fn outclasses(self, other: Self) -> bool {
        let better = self.choice < other.choice
            || (!self.draining && other.draining)
            || (!self.given_up && other.given_up);
        better && self.serves_as_well_as(other)
    }

    /// Whether clients lose nothing when a node of this merit takes over from one of the merit `other`.
    #[must_use]
    pub fn serves_as_well_as(self, other: Self) -> bool {
        self.unsettled <= other.unsettled
            && self.missing <= other.missing
            && self.not_ready <= other.not_ready
            && self.draining <= other.draining
            && self.given_up <= other.given_up
            && self.choice <= other.choice
    }

    /// Of a node that serves two Services: it is as bad as the worse, and the preference is the first one's.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            unsettled: self.unsettled || other.unsettled,
            missing: self.missing + other.missing,
            not_ready: self.not_ready || other.not_ready,
            draining: self.draining || other.draining,
            given_up: self.given_up || other.given_up,
            choice: self.choice.max(other.choice),
            preferred: self.preferred,
            preference: self.preference,
        }
    }
}

/// What is the same on every node about a Service.
#[derive(Debug)]
pub(super) struct ServiceFacts<'a> {
    pub(super) view: &'a ServiceView,
    /// Its addresses, each with the advertisements that are for it. Those without any are left out.
    advertised: Vec<(IpAddr, Vec<&'a L2Advertisement>)>,
    /// Why no node may announce it.
    pub(super) obstacle: Option<Reason>,
    /// With policy Local: where the endpoints are.
    local: Option<&'a Serving>,
    node_port: bool,
}

impl<'a> ServiceFacts<'a> {
    pub(super) fn new(cluster: &'a Cluster, tracked: &'a Tracked) -> Self {
        let view = &*tracked.view;
        let mut advertised = Vec::new();
        for (address, pool) in &tracked.addresses {
            let for_it = cluster.catalog.advertisements(pool);
            let for_it: Vec<_> = for_it.filter(|wanted| wanted.selects_service(&view.labels)).collect();
            if !for_it.is_empty() {
                advertised.push((*address, for_it));
            }
        }
        let serving = cluster.serving.get(&view.key);
        let shares = view.requests.sharing_key.is_some();
        let by_labels = |(_, list): &(_, Vec<&L2Advertisement>)| {
            list.iter().any(|advertisement| !advertisement.service_selectors.is_empty())
        };
        let obstacle = if advertised.is_empty() {
            Some(Reason::NoMatchingAdvertisement)
        } else if shares && advertised.iter().any(by_labels) {
            Some(Reason::SharedAddressWithServiceSelector)
        } else if serving.is_none() {
            Some(Reason::NoEndpoints)
        } else {
            None
        };
        let local = match view.traffic_policy {
            TrafficPolicy::Cluster => None,
            TrafficPolicy::Local => serving,
        };
        let node_port = view.ingress.iter().any(is_node_port);
        Self { view, advertised, obstacle, local, node_port }
    }

    /// Whether the node may announce the Service. The order of the checks is the order in which reasons are told.
    pub(super) fn verdict(&self, cluster: &Cluster, name: &str) -> Verdict {
        let member = match living(cluster, name) {
            Ok(member) => member,
            Err(reason) => return Verdict::No(reason),
        };
        let node = match willing(cluster, name, member) {
            Ok(node) => node,
            Err(reason) => return Verdict::No(reason),
        };
        let selected: Vec<_> = self
            .advertised
            .iter()
            .map(|(address, list)| (*address, selecting(list, node)))
            .filter(|(_, list)| !list.is_empty())
            .collect();
        if selected.is_empty() && !self.advertised.is_empty() {
            return Verdict::No(Reason::NodeNotSelected);
        }
        if let Some(reason) = self.obstacle {
            return Verdict::No(reason);
        }
        if self.local.is_some_and(|serving| !serving.nodes.contains(name)) {
            return Verdict::No(Reason::NoLocalEndpoints);
        }
        let Some(links) = &member.links else {
            return Verdict::Keep(Reason::NoUsableLink);
        };
        let usable =
            selected.iter().filter_map(|(address, list)| usable(links, *address, &allowed(list)).ok());
        let usable: Vec<Usable> = usable.collect();
        if usable.is_empty() {
            return Verdict::No(Reason::NoUsableLink);
        }
        if self.node_port && !member.node_port {
            return Verdict::No(Reason::ForwardingUnavailable);
        }
        if !member.state.is_alive() {
            return Verdict::Keep(Reason::SpeakerNotAlive);
        }
        Verdict::Take(Merit {
            unsettled: !member.state.is_settled(),
            missing: self.advertised.len() - usable.len(),
            not_ready: !node.ready,
            draining: self.local.is_some_and(|serving| serving.draining.contains(name)),
            given_up: false,
            choice: usable.iter().map(|usable| usable.choice).max(),
            preferred: Reverse(false),
            preference: Reverse(preference(&self.advertised, node)),
        })
    }

    /// What an owner announces for this Service, and on which of its interfaces the advertisements permit it.
    pub(super) fn permitted(&self, node: &NodeView) -> BTreeMap<IpAddr, Allowed> {
        let selected = self.advertised.iter().map(|(address, list)| (*address, selecting(list, node)));
        selected
            .filter(|(_, list)| !list.is_empty())
            .map(|(address, list)| (address, allowed(&list)))
            .collect()
    }
}

/// Whether an address is forwarded in mode `node-port`: its status tells kube-proxy to leave it alone (KEP-1860).
pub(super) fn is_node_port(ingress: &Ingress) -> bool {
    match ingress {
        Ingress::Address { mode, .. } => *mode == IpMode::Proxy,
        Ingress::Other(_) | Ingress::Unreadable(_) => false,
    }
}

fn living<'a>(cluster: &'a Cluster, name: &str) -> Result<&'a Member, Reason> {
    let member = cluster.members.get(name);
    member.filter(|member| member.state.is_heard()).ok_or(Reason::SpeakerNotAlive)
}

/// A node that the API server does not know is on its way out: its object goes before its speaker does.
fn willing<'a>(cluster: &'a Cluster, name: &str, member: &Member) -> Result<&'a NodeView, Reason> {
    let node = cluster.nodes.get(name).ok_or(Reason::NodeLeaving)?;
    let leaving = (member.state == MemberState::Leaving).then_some(Reason::NodeLeaving);
    node.refusal(cluster.settings.ignore_exclude_lb).or(leaving).map_or(Ok(node), Err)
}

fn selecting<'a>(list: &[&'a L2Advertisement], node: &NodeView) -> Vec<&'a L2Advertisement> {
    list.iter().copied().filter(|advertisement| advertisement.selects_node(&node.labels)).collect()
}

/// The union of the lists of interfaces; one advertisement without a list permits all.
fn allowed(list: &[&L2Advertisement]) -> Allowed {
    if list.iter().any(|advertisement| advertisement.interfaces.is_empty()) {
        return Allowed::All;
    }
    Allowed::Named(list.iter().flat_map(|advertisement| advertisement.interfaces.iter().cloned()).collect())
}

/// The weights of all preferences that match the node, over the advertisements that select it, each counted once.
fn preference(advertised: &[(IpAddr, Vec<&L2Advertisement>)], node: &NodeView) -> u32 {
    let mut lists: BTreeMap<&str, &L2Advertisement> = BTreeMap::new();
    for advertisement in advertised.iter().flat_map(|(_, list)| selecting(list, node)) {
        lists.insert(&advertisement.name, advertisement);
    }
    let preferences = lists.values().flat_map(|advertisement| &advertisement.preferences);
    let matching = preferences.filter(|preference| preference.nodes.matches(&node.labels));
    matching.fold(0, |sum, preference| sum.saturating_add(preference.weight))
}
