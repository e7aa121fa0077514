use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use landfall_model::{Instant, Reason, ServiceKey, ServiceView};

use crate::{
    Announced, Command,
    cluster::{Appraisal, Cluster, GroupId, Merit, Verdict},
    links::{Links, Usable},
    ownership::{Ownership, Rank},
    responder::Responder,
    verification::{Checks, Verified},
};

/// A node began to announce the Service. Spelled as MetalLB's users know it, like the next one.
const NODE_ASSIGNED: &str = "nodeAssigned";
/// The node that should announce the Service cannot.
const ANNOUNCE_FAILED: &str = "announceFailed";
/// The node that a Service asks for does not take it over yet; the message says why.
pub const MOVE_WAITS: &str = "moveWaits";
/// A peer asked for an address on the wire, and the node that announces it did not answer, or another host did too; the
/// message says what follows.
pub const NOT_CONFIRMED: &str = "announcementNotConfirmed";
/// A host that is no node has an address of the Service, or claims it; the message says which.
pub const ADDRESS_CONFLICT: &str = "addressConflict";

/// What the API server is told, on change only: which Services this node announces, and why it cannot.
#[derive(Debug)]
pub(super) struct Reports {
    node: Box<str>,
    /// What was told of each Service that this node announces.
    told: BTreeMap<ServiceKey, Announced>,
    /// Missing interfaces that were complained about, by Service.
    complaints: BTreeMap<ServiceKey, BTreeSet<Box<str>>>,
    /// Moves that were said to wait, by the Service that asks for one: for which node, and why.
    waiting: BTreeMap<ServiceKey, (Box<str>, Reason)>,
    departed: BTreeSet<ServiceKey>,
    groups: BTreeSet<GroupId>,
}

/// What is known of each address that this node announces.
pub(super) struct Known<'a> {
    /// Its interfaces.
    pub(super) wanted: &'a BTreeMap<IpAddr, Usable>,
    pub(super) checks: &'a Checks,
    /// When the node that had it and died was last heard.
    pub(super) losses: &'a BTreeMap<IpAddr, Instant>,
}

impl Known<'_> {
    /// The worst of these addresses, and the longest gap.
    fn of(&self, addresses: impl Iterator<Item = IpAddr>) -> (Verified, Option<Duration>) {
        let (mut verified, mut gap) = (None, None);
        for address in addresses {
            let Some((its, began)) = self.checks.of(address) else { continue };
            verified = verified.max(Some(its));
            gap = gap.max(self.losses.get(&address).map(|lost| began.since(*lost)));
        }
        (verified.cloned().unwrap_or_default(), gap)
    }
}

impl Reports {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.into(),
            told: BTreeMap::new(),
            complaints: BTreeMap::new(),
            waiting: BTreeMap::new(),
            departed: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    /// A Service has no address any more.
    pub(super) fn depart(&mut self, service: ServiceKey) {
        self.departed.insert(service);
    }

    /// Something changed in this group.
    pub(super) fn look_at(&mut self, group: GroupId) {
        self.groups.insert(group);
    }

    /// Says what changed since the last call.
    pub(super) fn drain(
        &mut self,
        cluster: &Cluster,
        links: &Links,
        ownership: &Ownership,
        responder: &Responder,
        known: &Known<'_>,
        commands: &mut VecDeque<Command>,
    ) {
        for service in std::mem::take(&mut self.departed) {
            if cluster.addresses(&service).next().is_none() {
                self.withdraw(service, commands);
            }
        }
        for id in std::mem::take(&mut self.groups) {
            let Some(appraisal) = cluster.appraise(id) else { continue };
            let listening = |address: &IpAddr| responder.is_listening(*address);
            if appraisal.group().addresses.iter().any(listening) {
                self.announcing(cluster, &appraisal, responder, known, commands);
                self.explain_waiting(cluster, ownership, &appraisal, commands);
                continue;
            }
            for service in &appraisal.group().services {
                if self.told.remove(service).is_some() {
                    commands.push_back(Command::Status { service: service.clone(), announced: None });
                }
            }
            if ownership.holder(appraisal.group().rank_address()).is_none() {
                self.complain(cluster, links, &appraisal, commands);
            }
        }
    }

    fn withdraw(&mut self, service: ServiceKey, commands: &mut VecDeque<Command>) {
        self.complaints.remove(&service);
        self.waiting.remove(&service);
        if self.told.remove(&service).is_some() {
            commands.push_back(Command::Status { service, announced: None });
        }
    }

