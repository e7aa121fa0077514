use std::net::IpAddr;

use landfall_engine::{IfIndex, Link, Mac};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteType},
};

use super::table::LinkTable;

const ETH0: IfIndex = IfIndex(2);

fn link(flags: LinkFlags, master: Option<u32>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ETH0.0;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = flags | LinkFlags::Broadcast;
    message.attributes =
        vec![LinkAttribute::IfName("eth0".to_owned()), LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])];
    message.attributes.extend(master.map(LinkAttribute::Controller));
    message
}

fn up() -> LinkMessage {
    link(LinkFlags::Up | LinkFlags::LowerUp, None)
}

fn address(text: &str, prefix_len: u8, flags: AddressFlags) -> AddressMessage {
    let address: IpAddr = text.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.index = ETH0.0;
    message.header.prefix_len = prefix_len;
    message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Flags(flags)];
    message
}

fn default_route(family: AddressFamily, table: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = table;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Oif(ETH0.0)];
    message
}

fn started() -> LinkTable {
    let mut table = LinkTable::default();
    table.replace(vec![up()], vec![address("192.0.2.5", 24, AddressFlags::empty())]);
    table.replace_routes(&[default_route(AddressFamily::Inet, RouteHeader::RT_TABLE_MAIN)]);
    table
}

fn only(table: &mut LinkTable) -> Option<Link> {
    let mut changes = table.take_changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let (index, link) = changes.remove(0);
    assert_eq!(index, ETH0);
    link
}

#[test]
fn puts_a_whole_link_together() {
    let expected = Link {
        index: ETH0,
        name: "eth0".into(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        running: true,
        broadcast: true,
        arp: true,
        enslaved: false,
        loopback: false,
        addresses: vec!["192.0.2.5/24".parse().unwrap()],
        default_v4: true,
        default_v6: false,
        gateways: Vec::new(),
    };
    let mut table = started();
    assert_eq!(only(&mut table), Some(expected));
    assert!(table.take_changes().is_empty(), "nothing is reported twice");
}

#[test]
fn reports_each_change_once_and_only_changes() {
    let mut table = started();
    only(&mut table);
    table.apply(RouteNetlinkMessage::NewLink(up()));
    assert!(table.take_changes().is_empty());

    table.apply(RouteNetlinkMessage::NewAddress(address("2001:db8::5", 64, AddressFlags::Tentative)));
    assert!(table.take_changes().is_empty(), "not unique yet");
    table.apply(RouteNetlinkMessage::NewAddress(address("2001:db8::5", 64, AddressFlags::Permanent)));
    assert_eq!(only(&mut table).unwrap().addresses.len(), 2);
    table.apply(RouteNetlinkMessage::DelAddress(address("192.0.2.5", 24, AddressFlags::empty())));
    assert_eq!(only(&mut table).unwrap().addresses, ["2001:db8::5/64".parse().unwrap()]);

    table.apply(RouteNetlinkMessage::NewLink(link(LinkFlags::Up | LinkFlags::LowerUp, Some(9))));
    assert!(only(&mut table).unwrap().enslaved);
    table.apply(RouteNetlinkMessage::NewLink(link(LinkFlags::Up, None)));
    assert!(!only(&mut table).unwrap().running, "no carrier");
    table.apply(RouteNetlinkMessage::DelLink(up()));
    assert_eq!(only(&mut table), None);
}

#[test]
fn leaving_a_bridge_is_no_deletion() {
    let mut table = started();
    only(&mut table);
    let mut message = up();
    message.header.interface_family = AddressFamily::Bridge;
    table.apply(RouteNetlinkMessage::DelLink(message));
    assert!(table.take_changes().is_empty());
}

#[test]
fn default_routes_count_in_the_main_table_only() {
    let mut table = started();
    only(&mut table);
    assert!(!table.routes_are_stale());
    let mut other = default_route(AddressFamily::Inet6, 100);
    table.apply(RouteNetlinkMessage::NewRoute(other.clone()));
    assert!(!table.routes_are_stale(), "a route of another table");
    other.header.table = RouteHeader::RT_TABLE_MAIN;
    other.header.destination_prefix_length = 64;
    table.apply(RouteNetlinkMessage::NewRoute(other));
    assert!(!table.routes_are_stale(), "not a default route");

    let v6 = default_route(AddressFamily::Inet6, RouteHeader::RT_TABLE_MAIN);
    table.apply(RouteNetlinkMessage::NewRoute(v6.clone()));
    assert!(table.routes_are_stale());
    table.replace_routes(&[v6]);
    let link = only(&mut table).unwrap();
    assert_eq!((link.default_v4, link.default_v6), (false, true));
}

#[test]
fn a_new_list_drops_what_is_not_in_it() {
    let mut table = started();
    only(&mut table);
    table.replace(Vec::new(), Vec::new());
    assert!(table.routes_are_stale());
    table.replace_routes(&[]);
    assert_eq!(only(&mut table), None);
}
