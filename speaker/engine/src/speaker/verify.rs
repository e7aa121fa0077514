//! How peers find out whether this node is heard for what it announces, and how this node does the same for them.

use std::net::IpAddr;

use ipnet::IpNet;
use landfall_model::Instant;

use super::{
    Speaker,
    kernel::{is_answer, question, sender_of, told},
    report::{NOT_CONFIRMED, warning},
};
use crate::{
    Command, IfIndex, Mac,
    links::LinkSummary,
    membership::Question,
    ownership::Rank,
    verification::{Step, Verified},
    wire::Frame,
};

/// So many members may be looked at for one batch of questions.
const BUDGET: usize = 2_000;
/// A batch has at most this many addresses.
const MOST: usize = 32;

impl Speaker {
    /// An address began or ceased to be announced.
    pub(super) fn watch_announcement(&mut self, address: IpAddr, now: Instant) {
        if self.responder.is_listening(address) {
            self.checks.begin(address, now);
        } else {
            self.checks.end(address);
        }
    }

    /// Asks and tells what is due.
    pub(super) fn verify(&mut self, now: Instant) {
        while let Some((address, way)) = self.looks.pop(now) {
            if let Some(frame) = question(address, way, None) {
                let bytes = frame.emit();
                self.commands.push_back(Command::SendFrame { interface: way.interface, bytes });
            }
        }
        let mut packets = self.looks.take_seen(now);
        let share = (BUDGET / self.cluster.member_count().max(1)).clamp(1, MOST);
        for (address, turn) in self.checks.take_due(share, now) {
            if !self.responder.is_listening(address) {
                self.checks.later(address, now);
                continue;
            }
            match self.witness(address, turn) {
                Some((peer, segment, host)) => {
                    self.checks.asked(address, &peer, host, now);
                    let questions = packets.entry(peer).or_default();
                    for address in [host, address] {
                        let question = Question::Look { address, segment };
                        if !questions.contains(&question) {
                            questions.push(question);
                        }
                    }
                }
                None => self.checks.unable(address),
            }
        }
        for address in self.checks.take_news() {
            self.look_at(address);
        }
        for (peer, questions) in packets {
            self.membership.tell(&peer, questions, now);
        }
        self.drain_membership(now);
    }

    /// A member asks us to look for addresses, or tells what it saw of ours.
    pub(super) fn hear_questions(&mut self, node: &str, mut questions: Vec<Question>, now: Instant) {
        // Whether it hears this node itself counts for all that follows.
        questions.sort_by_key(|question| self.wanted.contains_key(&question.address()));
        for question in questions {
            match question {
                Question::Look { address, segment } => {
                    if let Some(way) = self.links.way_on(segment, address) {
                        self.looks.begin(node, address, way, now);
                    }
                }
                Question::Seen { address, answers } => self.learn(node, address, &answers, now),
            }
        }
    }

    /// Says whether the frame answers a question that a member asked us to ask.
    pub(super) fn take_sight(&mut self, interface: IfIndex, frame: &Frame, now: Instant) -> bool {
        let Some(address) = told(frame) else { return false };
        let way = self.looks.way(address, interface);
        let answers = way.is_some_and(|way| is_answer(frame, way));
        if answers {
            self.looks.answer(address, sender_of(frame), now);
        }
        answers
    }

    fn learn(&mut self, peer: &str, address: IpAddr, answers: &[Mac], now: Instant) {
        if answers.is_empty() && self.flood.is_on(now) {
            self.checks.later(address, now);
            return;
        }
        // It is silent for a moment: what the peer did not hear is no fault.
        if !answers.is_empty() || self.responder.is_listening(address) || !self.wanted.contains_key(&address)
        {
            let links = self.links.summary();
            let ours = |mac| links.iter().any(|link| link.mac == Some(mac));
            match self.checks.seen(peer, address, answers, ours, now) {
                Step::Confirmed => {
                    if self.checks.regain(address) {
                        self.present(now);
                    }
                }
                Step::Announce => self.responder.reannounce(address, now),
                Step::StaysWrong(unheard) => {
                    let news =
                        if unheard { self.checks.give_up(address) } else { self.checks.regain(address) };
                    if news {
                        self.present(now);
                    }
                    self.tell_not_confirmed(address);
                }
                Step::Nothing => {}
            }
        }
    }

