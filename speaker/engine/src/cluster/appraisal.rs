use std::{
    cell::OnceCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{Reason, ServiceKey};

use super::{
    Cluster, Group,
    facts::{Merit, ServiceFacts},
};
use crate::links::{Allowed, Usable, usable};

/// What a node may do with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may take the group, and keep it.
    Take(Merit),
    /// It may keep the group if it has it, and must not take it: it does not hear us, or did not tell its links yet.
    Keep(Reason),
    /// Neither.
    No(Reason),
}

impl Verdict {
    /// The merit of a node that may take the group.
    #[must_use]
    pub const fn merit(self) -> Option<Merit> {
        match self {
            Self::Take(merit) => Some(merit),
            Self::Keep(_) | Self::No(_) => None,
        }
    }

    /// Why the node may not take the group.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Take(_) => None,
            Self::Keep(reason) | Self::No(reason) => Some(reason),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Take(first), Self::Take(second)) => Self::Take(first.and(second)),
            (Self::No(reason), _) | (Self::Take(_) | Self::Keep(_), Self::No(reason)) => Self::No(reason),
            (Self::Keep(reason), Self::Take(_) | Self::Keep(_)) | (Self::Take(_), Self::Keep(reason)) => {
                Self::Keep(reason)
            }
        }
    }
}

/// Whose candidates count for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// Nodes that may announce every Service.
    All,
    /// There is no such node, so those of one Service: the oldest that has any. By its place in the list.
    Only(usize),
}

/// One group, seen with all that decides about its owner. Working it out costs the group's Services and their
/// advertisements; a question about one node costs the same again; the whole list of candidates costs all nodes.
#[derive(Debug)]
pub struct Appraisal<'a> {
    cluster: &'a Cluster,
    group: &'a Group,
    /// The Services that some node could announce, the oldest first. A Service without endpoints, for example, must
    /// not silence those that share its address.
    active: Vec<ServiceFacts<'a>>,
    obstacles: BTreeMap<&'a ServiceKey, Reason>,
    preference: Option<Preference<'a>>,
    basis: OnceCell<Basis>,
}

/// The node that an annotation names for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference<'a> {
    /// The Service with the annotation: the oldest of the group that has one.
    pub service: &'a ServiceKey,
    /// The node, if there is one of this name.
    pub node: &'a str,
}

impl<'a> Appraisal<'a> {
    pub(super) fn new(cluster: &'a Cluster, group: &'a Group) -> Self {
        let mut active = Vec::new();
        let mut obstacles = BTreeMap::new();
        let mut preference = None;
        for key in &group.services {
            let Some(tracked) = cluster.services.get(key) else { continue };
            let preferred = tracked.view.requests.preferred_node.as_ref();
            preference = preference.or(preferred.map(|one| Preference { service: key, node: &one.node }));
            let facts = ServiceFacts::new(cluster, tracked);
            match facts.obstacle {
                Some(reason) => {
                    obstacles.insert(key, reason);
                }
                None => active.push(facts),
            }
        }
        Self { cluster, group, active, obstacles, preference, basis: OnceCell::new() }
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &'a Group {
        self.group
    }

    /// Why no node at all may own the group: the reason of its oldest Service, when all Services have one.
    #[must_use]
    pub fn obstacle(&self) -> Option<Reason> {
        if !self.active.is_empty() {
            return None;
        }
        self.group.services.first().and_then(|oldest| self.obstacles.get(oldest)).copied()
    }

