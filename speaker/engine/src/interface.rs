use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use landfall_model::{AddressRange, Assigned, Observation, Reason, ServiceKey};

use crate::{forwarding::ForwardingTable, links::Usable, membership::Key, verification::Verified};

/// The kernel's number of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfIndex(pub u32);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What netlink says of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: IfIndex,
    /// Its name.
    pub name: Box<str>,
    /// Its Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// Administratively up and with carrier.
    pub running: bool,
    /// It can broadcast (`IFF_BROADCAST`).
    pub broadcast: bool,
    /// It uses ARP (`IFF_NOARP` is not set).
    pub arp: bool,
    /// It belongs to a bridge, bond or VRF.
    pub enslaved: bool,
    /// It is a loopback interface.
    pub loopback: bool,
    /// Its addresses with their prefix lengths, link-local ones included.
    pub addresses: Vec<IpNet>,
    /// A default route of IPv4 leaves through it.
    pub default_v4: bool,
    /// A default route of IPv6 leaves through it.
    pub default_v6: bool,
    /// The next hops of its default routes, as far as these have one.
    pub gateways: Vec<IpAddr>,
}

/// Everything that can happen to a speaker.
#[derive(Clone, Debug)]
pub enum Input {
    /// A fact about the cluster.
    Observed(Observation),
    /// An interface appeared or changed; `None` means that it is gone.
    Link(IfIndex, Option<Link>),
    /// An Ethernet frame with ARP or ICMPv6 neighbour discovery, headers included.
    Frame {
        /// Where it came in.
        interface: IfIndex,
        /// The whole frame.
        bytes: Vec<u8>,
    },
    /// A datagram on the membership port.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// The keys that authenticate peers: the first one signs, all of them are accepted.
    Keys(Vec<Key>),
    /// Whether the rules of the last [`Command::Forward`] are in force; `Err` says why they are not.
    Forwarding(Result<(), Box<str>>),
    /// Hand everything over and say goodbye; the machine says [`Command::Finished`] when it is done.
    Shutdown,
}

/// How this node announces a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Interface names that an advertisement limits it to; empty means all.
    pub interfaces: BTreeSet<Box<str>>,
    /// The interfaces that its addresses are announced on, and why these: one entry, unless its addresses differ in it.
    pub links: BTreeSet<Usable>,
    /// What is known on the wire of its addresses: the worst of them.
    pub verified: Verified,
    /// For how long nobody had them at the last takeover from a node that died: from its last sign of life to the first
    /// announcement. `None`: no node died, as far as this one knows.
    pub gap: Option<Duration>,
}

/// Everything that a speaker can ask of the world. The shell carries them out in order and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Put a whole Ethernet frame on the wire.
    SendFrame {
        /// Where it leaves.
        interface: IfIndex,
        /// The whole frame.
        bytes: Vec<u8>,
    },
    /// Send a datagram from the membership port.
    SendDatagram {
        /// To whom.
        to: SocketAddr,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// Join or leave a multicast group (the solicited-node group of an announced address, RFC 4291 §2.7.1).
    Group {
        /// Where.
        interface: IfIndex,
        /// The group.
        group: Ipv6Addr,
        /// Join, otherwise leave.
        join: bool,
    },
    /// Only ARP and neighbour discovery about these addresses matters from now on, and what is for this node alone: the rest
    /// need not be handed in.
    Listen(Vec<AddressRange>),
    /// Make these the forwarding rules, in one transaction. The answer is [`Input::Forwarding`].
    Forward(ForwardingTable),
    /// Make this the content of our `ServiceL2Status` for the Service; `None` removes it.
    Status {
        /// The Service.
        service: ServiceKey,
        /// What it says.
        announced: Option<Announced>,
    },
    /// Write an event on a Service.
    Event {
        /// The Service.
        service: ServiceKey,
        /// `metadata.uid` of the Service.
        uid: Box<str>,
        /// `Warning`, otherwise `Normal`.
        warning: bool,
        /// Reason, such as `nodeAssigned`.
        reason: &'static str,
        /// Text for people.
        message: String,
    },
    /// This node is cut off from the others and answers for nothing, or no longer; for logs and metrics.
    CutOff(bool),
    /// The owner of an address changed, as this node sees it; for logs and metrics.
    Ownership {
        /// The address.
        address: IpAddr,
        /// The owner before.
        from: Option<Box<str>>,
        /// The owner now.
        to: Option<Box<str>>,
        /// Why.
        reason: Reason,
    },
    /// An address that another node owned is announced by this one for the first time; for logs and metrics.
    TookOver {
        /// The address.
        address: IpAddr,
        /// Why, as in the [`Command::Ownership`] before it.
        reason: Reason,
        /// So long ago the speaker of the owner before was last heard.
        after: Duration,
    },
    /// A speaker that did not leave counts as dead; for logs and metrics.
    Lost {
        /// Its node.
        node: Box<str>,
        /// So long ago it was last heard. Of many speakers each hears only those often that it watches.
        after: Duration,
    },
    /// Standalone: take this decision of another machine over, into the Service's status.
    Adopt(Assigned),
    /// Standalone: whether this machine is the one that decides about addresses. Until it is said for the first time it
    /// is not.
    Lead(bool),
    /// Everything is handed over; the process may exit.
    Finished,
}
