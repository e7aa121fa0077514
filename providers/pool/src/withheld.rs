//! Addresses of pools that are not handed out although nobody holds them: those of nodes, and those that were given back
//! a short while ago.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use landfall_model::{Instant, Reason, ServiceKey};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withheld {
    /// How many nodes have the address.
    nodes: BTreeMap<IpAddr, usize>,
    of_node: BTreeMap<Box<str>, Vec<IpAddr>>,
    resting: BTreeMap<IpAddr, Rest>,
    ends: BTreeSet<(Instant, IpAddr)>,
}

/// An address in quarantine.
#[derive(Clone, Debug)]
struct Rest {
    until: Instant,
    /// Who had it last, and may have it again at once.
    last: ServiceKey,
}

impl Withheld {
    /// Why `service` does not get this address.
    pub(crate) fn against(&self, address: IpAddr, service: &ServiceKey) -> Option<Reason> {
        if self.nodes.contains_key(&address) {
            return Some(Reason::NodeAddress);
        }
        let resting = self.resting.get(&address).is_some_and(|rest| rest.last != *service);
        resting.then_some(Reason::Quarantined)
    }

    /// Whether nobody gets this address without asking for it by name.
    pub(crate) fn holds_back(&self, address: IpAddr) -> bool {
        self.nodes.contains_key(&address) || self.resting.contains_key(&address)
    }

    /// The addresses from `first` to `last` that are held back.
    pub(crate) fn between(&self, first: IpAddr, last: IpAddr) -> impl Iterator<Item = IpAddr> {
        let nodes = self.nodes.range(first..=last).map(|(address, _)| *address);
        let resting = self.resting.range(first..=last).map(|(address, _)| *address);
        nodes.chain(resting.filter(|address| !self.nodes.contains_key(address)))
    }

    /// Takes over the addresses of a node; returns those that no node has any more, and those that none had before.
    pub(crate) fn set_node(&mut self, node: &str, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let mut touched = Vec::new();
        for address in &addresses {
            let count = self.nodes.entry(*address).or_default();
            *count += 1;
            if *count == 1 {
                touched.push(*address);
            }
        }
        let before = if addresses.is_empty() {
            self.of_node.remove(node)
        } else {
            self.of_node.insert(node.into(), addresses)
        };
        for address in before.unwrap_or_default() {
            if let Some(count) = self.nodes.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    self.nodes.remove(&address);
                    touched.push(address);
                }
            }
        }
        touched
    }

    pub(crate) fn rest(&mut self, address: IpAddr, last: ServiceKey, until: Instant) {
        self.wake(address);
        self.resting.insert(address, Rest { until, last });
        self.ends.insert((until, address));
    }

    /// Ends the rest of an address, if it rests.
    pub(crate) fn wake(&mut self, address: IpAddr) {
        if let Some(rest) = self.resting.remove(&address) {
            self.ends.remove(&(rest.until, address));
        }
    }

    /// An address whose rest is over at `now`; it rests no more.
    pub(crate) fn rested(&mut self, now: Instant) -> Option<IpAddr> {
        let (until, address) = self.ends.first().copied()?;
        if until > now {
            return None;
        }
        self.wake(address);
        Some(address)
    }

    /// When the next rest is over.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    pub(crate) fn wake_all(&mut self) {
        self.resting.clear();
        self.ends.clear();
    }
}