    /// The node that an annotation names.
    #[must_use]
    pub const fn preference(&self) -> Option<Preference<'a>> {
        self.preference
    }

    /// Why the node that an annotation names does not take the group from `holder`, where it does not.
    #[must_use]
    pub fn refusal(&self, preference: Preference<'_>, holder: &str) -> Option<Reason> {
        if !self.cluster.nodes.contains_key(preference.node) {
            return Some(Reason::UnknownNode);
        }
        match (self.verdict(preference.node), self.verdict(holder)) {
            (Verdict::Keep(reason) | Verdict::No(reason), _) => Some(reason),
            (Verdict::Take(Merit { unsettled: true, .. }), Verdict::Take(Merit { unsettled: false, .. })) => {
                Some(Reason::NodeUnsettled)
            }
            (Verdict::Take(merit), Verdict::Take(held)) => {
                (!merit.serves_as_well_as(held)).then_some(Reason::WorseThanOwner)
            }
            (Verdict::Take(_), Verdict::Keep(_) | Verdict::No(_)) => None,
        }
    }

    /// What `node` may do with the group.
    #[must_use]
    pub fn verdict(&self, node: &str) -> Verdict {
        match self.verdict_by_services(node) {
            Verdict::Take(merit) => {
                let preferred = self.preference.is_some_and(|preference| preference.node == node);
                let given_up = self.cluster.member(node).is_some_and(|member| {
                    self.group.addresses.iter().any(|address| member.given_up.contains(address))
                });
                Verdict::Take(Merit { preferred: Reverse(preferred), given_up, ..merit })
            }
            verdict @ (Verdict::Keep(_) | Verdict::No(_)) => verdict,
        }
    }

    fn verdict_by_services(&self, node: &str) -> Verdict {
        if let Some(reason) = self.obstacle() {
            return Verdict::No(reason);
        }
        match self.basis(node) {
            Basis::All => self.verdict_of_all(node),
            Basis::Only(place) => {
                let facts = self.active.get(place).expect("invariant: the basis is one of the Services");
                facts.verdict(self.cluster, node)
            }
        }
    }

    /// Every node that may take the group, by name, with its merit. Costs all members.
    pub fn candidates(&self) -> impl Iterator<Item = (&'a str, Merit)> + '_ {
        let members = self.cluster.members().filter(|_| self.obstacle().is_none());
        members.filter_map(|(node, _)| Some((node, self.verdict(node).merit()?)))
    }

    /// What `node` announces when it owns the group: each address with its interfaces.
    #[must_use]
    pub fn announcements(&self, node: &str) -> BTreeMap<IpAddr, Usable> {
        let links = self.cluster.members.get(node).and_then(|member| member.links.as_ref());
        let (Some(links), Some(view)) = (links, self.cluster.nodes.get(node)) else { return BTreeMap::new() };
        let mut permitted: BTreeMap<IpAddr, Allowed> = BTreeMap::new();
        for facts in self.active.iter().filter(|facts| may_keep(facts.verdict(self.cluster, node))) {
            for (address, allowed) in facts.permitted(view) {
                let union = match (permitted.remove(&address), allowed) {
                    (None, allowed) => allowed,
                    (Some(Allowed::Named(mut names)), Allowed::Named(more)) => {
                        names.extend(more);
                        Allowed::Named(names)
                    }
                    (Some(Allowed::All), _) | (Some(Allowed::Named(_)), Allowed::All) => Allowed::All,
                };
                permitted.insert(address, union);
            }
        }
        let found =
            permitted.into_iter().map(|(address, allowed)| (address, usable(links, address, &allowed)));
        found.filter_map(|(address, usable)| Some((address, usable.ok()?))).collect()
    }

    /// The interface names that the advertisements of a Service limit `node` to; empty means no limit.
    #[must_use]
    pub fn interface_limit(&self, service: &ServiceKey, node: &str) -> BTreeSet<Box<str>> {
        let facts = self.active.iter().find(|facts| facts.view.key == *service);
        let (Some(facts), Some(view)) = (facts, self.cluster.nodes.get(node)) else { return BTreeSet::new() };
        let mut limit = BTreeSet::new();
        for allowed in facts.permitted(view).into_values() {
            match allowed {
                Allowed::All => return BTreeSet::new(),
                Allowed::Named(names) => limit.extend(names),
            }
        }
        limit
    }

    /// Why `node` does not announce one Service of the group although it may own the group, or may not own it.
    /// `None` when it may announce it.
    #[must_use]
    pub fn reason(&self, service: &ServiceKey, node: &str) -> Option<Reason> {
        if let Some(reason) = self.obstacles.get(service) {
            return Some(*reason);
        }
        let facts = self.active.iter().find(|facts| facts.view.key == *service)?;
        if let Some(reason) = facts.verdict(self.cluster, node).reason() {
            return Some(match self.basis(node) {
                Basis::Only(place) if !self.is_place(place, service) && may_keep(self.verdict(node)) => {
                    Reason::NoCommonNode
                }
                Basis::Only(_) | Basis::All => reason,
            });
        }
        match self.verdict(node) {
            Verdict::Take(_) => None,
            Verdict::Keep(reason) => Some(reason),
            Verdict::No(reason) => match self.basis(node) {
                Basis::All => Some(reason),
                Basis::Only(_) => Some(Reason::NoCommonNode),
            },
        }
    }

    fn is_place(&self, place: usize, service: &ServiceKey) -> bool {
        self.active.get(place).is_some_and(|facts| facts.view.key == *service)
    }

    fn verdict_of_all(&self, node: &str) -> Verdict {
        let verdicts = self.active.iter().map(|facts| facts.verdict(self.cluster, node));
        verdicts.reduce(Verdict::and).expect("invariant: without an obstacle there is an active Service")
    }

    /// `first` is asked before all other nodes: mostly it is the owner and settles the question.
    fn basis(&self, first: &str) -> Basis {
        *self.basis.get_or_init(|| {
            let settled = |verdict: Verdict| verdict.merit().is_some_and(|merit| !merit.unsettled);
            if self.active.len() <= 1 || settled(self.verdict_of_all(first)) {
                return Basis::All;
            }
            // A node that comes and goes changes nothing for the others.
            let alive = |verdict: Verdict| verdict.merit().is_some();
            self.basis_among(settled).or_else(|| self.basis_among(alive)).unwrap_or(Basis::All)
        })
    }

    /// The basis if only these candidates counted; `None` when there is none.
    fn basis_among(&self, counts: impl Fn(Verdict) -> bool) -> Option<Basis> {
        let members = || self.cluster.members().map(|(node, _)| node);
        if members().any(|node| counts(self.verdict_of_all(node))) {
            return Some(Basis::All);
        }
        let takes =
            |facts: &ServiceFacts<'_>| members().any(|node| counts(facts.verdict(self.cluster, node)));
        self.active.iter().position(takes).map(Basis::Only)
    }
}

const fn may_keep(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Take(_) | Verdict::Keep(_) => true,
        Verdict::No(_) => false,
    }
}
