use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
};

use super::peer::PeerId;

/// So many members after a node on the ring watch it.
pub(super) const WATCHERS: usize = 4;
/// Up to so many members, ourselves included, everybody watches everybody.
pub(super) const MESH: usize = 8;

/// A member on the ring; `None` is this node.
pub(super) type Place = Option<PeerId>;

/// All members in the order of the digests of their names, which is the same everywhere and has nothing to do with racks
/// or numbers: members that fail together are rarely next to each other.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    order: BTreeSet<(u64, Place)>,
}

impl Ring {
    /// We, alone.
    pub(super) fn new(me: u64) -> Self {
        Self { order: [(me, None)].into() }
    }

    pub(super) fn insert(&mut self, digest: u64, id: PeerId) {
        self.order.insert((digest, Some(id)));
    }

    pub(super) fn remove(&mut self, digest: u64, id: PeerId) {
        self.order.remove(&(digest, Some(id)));
    }

    /// How many members there are, ourselves included.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Everybody watches everybody.
    pub(super) fn is_mesh(&self) -> bool {
        self.len() <= MESH
    }

    /// The others, beginning with the one after this member.
    pub(super) fn after(&self, digest: u64, place: Place) -> impl Iterator<Item = Place> {
        let at = (digest, place);
        let (rest, first) = (self.order.range((Excluded(at), Unbounded)), self.order.range(..at));
        rest.chain(first).map(|(_, place)| *place)
    }

    /// The others, beginning with the one before this member.
    pub(super) fn before(&self, digest: u64, place: Place) -> impl Iterator<Item = Place> {
        let at = (digest, place);
        let (first, rest) = (self.order.range(..at), self.order.range((Excluded(at), Unbounded)));
        first.rev().chain(rest.rev()).map(|(_, place)| *place)
    }

    /// The other member whose name has this digest.
    pub(super) fn named(&self, digest: u64) -> Option<PeerId> {
        let from = (digest, None);
        self.order.range(from..).take_while(|(other, _)| *other == digest).find_map(|(_, place)| *place)
    }
}
