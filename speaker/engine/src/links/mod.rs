//! Which network interfaces of a node may announce which address.
//!
//! [`Links`] follows this node's interfaces. [`LinkSummary`] is what a node tells its peers about one of them, and
//! [`usable`] is the one rule by which this node and its peers choose, so that all reach the same answer.

mod pattern;
mod usable;

pub use pattern::{NamePattern, PatternError};
pub use usable::{Allowed, LinkChoice, NoUsableLink, Usable, usable};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnet::IpNet;

use crate::{IfIndex, Link, Mac};

/// What a node tells its peers about an interface that can announce.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkSummary {
    /// Its name.
    pub name: Box<str>,
    /// Its connected subnets, without host bits, sorted; link-local ones are left out.
    pub prefixes: Vec<IpNet>,
    /// A default route of IPv4 leaves through it.
    pub default_v4: bool,
    /// A default route of IPv6 leaves through it.
    pub default_v6: bool,
    /// It can announce IPv4 addresses.
    pub arp: bool,
    /// It can announce IPv6 addresses.
    pub ndp: bool,
    /// Its Ethernet address, by which others tell its frames from those of hosts that are no members. `None`: an older
    /// version did not tell it.
    pub mac: Option<Mac>,
}

/// Where a neighbour is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The interface to its segment.
    pub interface: IfIndex,
    /// That interface's Ethernet address.
    pub mac: Mac,
    /// Our address in the neighbour's subnet.
    pub source: IpAddr,
}

/// Why an interface announces nothing at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skipped {
    /// Its name matches an exclude pattern.
    Excluded,
    /// It is a loopback interface.
    Loopback,
    /// It is down or has no carrier.
    NotRunning,
    /// It belongs to a bridge, bond or VRF; the master announces instead.
    Enslaved,
    /// It has no Ethernet address.
    NoMac,
    /// It does not resolve neighbours (`IFF_NOARP`).
    NoArp,
    /// It can neither broadcast, which ARP needs, nor has it a link-local IPv6 address, which neighbour discovery
    /// needs.
    NoFamily,
}

impl Skipped {
    /// The CamelCase name, for conditions and command output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Excluded => "Excluded",
            Self::Loopback => "Loopback",
            Self::NotRunning => "NotRunning",
            Self::Enslaved => "Enslaved",
            Self::NoMac => "NoMac",
            Self::NoArp => "NoArp",
            Self::NoFamily => "NoFamily",
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The interfaces of this node.
#[derive(Debug)]
pub struct Links {
    exclude: Vec<NamePattern>,
    links: BTreeMap<IfIndex, Known>,
    by_name: BTreeMap<Box<str>, IfIndex>,
    summary: Vec<LinkSummary>,
}

#[derive(Debug)]
struct Known {
    link: Link,
    summary: Result<LinkSummary, Skipped>,
}

impl Links {
    /// No interfaces yet. Those whose name matches one of `exclude` will never announce;
    /// [`NamePattern::defaults`] is the usual list.
    #[must_use]
    pub fn new(exclude: Vec<NamePattern>) -> Self {
        Self { exclude, links: BTreeMap::new(), by_name: BTreeMap::new(), summary: Vec::new() }
    }

    /// Takes over an interface as netlink has it now; `None` means gone. Says whether the summary changed, that is,
    /// whether [`usable`] may now choose differently and peers must be told. The coming and going of interfaces that
    /// announce nothing, such as those of pods, costs the same however many there are.
    pub fn handle(&mut self, index: IfIndex, link: Option<Link>) -> bool {
        let before = self.links.remove(&index);
        if let Some(before) = &before
            && self.by_name.get(&before.link.name) == Some(&index)
        {
            self.by_name.remove(&before.link.name);
        }
        let after = link.map(|link| Known { summary: self.summarize(&link), link });
        let summary = |known: &Option<Known>| known.as_ref().and_then(|known| known.summary.clone().ok());
        let changed = summary(&before) != summary(&after);
        if let Some(known) = after {
            self.by_name.insert(known.link.name.clone(), index);
            self.links.insert(index, known);
        }
        if changed {
            self.summary = self.links.values().filter_map(|known| known.summary.clone().ok()).collect();
            self.summary.sort();
        }
        changed
    }

    /// What to tell the peers: every interface that can announce, sorted by name.
    #[must_use]
    pub fn summary(&self) -> &[LinkSummary] {
        &self.summary
    }

    /// The interface, whether it can announce or not.
    #[must_use]
    pub fn get(&self, index: IfIndex) -> Option<&Link> {
        self.links.get(&index).map(|known| &known.link)
    }

