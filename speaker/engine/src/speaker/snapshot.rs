use std::{collections::BTreeMap, net::IpAddr};

use landfall_model::{Reason, ServiceKey};

use super::Speaker;
use crate::membership::{Epoch, MemberState};

/// What a speaker knows at one moment, for metrics and `landfall status`. Making one costs all Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// It knows enough to decide. Before, it owns nothing, and its reasons mean nothing.
    pub ready: bool,
    /// Every address that has an owner.
    pub owners: BTreeMap<IpAddr, OwnerView>,
    /// The other members, by node.
    pub members: BTreeMap<Box<str>, MemberView>,
    /// Every handled Service, with the reason why this node announces it or does not.
    pub services: BTreeMap<ServiceKey, Reason>,
}

/// Who owns an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerView {
    /// The node.
    pub node: Box<str>,
    /// The epoch of its claim.
    pub epoch: Epoch,
    /// It is this node, and it answers.
    pub answering: bool,
}

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its state.
    pub state: MemberState,
    /// Its software's version, once known.
    pub version: Option<Box<str>>,
    /// It can forward in mode `node-port`.
    pub node_port: bool,
}

impl Speaker {
    /// What this speaker knows now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let addresses = self.cluster.groups().iter().flat_map(|(_, group)| &group.addresses);
        let owner = |address: &IpAddr| {
            let (node, epoch) = self.ownership.holder(*address)?;
            let answering = self.responder.is_listening(*address);
            Some((*address, OwnerView { node: node.into(), epoch, answering }))
        };
        let members = self.membership.members().map(|member| {
            let view = MemberView {
                state: member.state,
                version: member.profile.map(|profile| profile.version.clone()),
                node_port: member.profile.is_some_and(|profile| profile.node_port),
            };
            (member.node.into(), view)
        });
        let services = self.cluster.services();
        Snapshot {
            ready: self.ready,
            owners: addresses.filter_map(owner).collect(),
            members: members.collect(),
            services: services.map(|view| (view.key.clone(), self.reason(&view.key))).collect(),
        }
    }

    /// The addresses of a handled Service that lie in our pools, in the order of its status.
    pub fn addresses(&self, service: &ServiceKey) -> impl Iterator<Item = IpAddr> + '_ {
        self.cluster.addresses(service)
    }

    /// Why this node announces a handled Service ([`Reason::Owner`]), or does not.
    #[must_use]
    pub fn reason(&self, service: &ServiceKey) -> Reason {
        let Some(view) = self.cluster.service(service) else { return Reason::NoAddress };
        let Some(address) = self.cluster.addresses(service).next() else {
            let has_address = view.addresses().next().is_some();
            return if has_address { Reason::AddressNotInPools } else { Reason::NoAddress };
        };
        let appraisal = self.cluster.groups().of(address).and_then(|id| self.cluster.appraise(id));
        let Some(appraisal) = appraisal else { return Reason::NoCandidates };
        let owner = self.ownership.holder(address).map(|(node, _)| node);
        match (appraisal.reason(service, &self.node), owner) {
            (Some(reason), _) => reason,
            (None, Some(owner)) if *owner == *self.node => {
                let contested =
                    || self.cluster.addresses(service).any(|its| self.responder.rival(its).is_some());
                let conflict = || contested().then_some(Reason::AddressConflict);
                self.forwarder.refusal(address, service).or_else(conflict).unwrap_or(Reason::Owner)
            }
            (None, Some(_)) => Reason::NotOwner,
            (None, None) => Reason::NoCandidates,
        }
    }

    /// Why each node may not announce a Service; `None` where it may. By node, for `landfall explain`.
    #[must_use]
    pub fn reasons(&self, service: &ServiceKey) -> BTreeMap<Box<str>, Option<Reason>> {
        let id = self.cluster.addresses(service).next().and_then(|address| self.cluster.groups().of(address));
        let Some(appraisal) = id.and_then(|id| self.cluster.appraise(id)) else { return BTreeMap::new() };
        let nodes = self.cluster.nodes();
        nodes.map(|node| (node.name.clone(), appraisal.reason(service, &node.name))).collect()
    }
}
