use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Instant,
};

use landfall_engine::{
    Command, IfIndex, Link, Mac,
    responder::Responder,
    wire::{self, ArpOperation, ArpRepr, EtherType, EthernetRepr, Frame, Ipv6Repr, NeighborRepr},
};
use landfall_lan::Host;
use landfall_model::AddressRange;
use landfall_speaker::{
    netlink::Links,
    sockets::{FrameKind, FrameSocket, Groups},
};

use super::{lan, on, run};

const V4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200);

/// Sends a datagram to an address that only a neighbour answer can make reachable.
pub(super) fn knock(client: &Host, address: IpAddr) {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = client.within(move || UdpSocket::bind((any, 0))).unwrap().unwrap();
    socket.send_to(b"knock", (address, 9)).unwrap();
}

/// The interface to the LAN, once netlink has it running.
async fn running_link(links: &mut Links) -> Link {
    loop {
        for (_, link) in links.changes().await.unwrap() {
            if let Some(link) = link.filter(|link| &*link.name == Host::INTERFACE && link.running) {
                return link;
            }
        }
    }
}

/// Announces `address` on `node` with real sockets until it has answered one request, whose asker `ask` makes.
fn answer_one(node: &Host, kind: FrameKind, address: IpAddr, ask: impl FnOnce() + Send) {
    on(node, async || {
        let link = running_link(&mut Links::open().unwrap()).await;
        let socket = FrameSocket::open(kind).unwrap();
        let mut groups = Groups::open().unwrap();
        let mut responder = Responder::new();
        let start = Instant::now();
        let now = || landfall_model::Instant::from_micros(start.elapsed().as_micros() as u64);
        responder.handle_link(link.index, Some(&link), now());
        responder.announce(address, BTreeSet::from([link.index]), now());
        let carry_out = |responder: &mut Responder, groups: &mut Groups| {
            while let Some(command) = responder.next_command() {
                if let Command::SendFrame { interface, bytes } = command {
                    socket.send(interface, &bytes).unwrap();
                } else if let Command::Group { interface, group, join: true } = command {
                    groups.join(interface, group).unwrap();
                } else {
                    panic!("{command:?}");
                }
            }
        };
        carry_out(&mut responder, &mut groups);
        ask();
        while responder.counters().all(|(_, counters)| counters.responses_sent == 0) {
            for (interface, bytes) in socket.receive(16).await.unwrap() {
                responder.handle_frame(interface, &bytes, now());
            }
            carry_out(&mut responder, &mut groups);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn an_arp_request_is_answered_with_the_mac_of_the_interface() {
    let (_lan, [node, client]) = lan(["n1", "c1"]);
    answer_one(&node, FrameKind::Arp, V4.into(), || knock(&client, V4.into()));
    let neighbour = run(&client, &format!("ip neigh show {V4}"));
    assert!(neighbour.contains(&node.mac().unwrap().to_string()), "{neighbour}");
}

#[test]
#[ignore = "needs root"]
fn a_neighbour_solicitation_is_answered_with_the_mac_of_the_interface() {
    let (_lan, [node, client]) = lan(["n1", "c1"]);
    answer_one(&node, FrameKind::Neighbor, V6.into(), || {
        let groups = run(&node, "ip maddr show dev eth0");
        assert!(groups.contains("ff02::1:ff00:200"), "MLD does not know the group: {groups}");
        assert!(groups.contains("33:33:ff:00:02:00"), "the card does not know the group: {groups}");
        knock(&client, V6.into());
    });
    let neighbour = run(&client, &format!("ip neigh show {V6}"));
    assert!(neighbour.contains(&node.mac().unwrap().to_string()), "{neighbour}");
}

#[test]
#[ignore = "needs root"]
fn groups_are_left_again_and_those_of_a_lost_interface_are_forgotten() {
    let (_lan, [node]) = lan(["n1"]);
    let group = wire::solicited_node(V6);
    on(&node, async || {
        let link = running_link(&mut Links::open().unwrap()).await;
        let mut groups = Groups::open().unwrap();
        groups.join(link.index, group).unwrap();
        groups.join(link.index, group).unwrap();
        let shown = || run(&node, "ip maddr show dev eth0");
        assert!(shown().contains("33:33:ff:00:02:00"));
        groups.leave(link.index, group);
        assert!(!shown().contains("33:33:ff:00:02:00") && !shown().contains("ff02::1:ff00:200"));
        groups.join(link.index, group).unwrap();
        groups.forget(link.index);
        assert!(!shown().contains("33:33:ff:00:02:00"));
        assert!(groups.join(IfIndex(4_000_000), group).is_err(), "there is no such interface");
        // More than one socket may hold with the kernel's usual limit.
        for i in 0..4_000 {
            groups.join(link.index, wire::solicited_node(Ipv6Addr::from_bits(i))).unwrap();
        }
    });
}

#[test]
#[ignore = "needs root"]
fn the_kernel_drops_what_the_engine_would_ignore() {
    let (_lan, [node, client]) = lan(["n1", "c1"]);
    let interface = interface_number(&client);
    let (all, me, other) = ([0xff; 6], node.mac().unwrap().0, [2, 0, 0, 0, 0, 0x77]);
    let from = client.mac().unwrap().0;
    on(&node, async || {
        let socket = FrameSocket::open(FrameKind::Arp).unwrap();
        // Operation, receiver, and the last octet of sender and target: only an announcement has the same twice. The
        // last one ends the wait.
        let sent = [
            (2, all, 1, 2),
            (2, all, 3, 3),
            (2, other, 4, 4),
            (3, me, 5, 5),
            (1, other, 6, 7),
            (1, me, 8, 9),
            (2, me, 10, 11),
            (1, all, 12, 13),
        ];
        on(&client, async || {
            let sender = FrameSocket::open(FrameKind::Arp).unwrap();
            for (operation, to, sender_address, target) in sent {
                let mut frame = [to, from].concat();
                frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation]);
                frame.extend(
                    [from.as_slice(), &[10, 0, 0, sender_address], &[0; 6], &[10, 0, 0, target]].concat(),
                );
                sender.send(interface, &frame).unwrap();
            }
        });
        assert_eq!(socket.dropped(), 0);
        let frames = socket.receive(16).await.unwrap();
        let seen: Vec<(u8, [u8; 6], u8)> =
            frames.iter().map(|(_, frame)| (frame[21], *frame.first_chunk().unwrap(), frame[31])).collect();
        assert_eq!(seen, [(2, all, 3), (1, me, 8), (2, me, 10), (1, all, 12)]);
    });
}

/// Questions about so many other addresses are sent beside one that matters.
const FOREIGN: u8 = 200;

#[test]
#[ignore = "needs root"]
fn what_is_about_no_address_of_a_pool_does_not_wake_the_process() {
    let (_lan, [node, client]) = lan(["n1", "c1"]);
    let interface = interface_number(&client);
    let from = client.mac().unwrap().0;
    let asks = |sender: u8, target: u8| {
        let ethernet = [&[0xff; 6], from.as_slice(), &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
        [ethernet, from.into(), vec![10, 0, 0, sender, 0, 0, 0, 0, 0, 0, 10, 0, 0, target]].concat()
    };
    on(&node, async || {
        let socket = FrameSocket::open(FrameKind::Arp).unwrap();
        // The frames come in order, so what should not be heard would come before the last one, or with the next ones.
        let hears = async |questions: Vec<(u8, u8)>, wanted: Vec<(u8, u8)>| {
            on(&client, async || {
                let sender = FrameSocket::open(FrameKind::Arp).unwrap();
                questions.iter().for_each(|(from, to)| sender.send(interface, &asks(*from, *to)).unwrap());
            });
            let mut seen = Vec::new();
            while seen.len() < wanted.len() {
                let frames = socket.receive(512).await.unwrap();
                seen.extend(frames.iter().map(|(_, frame)| (frame[31], frame[41])));
            }
            assert_eq!(seen, wanted);
        };
        let foreign = || (0..FOREIGN).map(|number| (1, 20 + number));
        let every = || foreign().collect::<Vec<_>>();
        hears(every(), every()).await;
        let ranges: Vec<AddressRange> =
            ["10.0.0.2/32", "10.0.0.10-10.0.0.12", "fd77::/64"].map(|range| range.parse().unwrap()).into();
        socket.listen(&ranges);
        // Whoever asks for an address of a pool, or has one.
        let wanted = vec![(1, 2), (2, 99), (1, 10), (12, 99), (1, 12)];
        hears(foreign().chain([(1, 9), (1, 13), (3, 1)]).chain(wanted.clone()).collect(), wanted).await;
        socket.listen(&[]);
        socket.listen(&["10.0.0.20/32".parse().unwrap()]);
        hears(every(), vec![(1, 20)]).await;
    });
}

#[test]
#[ignore = "needs root"]
fn advertisements_pass_only_when_they_are_for_this_node_alone_or_for_all() {
    let (_lan, [node, client]) = lan(["n1", "c1"]);
    let interface = interface_number(&client);
    let (all, me) = ([0x33, 0x33, 0, 0, 0, 1], node.mac().unwrap().0);
    let group = wire::solicited_node(V6);
    let its = wire::multicast_mac(group).0;
    let from = client.mac().unwrap().0;
    on(&node, async || {
        let socket = FrameSocket::open(FrameKind::Neighbor).unwrap();
        // Nothing but headers. The last one ends the wait.
        let (all_nodes, one) = (wire::ALL_NODES, Ipv6Addr::LOCALHOST);
        let sent = [
            (136, its, 255, group),
            (136, all, 255, one),
            (134, me, 255, one),
            (136, me, 64, one),
            (136, all, 64, all_nodes),
            (136, me, 255, one),
            (136, all, 255, all_nodes),
            (135, all, 255, one),
        ];
        on(&client, async || {
            let sender = FrameSocket::open(FrameKind::Neighbor).unwrap();
            for (kind, to, hops, destination) in sent {
                let mut frame = [to, from].concat();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, hops]);
                frame.extend([0; 16]);
                frame.extend(destination.octets());
                frame.push(kind);
                frame.extend([0; 23]);
                sender.send(interface, &frame).unwrap();
            }
        });
        // The kernels of both ends talk of themselves meanwhile.
        let mut seen = Vec::new();
        while seen.last() != Some(&(135, all)) {
            for (_, frame) in socket.receive(16).await.unwrap() {
                if frame[6..12] == from && frame[55..].iter().all(|byte| *byte == 0) {
                    seen.push((frame[54], *frame.first_chunk::<6>().unwrap()));
                }
            }
        }
        assert_eq!(seen, [(136, me), (136, all), (135, all)]);
    });
}

#[test]
#[ignore = "needs root"]
fn the_kernel_of_a_node_without_any_process_answers_for_its_addresses() {
    let (_lan, [asker, silent]) = lan(["n1", "n2"]);
    let interface = interface_number(&asker);
    let (mac, its) = (Mac(asker.mac().unwrap().0), Mac(silent.mac().unwrap().0));
    let (from4, to4) = (asker.ipv4().unwrap(), silent.ipv4().unwrap());
    let (from6, to6) = (asker.ipv6().unwrap(), silent.ipv6().unwrap());
    let group = wire::solicited_node(to6);
    let arp = Frame::Arp {
        ethernet: EthernetRepr { destination: wire::BROADCAST, source: mac, ether_type: EtherType::Arp },
        arp: ArpRepr {
            operation: ArpOperation::Request,
            sender_mac: mac,
            sender: from4,
            target_mac: Mac([0; 6]),
            target: to4,
        },
    };
    let solicitation = Frame::Neighbor {
        ethernet: EthernetRepr {
            destination: wire::multicast_mac(group),
            source: mac,
            ether_type: EtherType::Ipv6,
        },
        ipv6: Ipv6Repr { source: from6, destination: group },
        neighbor: NeighborRepr::Solicit { target: to6, source_mac: Some(mac) },
    };
    on(&asker, async || {
        for (kind, question) in [(FrameKind::Arp, arp), (FrameKind::Neighbor, solicitation)] {
            let socket = FrameSocket::open(kind).unwrap();
            socket.send(interface, &question.emit()).unwrap();
            // The kernels talk of themselves meanwhile.
            let mut answered = false;
            while !answered {
                for (_, bytes) in socket.receive(16).await.unwrap() {
                    answered |= match Frame::parse(&bytes) {
                        Ok(Frame::Arp { ethernet, arp }) => {
                            arp.operation == ArpOperation::Reply
                                && (ethernet.destination, arp.sender, arp.sender_mac) == (mac, to4, its)
                                && arp.target == from4
                        }
                        Ok(Frame::Neighbor { ethernet, ipv6, neighbor }) => {
                            matches!(neighbor, NeighborRepr::Advert { solicited: true, .. })
                                && (ethernet.destination, neighbor.target()) == (mac, to6)
                                && ipv6.destination == from6
                        }
                        Err(_) => false,
                    };
                }
            }
        }
    });
}

pub(super) fn interface_number(host: &Host) -> IfIndex {
    let line = run(host, "ip -o link show dev eth0");
    IfIndex(line.split(':').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "needs root"]
fn frames_that_nobody_reads_are_counted() {
    let (_lan, [node, client]) = lan(["n1", "c1"]);
    on(&node, async || {
        let socket = FrameSocket::open(FrameKind::Arp).unwrap();
        let interface = interface_number(&client);
        let sent = 20_000;
        on(&client, async || {
            let sender = FrameSocket::open(FrameKind::Arp).unwrap();
            let mut frame = [node.mac().unwrap().0, client.mac().unwrap().0].concat();
            frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend([0; 32]);
            for _ in 0..sent {
                while sender.send(interface, &frame).is_err() {}
            }
        });
        let first = socket.dropped();
        assert!(first > 0, "the receive buffer holds fewer than {sent} frames");
        assert_eq!(socket.dropped(), first, "nothing is counted twice");
        let read = socket.receive(sent).await.unwrap().len() as u64;
        assert_eq!(first + read, sent as u64);
    });
}