    fn announcing(
        &mut self,
        cluster: &Cluster,
        appraisal: &Appraisal<'_>,
        responder: &Responder,
        known: &Known<'_>,
        commands: &mut VecDeque<Command>,
    ) {
        for key in &appraisal.group().services {
            let Some(view) = cluster.service(key) else { continue };
            let listening = cluster.addresses(key).filter(|address| responder.is_listening(*address));
            let links: BTreeSet<Usable> =
                listening.filter_map(|address| known.wanted.get(&address)).cloned().collect();
            let here = !links.is_empty();
            // While a successor takes over, this node may not announce it any more and still does.
            let served = match appraisal.reason(key, &self.node) {
                None => here,
                Some(_) => here && self.told.contains_key(key),
            };
            if !served {
                self.withdraw(key.clone(), commands);
                continue;
            }
            self.complaints.remove(key);
            let (verified, gap) = known.of(cluster.addresses(key));
            let interfaces = appraisal.interface_limit(key, &self.node);
            let announced = Announced { interfaces, links, verified, gap };
            let before = self.told.insert(key.clone(), announced.clone());
            if before.is_none() {
                commands.push_back(Command::Event {
                    service: key.clone(),
                    uid: view.uid.clone(),
                    warning: false,
                    reason: NODE_ASSIGNED,
                    message: format!("announcing from node \"{}\" with protocol \"layer2\"", self.node),
                });
            }
            if before.as_ref() != Some(&announced) {
                commands.push_back(Command::Status { service: key.clone(), announced: Some(announced) });
            }
        }
    }

    /// A person asked for another node, and that one does not take it: who has it says why.
    fn explain_waiting(
        &mut self,
        cluster: &Cluster,
        ownership: &Ownership,
        appraisal: &Appraisal<'_>,
        commands: &mut VecDeque<Command>,
    ) {
        let Some(preference) = appraisal.preference() else { return };
        let refusal = ownership.requested(appraisal).and_then(|_| appraisal.refusal(preference, &self.node));
        let Some(reason) = refusal else {
            self.waiting.remove(preference.service);
            return;
        };
        let Some(view) = cluster.service(preference.service) else { return };
        let said = (preference.node.into(), reason);
        if self.waiting.insert(preference.service.clone(), said.clone()) == Some(said) {
            return;
        }
        let message = format!(
            "node \"{}\", which the annotation landfall.dev/preferred-node names, does not take over: {reason}; node \"{}\" \
             goes on. It moves when that changes; name another node, or remove the annotation",
            preference.node, self.node
        );
        commands.push_back(warning(view, MOVE_WAITS, message));
    }

    /// Nobody announces the group: if the interfaces that its advertisements name exist on no node, the one that would
    /// be its owner says so.
    fn complain(
        &mut self,
        cluster: &Cluster,
        links: &Links,
        appraisal: &Appraisal<'_>,
        commands: &mut VecDeque<Command>,
    ) {
        if appraisal.verdict(&self.node) != Verdict::No(Reason::NoUsableLink) {
            return;
        }
        for key in &appraisal.group().services {
            let Some(view) = cluster.service(key) else { continue };
            let names = appraisal.interface_limit(key, &self.node);
            if names.is_empty()
                || !links.resolve(&names).is_empty()
                || self.complaints.get(key) == Some(&names)
                || !self.is_first(cluster, appraisal)
            {
                continue;
            }
            let list: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
            let message = format!(
                "node \"{}\" has none of the interfaces that the L2Advertisements name: {}; name an interface \
                 that exists, or leave spec.interfaces empty",
                self.node,
                list.join(", ")
            );
            commands.push_back(warning(view, ANNOUNCE_FAILED, message));
            self.complaints.insert(key.clone(), names);
        }
    }

    fn is_first(&self, cluster: &Cluster, appraisal: &Appraisal<'_>) -> bool {
        let address = appraisal.group().rank_address();
        let without_link = cluster.members().map(|(node, _)| node);
        let without_link =
            without_link.filter(|node| appraisal.verdict(node) == Verdict::No(Reason::NoUsableLink));
        let first = without_link.map(|node| Rank::new(node, address, Merit::default())).min();
        first.is_some_and(|first| *first.node() == *self.node)
    }
}

/// Tells the people of a Service what somebody has to mend.
pub(super) fn warning(view: &ServiceView, reason: &'static str, message: String) -> Command {
    Command::Event { service: view.key.clone(), uid: view.uid.clone(), warning: true, reason, message }
}
