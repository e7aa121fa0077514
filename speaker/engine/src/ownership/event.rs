use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use landfall_model::Reason;

use super::{Ownership, rank::precedes};
use crate::cluster::{Appraisal, Verdict};

/// What this node is to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It owns the group.
    Owner,
    /// It still answers for the group, until its successor does.
    Yielding,
    /// It has nothing to do with it.
    Bystander,
}

/// Something that others want to know. To be drained after each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The owner of an address changed.
    Owner {
        /// The address.
        address: IpAddr,
        /// The owner before.
        from: Option<Box<str>>,
        /// The owner now.
        to: Option<Box<str>>,
        /// Why: what became of the owner before, or [`Reason::Owner`] for a first one.
        reason: Reason,
    },
    /// Another node claimed an address of ours and lost, or gave up: those who listened to it must be told again.
    Defend(IpAddr),
}

/// The owners as they were told, and what is to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    owners: BTreeMap<IpAddr, Box<str>>,
    events: VecDeque<Event>,
}

impl Told {
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        self.owners.iter().map(|(address, node)| (*address, &**node))
    }

    pub(super) fn owner_of(&self, address: IpAddr) -> Option<&str> {
        self.owners.get(&address).map(|node| &**node)
    }

    /// Tells who owns an address now, if that is another one than before.
    pub(super) fn owner(&mut self, address: IpAddr, owner: Option<&str>, reason: Reason) {
        if self.owner_of(address) == owner {
            return;
        }
        let to: Option<Box<str>> = owner.map(Box::from);
        let from = match to.clone() {
            Some(node) => self.owners.insert(address, node),
            None => self.owners.remove(&address),
        };
        self.events.push_back(Event::Owner { address, from, to, reason });
    }

    pub(super) fn defend(&mut self, addresses: &[IpAddr]) {
        self.events.extend(addresses.iter().copied().map(Event::Defend));
    }
}

impl Ownership {
    /// Tells who owns the addresses now. That nobody does is told when nobody will.
    pub(super) fn tell_owners(&mut self, addresses: &[IpAddr], expected: bool, appraisal: &Appraisal<'_>) {
        let request = self.requested(appraisal);
        let Self { node, claims, told, .. } = self;
        for address in addresses {
            let after = claims.holder(*address, node).map(|(holder, _)| holder);
            let before = told.owner_of(*address);
            if before == after || (after.is_none() && expected) {
                continue;
            }
            let reason = match (before, after) {
                (_, None) => appraisal.obstacle().unwrap_or(Reason::NoCandidates),
                (None, Some(_)) => Reason::Owner,
                (Some(before), Some(_)) if before != &**node && !claims.is_heard(before) => {
                    Reason::SpeakerNotAlive
                }
                (Some(before), Some(after)) => match appraisal.verdict(before) {
                    Verdict::No(reason) => reason,
                    Verdict::Keep(_) | Verdict::Take(_)
                        if request.is_some_and(|request| request.node == after) =>
                    {
                        Reason::MoveRequested
                    }
                    Verdict::Keep(reason) => reason,
                    Verdict::Take(_) if precedes(after, before, appraisal) => Reason::BetterNode,
                    Verdict::Take(_) => Reason::NotOwner,
                },
            };
            told.owner(*address, after, reason);
        }
    }
}