    /// The peer to ask this time, the segment to ask on, and the address of this node that it is to look for as well. First
    /// comes the node that would have the address if this one had not, and so on; then those that cannot have it.
    fn witness(&self, address: IpAddr, turn: usize) -> Option<(Box<str>, IpNet, IpAddr)> {
        let usable = self.wanted.get(&address)?;
        let appraisal = self.cluster.appraise(self.cluster.groups().of(address)?)?;
        let rank_address = appraisal.group().rank_address();
        let ours = || self.links.summary().iter().filter(|link| usable.interfaces.contains(&link.name));
        let mut peers: Vec<_> = self
            .cluster
            .members()
            .filter(|(node, member)| **node != *self.node && member.looks && member.state.is_alive())
            .filter_map(|(node, member)| {
                let theirs = member.links.iter().flatten();
                let pairs = theirs.flat_map(|theirs| ours().map(move |ours| (ours, theirs)));
                let segment = pairs.filter_map(|(ours, theirs)| shared(ours, theirs, address)).max()?;
                let merit = appraisal.verdict(node).merit();
                let rank = Rank::new(node, rank_address, merit.unwrap_or_default());
                Some((merit.is_none(), rank, segment.1))
            })
            .collect();
        peers.sort_unstable();
        let (_, rank, segment) = peers.get(turn % peers.len().max(1))?;
        let host = self.links.way_on(*segment, address)?.source;
        Some((rank.node().into(), *segment, host))
    }

    fn tell_not_confirmed(&mut self, address: IpAddr) {
        let Some((Verified::Wrong { by, answer, shared, .. }, _)) = self.checks.of(address) else { return };
        let Some(appraisal) = self.cluster.groups().of(address).and_then(|id| self.cluster.appraise(id))
        else {
            return;
        };
        let node = &self.node;
        let found = match answer {
            Some(mac) => format!("{mac} answers"),
            None => "nobody answers".to_owned(),
        };
        let own = appraisal.verdict(node).merit();
        let outclassed =
            own.is_some_and(|own| appraisal.candidates().any(|(_, other)| other.outclasses(own)));
        let follows = match (shared, outclassed) {
            (true, _) => format!(
                "as does node \"{node}\", which keeps it; give that host another address, or take this one out of the pool"
            ),
            (false, true) => format!("although node \"{node}\" announces it; another node takes it over"),
            (false, false) => format!(
                "although node \"{node}\" announces it, and no better node may have it; look at the switch port of \
                 \"{node}\", and at what filters ARP and neighbour discovery there"
            ),
        };
        let message = format!("node \"{by}\" asked for {address} on the segment: {found}, {follows}");
        for key in &appraisal.group().services {
            let Some(view) = self.cluster.service(key) else { continue };
            if self.cluster.addresses(key).any(|its| its == address) {
                self.commands.push_back(warning(view, NOT_CONFIRMED, message.clone()));
            }
        }
    }
}

/// The subnet by which two links are on one segment and the address can be asked for, if there is one; the greater the better.
fn shared(ours: &LinkSummary, theirs: &LinkSummary, address: IpAddr) -> Option<((bool, bool), IpNet)> {
    let able = match address {
        IpAddr::V4(_) => theirs.arp,
        IpAddr::V6(_) => theirs.ndp,
    };
    let common = ours.prefixes.iter().filter(|prefix| able && theirs.prefixes.contains(prefix));
    let worth = |prefix: &IpNet| (prefix.contains(&address), prefix.addr().is_ipv4() == address.is_ipv4());
    common.map(|prefix| (worth(prefix), *prefix)).max()
}
