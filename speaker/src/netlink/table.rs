#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of netlink are not ours and grow; what is not named here does not matter"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use landfall_engine::{IfIndex, Link, Mac};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteType, RouteVia},
};

/// The interfaces of default routes, with their next hops.
type DefaultRoutes = BTreeMap<IfIndex, BTreeSet<IpAddr>>;

/// What netlink has said so far, put together to whole [`Link`] values. No IO.
#[derive(Debug, Default)]
pub(super) struct LinkTable {
    /// Without addresses and routes.
    links: BTreeMap<IfIndex, Link>,
    addresses: BTreeMap<IfIndex, BTreeSet<IpNet>>,
    default_v4: DefaultRoutes,
    default_v6: DefaultRoutes,
    stale_routes: bool,
    /// Interfaces that may differ from what was reported.
    touched: BTreeSet<IfIndex>,
    reported: BTreeMap<IfIndex, Link>,
}

impl LinkTable {
    /// Takes over one notification.
    pub(super) fn apply(&mut self, message: RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewLink(link) => self.link(&link, true),
            RouteNetlinkMessage::DelLink(link) => self.link(&link, false),
            RouteNetlinkMessage::NewAddress(address) => self.address(&address, true),
            RouteNetlinkMessage::DelAddress(address) => self.address(&address, false),
            // A replaced route is not reported as deleted, so what is left can only be listed.
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                self.stale_routes |= is_default(&route);
            }
            _ => {}
        }
    }

    /// Forgets everything but the routes, and takes over complete lists.
    pub(super) fn replace(&mut self, links: Vec<LinkMessage>, addresses: Vec<AddressMessage>) {
        self.touched.extend(self.links.keys());
        self.links.clear();
        self.addresses.clear();
        self.stale_routes = true;
        for link in &links {
            self.link(link, true);
        }
        for address in &addresses {
            self.address(address, true);
        }
    }

    /// Whether the default routes must be listed before the next [`Self::take_changes`].
    pub(super) const fn routes_are_stale(&self) -> bool {
        self.stale_routes
    }

    /// Takes over a complete list of default routes.
    pub(super) fn replace_routes(&mut self, routes: &[RouteMessage]) {
        self.stale_routes = false;
        let through = |family| {
            let routes = routes.iter().filter(move |route| route.header.address_family == family);
            let mut through = DefaultRoutes::new();
            for (interface, gateway) in routes.filter(|route| is_default(route)).flat_map(next_hops) {
                through.entry(interface).or_default().extend(gateway);
            }
            through
        };
        for (family, known) in
            [(AddressFamily::Inet, &mut self.default_v4), (AddressFamily::Inet6, &mut self.default_v6)]
        {
            let now = through(family);
            let changed = |(interface, _): &(&IfIndex, _)| now.get(interface) != known.get(interface);
            let touched = now.iter().chain(known.iter()).filter(changed);
            self.touched.extend(touched.map(|(interface, _)| interface));
            *known = now;
        }
    }

    /// The interfaces that differ from what was given before.
    pub(super) fn take_changes(&mut self) -> Vec<(IfIndex, Option<Link>)> {
        let mut changes = Vec::new();
        for index in std::mem::take(&mut self.touched) {
            let link = self.whole(index);
            if link.as_ref() == self.reported.get(&index) {
                continue;
            }
            match &link {
                Some(link) => self.reported.insert(index, link.clone()),
                None => self.reported.remove(&index),
            };
            changes.push((index, link));
        }
        changes
    }

    fn whole(&self, index: IfIndex) -> Option<Link> {
        let link = self.links.get(&index)?;
        let routes = [self.default_v4.get(&index), self.default_v6.get(&index)];
        Some(Link {
            addresses: self.addresses.get(&index).into_iter().flatten().copied().collect(),
            default_v4: routes[0].is_some(),
            default_v6: routes[1].is_some(),
            gateways: routes.into_iter().flatten().flatten().copied().collect(),
            ..link.clone()
        })
    }

    fn link(&mut self, message: &LinkMessage, exists: bool) {
        // Bridges report their ports as links of the family AF_BRIDGE; that a port leaves its bridge is no deletion.
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = IfIndex(message.header.index);
        self.touched.insert(index);
        if exists {
            let link = base(message);
            // An interface that goes down loses its routes, and the kernel does not report each.
            self.stale_routes |= self.links.get(&index).is_none_or(|known| known.running != link.running);
            self.links.insert(index, link);
        } else {
            self.links.remove(&index);
            self.addresses.remove(&index);
            self.stale_routes = true;
        }
    }

    fn address(&mut self, message: &AddressMessage, exists: bool) {
        let Some(address) = net(message) else { return };
        let index = IfIndex(message.header.index);
        self.touched.insert(index);
        let addresses = self.addresses.entry(index).or_default();
        // An address that is not known to be unique yet must not be used (RFC 4862 §5.4). The kernel reports it again
        // when it is.
        if exists && usable(message) {
            addresses.insert(address);
        } else {
            addresses.remove(&address);
        }
    }
}

/// Whether it is a default route of the main table that sends packets somewhere.
pub(super) fn is_default(route: &RouteMessage) -> bool {
    let main = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table == u32::from(RouteHeader::RT_TABLE_MAIN)),
        _ => None,
    });
    route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && main.unwrap_or(route.header.table == RouteHeader::RT_TABLE_MAIN)
}

/// Where it sends packets: an interface, and the router there if there is one.
fn next_hops(route: &RouteMessage) -> Vec<(IfIndex, Option<IpAddr>)> {
    let mut through = None;
    let mut hops = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => through = Some(IfIndex(*index)),
            RouteAttribute::MultiPath(paths) => {
                let hop = |hop: &RouteNextHop| (IfIndex(hop.interface_index), gateway(&hop.attributes));
                hops.extend(paths.iter().map(hop));
            }
            _ => {}
        }
    }
    hops.extend(through.map(|interface| (interface, gateway(&route.attributes))));
    hops
}

/// Also a router of the other family (RFC 5549).
fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

fn base(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mut link = Link {
        index: IfIndex(message.header.index),
        name: "".into(),
        mac: None,
        running: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        broadcast: flags.contains(LinkFlags::Broadcast),
        arp: !flags.contains(LinkFlags::Noarp),
        enslaved: false,
        loopback: flags.contains(LinkFlags::Loopback),
        addresses: Vec::new(),
        default_v4: false,
        default_v6: false,
        gateways: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name.as_str().into(),
            LinkAttribute::Address(bytes) if ethernet => {
                link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
            }
            LinkAttribute::Controller(master) => link.enslaved = *master != 0,
            _ => {}
        }
    }
    link
}

fn net(message: &AddressMessage) -> Option<IpNet> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    // On a point-to-point link IFA_ADDRESS is the peer's address, and IFA_LOCAL ours.
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    IpNet::new(address, message.header.prefix_len).ok()
}

fn usable(message: &AddressMessage) -> bool {
    let low = u32::from(message.header.flags.bits());
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or_else(|| AddressFlags::from_bits_retain(low));
    let optimistic = flags.contains(AddressFlags::Optimistic);
    !flags.contains(AddressFlags::Dadfailed) && (optimistic || !flags.contains(AddressFlags::Tentative))
}