    /// The name of an interface.
    #[must_use]
    pub fn name(&self, index: IfIndex) -> Option<&str> {
        self.get(index).map(|link| &*link.name)
    }

    /// How to ask the neighbour with this address, which is on a connected subnet of an interface that can announce.
    /// Costs all interfaces.
    #[must_use]
    pub fn way_to(&self, address: IpAddr) -> Option<Way> {
        self.announcing().find_map(|link| way(link, address))
    }

    /// How to ask for an address on the segment with this subnet, be the address in it or not: the own address that it is asked
    /// from is of its family, and of its subnet where there is one. Costs all interfaces.
    #[must_use]
    pub fn way_on(&self, segment: IpNet, address: IpAddr) -> Option<Way> {
        let on_it = |link: &&Link| link.addresses.iter().any(|own| own.trunc() == segment);
        let link = self.announcing().find(on_it)?;
        let may_ask = |own: &&IpNet| own.addr().is_ipv4() == address.is_ipv4() && own.addr() != address;
        let sources = link.addresses.iter().filter(may_ask);
        let source = sources.max_by_key(|own| (own.contains(&address), !is_link_local(own)))?.addr();
        let mac = link.mac.filter(|_| link.broadcast || source.is_ipv6())?;
        Some(Way { interface: link.index, mac, source })
    }

    /// The routers that default routes lead to, with the way to each. Costs all interfaces.
    pub fn gateways(&self) -> impl Iterator<Item = (IpAddr, Way)> {
        self.announcing().flat_map(|link| {
            link.gateways.iter().filter_map(|gateway| Some((*gateway, way(link, *gateway)?)))
        })
    }

    fn announcing(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter(|known| known.summary.is_ok()).map(|known| &known.link)
    }

    /// The kernel's numbers of the interfaces with these names; names that do not exist are left out.
    #[must_use]
    pub fn resolve(&self, names: &BTreeSet<Box<str>>) -> BTreeSet<IfIndex> {
        names.iter().filter_map(|name| self.by_name.get(name)).copied().collect()
    }

    /// The interfaces that announce nothing, and why, in order of index.
    pub fn skipped(&self) -> impl Iterator<Item = (&Link, Skipped)> {
        self.links.values().filter_map(|known| Some((&known.link, known.summary.as_ref().err().copied()?)))
    }

    fn summarize(&self, link: &Link) -> Result<LinkSummary, Skipped> {
        let ability = self.ability(link)?;
        let connected = link.addresses.iter().filter(|address| !is_link_local(address));
        let prefixes: BTreeSet<IpNet> = connected.map(IpNet::trunc).collect();
        Ok(LinkSummary {
            name: link.name.clone(),
            prefixes: prefixes.into_iter().collect(),
            default_v4: link.default_v4,
            default_v6: link.default_v6,
            arp: ability.arp,
            ndp: ability.ndp,
            mac: link.mac,
        })
    }

    fn ability(&self, link: &Link) -> Result<Ability, Skipped> {
        if self.exclude.iter().any(|pattern| pattern.matches(&link.name)) {
            return Err(Skipped::Excluded);
        }
        if link.loopback {
            return Err(Skipped::Loopback);
        }
        if link.enslaved {
            return Err(Skipped::Enslaved);
        }
        if !link.running {
            return Err(Skipped::NotRunning);
        }
        if link.mac.is_none() {
            return Err(Skipped::NoMac);
        }
        if !link.arp {
            return Err(Skipped::NoArp);
        }
        let ability = Ability { arp: link.broadcast, ndp: link.addresses.iter().any(is_link_local_v6) };
        if ability.arp || ability.ndp { Ok(ability) } else { Err(Skipped::NoFamily) }
    }
}

/// How to ask that neighbour, if it is on a subnet of this link.
fn way(link: &Link, address: IpAddr) -> Option<Way> {
    let near = |own: &&IpNet| own.addr() != address && own.contains(&address);
    let source = link.addresses.iter().find(near)?.addr();
    let mac = link.mac.filter(|_| link.broadcast || source.is_ipv6())?;
    Some(Way { interface: link.index, mac, source })
}

#[derive(Clone, Copy)]
struct Ability {
    arp: bool,
    ndp: bool,
}

fn is_link_local(address: &IpNet) -> bool {
    match address.addr() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_link_local_v6(address: &IpNet) -> bool {
    address.addr().is_ipv6() && is_link_local(address)
}

#[cfg(test)]
mod tests;
