use std::net::IpAddr;

use landfall_model::Reason;

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
