use std::{collections::BTreeSet, net::IpAddr};

use landfall_model::{Ingress, Instant, IpMode, ServiceKey};

use super::{
    Speaker,
    isolation::{Reach, Standing},
    report::Known,
};
use crate::{
    Command,
    cluster::{Appraisal, GroupId, Member},
    links::Usable,
    membership::{self, MemberState, Profile},
    ownership::{self, Role},
};

/// How many questions about one node and one group a step may cost at most, groups whose claims changed apart. One
/// takes 16 µs in an unoptimised build, so heartbeats are not late.
const BUDGET: usize = 10_000;

impl Speaker {
    /// Brings everything in line with what was taken in. Costs nothing when nothing changed.
    pub(super) fn step(&mut self, now: Instant) {
        self.update_peers(now);
        self.drain_membership(now);
        self.start_when_ready(now);
        self.find_standing(now);
        self.agree(now);
        self.take_touched(now);
        let lapsed = self.ownership.take_lapsed(now);
        self.hurry(&lapsed);
        if self.ready && self.isolation.decides() {
            self.evaluate(now);
        }
        let claims = self.ownership.take_changes();
        if !claims.is_empty() {
            self.membership.change_claims(&claims, now);
            self.drain_membership(now);
        }
        self.commands.extend(self.forwarder.step(&self.cluster, now));
        self.unmute(now);
        self.apply(now);
        self.drain_ownership(now);
        self.drain_responder(now);
        self.verify(now);
        // Silence after a stall is over in a moment, and nothing that anybody should be told.
        if self.mute_until.is_none() {
            self.report();
        }
        self.finish(now);
    }

    fn report(&mut self) {
        self.reports.drain(
            &self.cluster,
            &self.links,
            &self.ownership,
            &self.responder,
            &Known { wanted: &self.wanted, checks: &self.checks, losses: &self.takeovers.lost },
            &mut self.commands,
        );
    }

    pub(super) fn drain_responder(&mut self, now: Instant) {
        let news = self.meet_rivals(now);
        while let Some(command) = self.responder.next_command() {
            self.commands.push_back(command);
        }
        self.tell_takeovers(now);
        if news && self.mute_until.is_none() {
            self.report();
        }
    }

    fn update_peers(&mut self, now: Instant) {
        if self.speakers_changed && self.cluster.synced() {
            self.speakers_changed = false;
            self.membership.set_peers(self.peers(), now);
        }
    }

    pub(super) fn drain_membership(&mut self, now: Instant) {
        while let Some(event) = self.membership.next_event() {
            match event {
                membership::Event::Send { to, bytes } => {
                    self.commands.push_back(Command::SendDatagram { to, bytes });
                }
                membership::Event::Ask { node: _, addresses, known } => self.ask(&addresses, known),
                membership::Event::Failing { node } => self.prepare(&node, now),
                membership::Event::State { node, state } => self.set_state(&node, state, now),
                membership::Event::Profile { node, profile } => {
                    let state =
                        self.cluster.member(&node).map_or(MemberState::Unknown, |member| member.state);
                    let Profile { links, node_port, looks, given_up, assigned, version: _ } = profile;
                    if let Some(agreement) = &mut self.agreement {
                        agreement.hear(&node, assigned);
                    }
                    let member = Member { state, links: Some(links), node_port, looks, given_up };
                    self.cluster.set_member(&node, Some(member));
                    self.checks.revive(now);
                }
                membership::Event::Claims { node, changes } => {
                    let hears = self.cluster.member(&node).is_some_and(|member| member.state.is_alive());
                    self.ownership.set_claims(&node, &changes, hears, now);
                    self.hurry(changes.keys());
                }
                membership::Event::Restarted { node } => self.ownership.restarted(&node, now),
                membership::Event::Doubted(_) => self.present(now),
                membership::Event::Questions { node, questions } => {
                    self.hear_questions(&node, questions, now);
                }
                membership::Event::Settled => {}
                membership::Event::Stalled { .. } => {
                    self.ownership.stalled();
                    self.mute(now);
                }
            }
        }
    }

    fn set_state(&mut self, node: &str, state: MemberState, now: Instant) {
        let before = self.cluster.member(node).map_or(MemberState::Unknown, |member| member.state);
        self.forwarder.follow(node, before, state, now);
        if state == MemberState::Dead
            && before != MemberState::Leaving
            && let Some(heard) = self.membership.member(node).and_then(|member| member.heard)
        {
            self.commands.push_back(Command::Lost { node: node.into(), after: now.since(heard) });
        }
        if state == MemberState::Gone {
            if let Some(agreement) = &mut self.agreement {
                agreement.forget(node);
            }
            self.cluster.set_member(node, None);
            let addresses = self.ownership.forget_node(node);
            self.hurry(&addresses);
            return;
        }
        let known = self.cluster.member(node).cloned();
        let member = known.map_or_else(|| Member::unread(state), |known| Member { state, ..known });
        self.cluster.set_member(node, Some(member));
        if state.is_alive() {
            self.checks.revive(now);
        }
        let addresses = self.ownership.set_heard(node, state.is_heard());
        self.hurry(&addresses);
    }

