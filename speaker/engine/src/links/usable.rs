use std::{collections::BTreeSet, fmt, net::IpAddr};

use super::LinkSummary;

/// Which interfaces the advertisements of an address permit (`spec.interfaces`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// At least one advertisement has no list.
    All,
    /// The union of the lists.
    Named(BTreeSet<Box<str>>),
}

impl Allowed {
    /// Whether the interface of this name is permitted.
    #[must_use]
    pub fn permits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// By which rule the interfaces of a node were chosen; the earlier ones are the better ones. Where nodes differ, those
/// with the best choice are the better owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkChoice {
    /// A connected subnet contains the address.
    Subnet,
    /// No connected subnet contains the address; a default route leaves through the interface.
    DefaultRoute,
    /// Neither subnet nor default route tells; the advertisement names the interface.
    Named,
    /// Neither subnet, default route nor advertisement tells; it is the only interface that can announce.
    Only,
}

impl LinkChoice {
    /// The CamelCase name, for conditions and command output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subnet => "Subnet",
            Self::DefaultRoute => "DefaultRoute",
            Self::Named => "Named",
            Self::Only => "Only",
        }
    }
}

impl fmt::Display for LinkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The interfaces on which a node may announce an address. Its text is for people: `eth0,eth1 (DefaultRoute)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usable {
    /// Their names; never empty.
    pub interfaces: BTreeSet<Box<str>>,
    /// Why these.
    pub choice: LinkChoice,
}

impl Usable {
    /// The names with commas between.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.interfaces.iter().map(AsRef::as_ref).collect();
        names.join(",")
    }
}

impl fmt::Display for Usable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.names(), self.choice)
    }
}

/// Why a node has no interface for an address. It lasts until a link, route or advertisement changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum NoUsableLink {
    /// No interface can announce the family of the address.
    #[error("no interface of the node can announce addresses of this family")]
    NotAble,
    /// Those that can are not among the interfaces that the advertisements name.
    #[error("the node has none of the interfaces that the advertisements name")]
    NotAllowed,
    /// Several interfaces can announce, and nothing tells which of them reaches the address: no subnet contains it,
    /// none has a default route. Naming interfaces in the advertisement settles it.
    #[error(
        "no interface has a subnet with the address or a default route; name interfaces in the advertisement"
    )]
    Undecided,
}

/// The interfaces of a node, described by `summary`, on which it may announce `address`.
///
/// Only interfaces that can announce the family (ARP for IPv4, neighbour discovery for IPv6) and that `allowed`
/// permits count. Of these, in this order:
///
/// 1. those with a connected subnet that contains the address ([`LinkChoice::Subnet`]);
/// 2. if there are none, those with a default route of the family ([`LinkChoice::DefaultRoute`]);
/// 3. if there are none either, and the advertisements name interfaces, all of them ([`LinkChoice::Named`]);
/// 4. otherwise, if it is only one, that one ([`LinkChoice::Only`]).
///
/// Several interfaces that nothing tells apart are not used: announcing an address on a segment that it does not
/// belong to makes two segments disagree about it.
///
/// # Errors
///
/// The first step at which no interface was left.
pub fn usable(summary: &[LinkSummary], address: IpAddr, allowed: &Allowed) -> Result<Usable, NoUsableLink> {
    let able: Vec<_> = summary.iter().filter(|link| link.is_able(address)).collect();
    if able.is_empty() {
        return Err(NoUsableLink::NotAble);
    }
    let permitted: Vec<_> = able.into_iter().filter(|link| allowed.permits(&link.name)).collect();
    if permitted.is_empty() {
        return Err(NoUsableLink::NotAllowed);
    }
    let named = matches!(allowed, Allowed::Named(_));
    let only = permitted.len() == 1;
    let choose = |choice, wanted: &dyn Fn(&LinkSummary) -> bool| {
        let chosen = permitted.iter().filter(|link| wanted(link));
        let interfaces: BTreeSet<_> = chosen.map(|link| link.name.clone()).collect();
        (!interfaces.is_empty()).then_some(Usable { interfaces, choice })
    };
    choose(LinkChoice::Subnet, &|link| link.reaches(address))
        .or_else(|| choose(LinkChoice::DefaultRoute, &|link| link.has_default_route(address)))
        .or_else(|| choose(LinkChoice::Named, &|_| named))
        .or_else(|| choose(LinkChoice::Only, &|_| only))
        .ok_or(NoUsableLink::Undecided)
}

impl LinkSummary {
    fn is_able(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.arp,
            IpAddr::V6(_) => self.ndp,
        }
    }

    fn reaches(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }

    fn has_default_route(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.default_v4,
            IpAddr::V6(_) => self.default_v6,
        }
    }
}
