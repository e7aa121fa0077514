use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
};

use landfall_engine::{
    IfIndex, Input, Link, Mac,
    speaker::Speaker,
    wire::{ArpOperation, ArpRepr, EtherType, EthernetRepr, Frame},
};
use landfall_model::{Instant, NodeView};

use crate::{clock::HostClock, objects};

pub(crate) const ETH0: IfIndex = IfIndex(2);

/// How a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// Kernel and processes run.
    Up,
    /// No power.
    Off,
    /// Asleep; its clock runs on.
    Suspended,
    /// A virtual machine that is held: not even its clock runs.
    Frozen,
}

/// One node: a machine, its kernel, and the process on it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: Box<str>,
    pub(crate) number: usize,
    pub(crate) machine: Machine,
    pub(crate) clock: HostClock,
    pub(crate) speaker: Option<Speaker>,
    /// The process stands still (SIGSTOP, no CPU time).
    pub(crate) stalled: bool,
    /// Counts starts, so that what was meant for an earlier process is not given to a later one.
    pub(crate) boots: u64,
    pub(crate) finished: bool,
    /// What waits in the sockets of a process that stands still.
    pub(crate) backlog: VecDeque<Input>,
    /// The owner of each address, as its speaker told.
    pub(crate) believes: BTreeMap<IpAddr, Option<Box<str>>>,
    /// What it answers for.
    pub(crate) answers: BTreeSet<IpAddr>,
    pub(crate) excluded: bool,
    pub(crate) ready: bool,
}

impl Host {
    pub(crate) fn new(number: usize, now: Instant) -> Self {
        Self {
            name: format!("n{number}").into(),
            number,
            machine: Machine::Up,
            clock: HostClock::new(now, Instant::from_micros(1_000_000 * (number as u64 + 1))),
            speaker: None,
            stalled: false,
            boots: 0,
            finished: false,
            backlog: VecDeque::new(),
            believes: BTreeMap::new(),
            answers: BTreeSet::new(),
            excluded: false,
            ready: true,
        }
    }

    /// Its kernel receives and answers.
    pub(crate) fn has_kernel(&self) -> bool {
        self.machine == Machine::Up
    }

    /// Its process does something when something happens.
    pub(crate) fn runs(&self) -> bool {
        self.has_kernel() && !self.stalled && self.speaker.is_some()
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        address_of(self.number)
    }

    pub(crate) fn mac(&self) -> Mac {
        let [high, low] = u16::try_from(self.number).unwrap_or(u16::MAX).to_be_bytes();
        Mac([2, 0, 0, 0, high, low])
    }

    pub(crate) fn view(&self) -> NodeView {
        let mut view = objects::node(&self.name);
        view.addresses = vec![self.address().into()];
        view.ready = self.ready;
        if self.excluded {
            view.labels.insert(landfall_model::EXCLUDE_LABEL.to_owned(), String::new());
        }
        view
    }

    pub(crate) fn link(&self) -> Link {
        Link {
            index: ETH0,
            name: "eth0".into(),
            mac: Some(self.mac()),
            running: true,
            broadcast: true,
            arp: true,
            enslaved: false,
            loopback: false,
            addresses: vec![ipnet(self.address())],
            default_v4: true,
            default_v6: false,
            gateways: Vec::new(),
        }
    }

    /// What the kernel says to a frame by itself (RFC 826), as the answer to a question about the node's own address.
    pub(crate) fn kernel_answer(&self, frame: &Frame) -> Option<Frame> {
        let Frame::Arp { arp, .. } = frame else { return None };
        if arp.operation != ArpOperation::Request || arp.target != self.address() {
            return None;
        }
        let ethernet =
            EthernetRepr { destination: arp.sender_mac, source: self.mac(), ether_type: EtherType::Arp };
        let arp = ArpRepr {
            operation: ArpOperation::Reply,
            sender_mac: self.mac(),
            sender: self.address(),
            target_mac: arp.sender_mac,
            target: arp.sender,
        };
        Some(Frame::Arp { ethernet, arp })
    }
}

/// Addresses of nodes: 10.0.0.0/16 from 10.0.1.0 on; Services have 10.0.0.0/24.
pub(crate) fn address_of(number: usize) -> Ipv4Addr {
    let [_, _, high, low] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    Ipv4Addr::new(10, 0, high + 1, low)
}

pub(crate) fn number_of(address: IpAddr) -> Option<usize> {
    let IpAddr::V4(v4) = address else { return None };
    let [ten, zero, high, low] = v4.octets();
    let high = high.checked_sub(1).filter(|_| ten == 10 && zero == 0)?;
    Some(usize::from(high) * 256 + usize::from(low))
}

fn ipnet(address: Ipv4Addr) -> ipnet::IpNet {
    ipnet::IpNet::V4(ipnet::Ipv4Net::new_assert(address, 16))
}