    /// Claims of these addresses changed.
    pub(super) fn hurry<'a>(&mut self, addresses: impl IntoIterator<Item = &'a IpAddr>) {
        for address in addresses {
            match self.cluster.groups().of(*address) {
                Some(id) => {
                    self.urgent.insert(id);
                }
                None => self.ownership.forget_address(*address),
            }
        }
    }

    fn start_when_ready(&mut self, now: Instant) {
        if self.ready || !self.cluster.synced() || !self.membership.settled() {
            return;
        }
        self.ready = true;
        self.forwarder.start(now);
        self.present(now);
        self.drain_membership(now);
        self.dirty.extend(self.cluster.groups().iter().map(|(id, _)| id));
    }

    /// Standalone: tells what we have, takes over what others decided, and finds out whether we are the one to decide.
    fn agree(&mut self, now: Instant) {
        let Some(agreement) = &mut self.agreement else { return };
        let news = agreement.take_news();
        let doubted = self.membership.is_doubted();
        let before_us = |(name, member): (&str, &Member)| {
            member.state.is_alive() && (!member.state.is_settled(), name) < (doubted, &*self.node)
        };
        let may = self.ready && self.leaving.is_none() && self.isolation.decides();
        let first = may && !self.cluster.members().any(before_us);
        // Who is behind stops deciding before it takes over what it missed.
        self.commands.extend(agreement.take_lead(first).map(Command::Lead));
        if let Some(newer) = news {
            self.commands.extend(newer.into_iter().map(Command::Adopt));
            agreement.tell(now);
        }
        if agreement.take_due(now) {
            self.present(now);
            self.drain_membership(now);
        }
    }

    fn take_touched(&mut self, now: Instant) {
        let touched = self.cluster.take_touched();
        self.listens &= !touched.ranges;
        // Once for all pools of the first lists.
        if !self.listens && self.cluster.synced() {
            self.listens = true;
            self.commands.push_back(Command::Listen(self.cluster.ranges().collect()));
        }
        if touched.is_empty() {
            return;
        }
        for id in &touched.gone {
            self.ownership.forget_group(*id);
            self.dirty.remove(id);
            self.urgent.remove(id);
        }
        let mut forgotten = false;
        for address in touched.orphans {
            self.ownership.abandon(address);
            self.rivals.settle(address);
            self.takeovers.forget(address);
            forgotten |= self.checks.forget(address);
            self.set_wanted(address, None, BTreeSet::new(), now);
        }
        if forgotten {
            self.present(now);
        }
        for service in touched.departed {
            self.reports.depart(service);
        }
        for (service, node) in touched.moves {
            self.ownership.ask(service, node);
        }
        if !touched.nodes.is_empty() {
            self.forwarder.touch();
        }
        if self.ready {
            let concerned = touched.nodes.iter().flat_map(|node| self.ownership.concerned(node));
            self.dirty.extend(concerned);
            self.dirty.extend(touched.groups);
        }
    }

    /// All groups whose claims changed, those whose time has come, then others as far as the budget goes.
    fn evaluate(&mut self, now: Instant) {
        let mut groups = std::mem::take(&mut self.urgent);
        groups.extend(self.ownership.take_due(now));
        let share = (BUDGET / self.cluster.member_count().max(1)).max(1);
        groups.extend(std::iter::from_fn(|| self.dirty.pop_first()).take(share));
        for id in groups {
            self.dirty.remove(&id);
            self.evaluate_group(id, now);
        }
    }

    fn evaluate_group(&mut self, id: GroupId, now: Instant) {
        let Some(appraisal) = self.cluster.appraise(id) else { return };
        self.evaluations += 1;
        let role = self.ownership.evaluate(id, &appraisal, now);
        let mut changes = Vec::new();
        let mut announcements = match role {
            Role::Owner => appraisal.announcements(&self.node),
            Role::Yielding | Role::Bystander => std::collections::BTreeMap::new(),
        };
        for address in &appraisal.group().addresses {
            let owned = self.ownership.mine().contains_key(address);
            match (role, announcements.remove(address)) {
                (Role::Owner, Some(usable)) => {
                    changes.push((
                        *address,
                        Some(usable),
                        node_port_services(&self.cluster, &appraisal, *address),
                    ));
                }
                // It goes on answering as it did.
                (Role::Yielding, _) if owned => {}
                (Role::Owner | Role::Yielding | Role::Bystander, _) => {
                    changes.push((*address, None, BTreeSet::new()));
                }
            }
        }
        for (address, usable, services) in changes {
            self.set_wanted(address, usable, services, now);
        }
        self.reports.look_at(id);
    }

    fn set_wanted(
        &mut self,
        address: IpAddr,
        usable: Option<Usable>,
        services: BTreeSet<ServiceKey>,
        now: Instant,
    ) {
        let before = match usable {
            Some(usable) => {
                self.forwarder.set(address, Some(services), now);
                self.unapplied.insert(address);
                if self.wanted.insert(address, usable).is_none() {
                    self.rivals.begin(address, self.ownership.mine().get(&address).map(|claim| claim.epoch));
                    self.succeed(address, now);
                }
                return;
            }
            None => self.wanted.remove(&address),
        };
        if before.is_some() {
            // At once, so that nothing of it can leave between here and the end of the step.
            self.responder.withdraw(address);
            self.takeovers.stop_waiting(address);
            self.checks.end(address);
            self.forwarder.set(address, None, now);
        }
    }

    /// This process stood still, and others may have taken over what it owns.
    fn mute(&mut self, now: Instant) {
        if self.membership.members().next().is_none() {
            return;
        }
        self.mute_until = Some(now + self.interval * 2);
        for address in self.wanted.keys() {
            self.responder.withdraw(*address);
        }
    }

    /// Finds out whether this node is cut off, and asks its gateways where that helps.
    fn find_standing(&mut self, now: Instant) {
        let before = (self.isolation.decides(), self.isolation.is_cut_off());
        let read = self.isolation.is_returning() && self.membership.has_read_everyone();
        let (heard, members) = self.membership.reach();
        if let Some(standing) = self.isolation.judge(Reach { heard, members, read }, now) {
            let (decides, cut_off) = (self.isolation.decides(), self.isolation.is_cut_off());
            if decides != before.0 {
                self.unapplied.extend(self.wanted.keys());
            }
            if cut_off != before.1 {
                self.commands.push_back(Command::CutOff(cut_off));
            }
            if let Standing::CutOff(_) = standing {
                self.ownership.relinquish();
                self.dirty.extend(self.cluster.groups().iter().map(|(id, _)| id));
            }
        }
        self.ask_gateways(now);
    }

    fn unmute(&mut self, now: Instant) {
        if self.mute_until.is_some_and(|until| until <= now) {
            self.mute_until = None;
            self.unapplied.extend(self.wanted.keys());
        }
    }

    /// Brings the responder in line with what is wanted and can be forwarded.
    fn apply(&mut self, now: Instant) {
        self.unapplied.extend(self.takeovers.take_due(now));
        for address in std::mem::take(&mut self.unapplied) {
            if !self.ownership.is_contended(address) {
                self.takeovers.stop_waiting(address);
            }
            let mute = self.mute_until.is_some() || !self.isolation.decides();
            let ready = self.forwarder.is_ready(address) && !self.takeovers.waits_for_last_word(address);
            match self.wanted.get(&address).filter(|_| !mute) {
                Some(usable) => {
                    let interfaces = self.links.resolve(&usable.interfaces);
                    if ready {
                        self.place(address, interfaces, now);
                    } else {
                        self.responder.hold(address, interfaces, now);
                    }
                }
                None => self.responder.withdraw(address),
            }
            self.watch_announcement(address, now);
            self.look_at(address);
        }
    }

    pub(super) fn look_at(&mut self, address: IpAddr) {
        if let Some(id) = self.cluster.groups().of(address) {
            self.reports.look_at(id);
        }
    }

    fn drain_ownership(&mut self, now: Instant) {
        while let Some(event) = self.ownership.next_event() {
            match event {
                ownership::Event::Owner { address, from, to, reason } => {
                    if to.as_ref().is_some_and(|to| *to != self.node) {
                        self.rivals.settle(address);
                    }
                    self.note_owner(address, from.as_deref(), to.as_deref(), reason);
                    self.commands.push_back(Command::Ownership { address, from, to, reason });
                }
                ownership::Event::Defend(address) => self.responder.reannounce(address, now),
            }
        }
    }

    fn finish(&mut self, now: Instant) {
        let Some(end) = self.leaving else { return };
        let done = self.ownership.mine().is_empty() && (!self.ready || self.dirty.is_empty());
        if !done && now < end {
            return;
        }
        for address in std::mem::take(&mut self.wanted).into_keys() {
            self.responder.withdraw(address);
            self.look_at(address);
        }
        self.drain_responder(now);
        self.report();
        self.membership.set_claims(&std::collections::BTreeMap::new(), now);
        self.drain_membership(now);
        self.commands.push_back(Command::Finished);
        self.finished = true;
    }
}

/// The Services of a group that this address is forwarded for in mode `node-port`: their status tells kube-proxy to
/// leave it alone.
pub(super) fn node_port_services(
    cluster: &crate::cluster::Cluster,
    appraisal: &Appraisal<'_>,
    address: IpAddr,
) -> BTreeSet<ServiceKey> {
    let proxied = |ingress: &Ingress| match ingress {
        Ingress::Address { address: its, mode } => *its == address && *mode == IpMode::Proxy,
        Ingress::Other(_) | Ingress::Unreadable(_) => false,
    };
    let services = appraisal.group().services.iter();
    let wants = |key: &&ServiceKey| cluster.service(key).is_some_and(|view| view.ingress.iter().any(proxied));
    services.filter(wants).cloned().collect()
}
