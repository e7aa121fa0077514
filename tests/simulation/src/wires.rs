use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use landfall_engine::wire::Frame;

/// Who reaches whom.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    pub(crate) unplugged: BTreeSet<usize>,
    pub(crate) away: BTreeSet<usize>,
    pub(crate) deaf: BTreeSet<(usize, usize)>,
    /// Of a hundred packets.
    pub(crate) loss: u32,
}

impl Wires {
    pub(crate) fn carry(&self, from: usize, to: usize) -> bool {
        !self.unplugged.contains(&from)
            && !self.unplugged.contains(&to)
            && self.away.contains(&from) == self.away.contains(&to)
            && !self.deaf.contains(&(from, to))
    }

    pub(crate) fn is_plugged(&self, host: usize) -> bool {
        !self.unplugged.contains(&host)
    }

    pub(crate) fn one_way(&self) -> bool {
        !self.deaf.is_empty()
    }

    pub(crate) fn joined(&self, one: usize, other: usize) -> bool {
        self.carry(one, other) && self.carry(other, one)
    }
}

/// The address of a Service.
pub(crate) fn service_address(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(number + 1).unwrap_or(u8::MAX)).into()
}

pub(crate) fn is_broadcast(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 1)
}

/// The Service's address that an ARP frame says is its sender's.
pub(crate) fn service_of(frame: &[u8]) -> Option<IpAddr> {
    let Ok(Frame::Arp { arp, .. }) = Frame::parse(frame) else { return None };
    is_service(arp.sender).then_some(IpAddr::V4(arp.sender))
}

/// The Service's address that a probe asks for, which tells nothing of who asks (RFC 5227 §2.1.1).
pub(crate) fn service_probed(frame: &[u8]) -> Option<IpAddr> {
    let Ok(Frame::Arp { arp, .. }) = Frame::parse(frame) else { return None };
    (arp.sender.is_unspecified() && is_service(arp.target)).then_some(IpAddr::V4(arp.target))
}

fn is_service(address: Ipv4Addr) -> bool {
    address.octets()[..3] == [10, 0, 0]
}
