use std::{collections::BTreeMap, io, net::Ipv6Addr, os::fd::AsRawFd};

use landfall_engine::{IfIndex, wire::multicast_mac};
use socket2::{Domain, Protocol, Socket, Type};

use super::OpenError;

/// Why a group could not be joined.
#[derive(Debug, thiserror::Error)]
#[error("cannot join group {group} on interface {}", interface.0)]
pub struct GroupError {
    /// The group.
    pub group: Ipv6Addr,
    /// Where.
    pub interface: IfIndex,
    /// What the kernel says.
    #[source]
    pub source: io::Error,
}

/// Memberships of multicast groups.
///
/// Each group is joined twice, for two reasons: as an IPv6 group, so that MLD reports go out and switches that snoop
/// (RFC 4541) send the solicitations here, and as an Ethernet address, so that the network card passes them on even
/// where IPv6 itself is turned off on the interface.
#[derive(Debug)]
pub struct Groups {
    packet: Socket,
    /// The kernel bounds the groups of one socket by memory (`net.core.optmem_max`), so there may be several.
    ipv6: Vec<Socket>,
    /// Which of `ipv6` holds the group; `None` where only the Ethernet address is joined.
    joined: BTreeMap<(IfIndex, Ipv6Addr), Option<usize>>,
}

impl Groups {
    /// Is in no group yet. Needs NET_RAW.
    ///
    /// # Errors
    /// When the kernel refuses; a retry does not help.
    pub fn open() -> Result<Self, OpenError> {
        let packet = Socket::new_raw(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))
            .map_err(|source| OpenError::new("multicast groups", source))?;
        Ok(Self { packet, ipv6: Vec::new(), joined: BTreeMap::new() })
    }

    /// Joins a group; one that is joined already stays as it is.
    ///
    /// # Errors
    /// When neither of the two ways works.
    pub fn join(&mut self, interface: IfIndex, group: Ipv6Addr) -> Result<(), GroupError> {
        if self.joined.contains_key(&(interface, group)) {
            return Ok(());
        }
        let ethernet = self.ethernet(libc::PACKET_ADD_MEMBERSHIP, interface, group);
        let socket = match (self.join_ipv6(interface, group), ethernet) {
            (Ok(socket), _) => Some(socket),
            (Err(error), Ok(())) => {
                tracing::debug!(interface = interface.0, %group, %error, "no MLD reports for a group");
                None
            }
            (Err(_), Err(source)) => return Err(GroupError { group, interface, source }),
        };
        self.joined.insert((interface, group), socket);
        Ok(())
    }

    /// Leaves a group; one that is not joined, or whose interface is gone, is no error.
    pub fn leave(&mut self, interface: IfIndex, group: Ipv6Addr) {
        if let Some(socket) = self.joined.remove(&(interface, group)) {
            // Both fail only when the interface is gone, and then there is nothing left to leave.
            let _ = self.ethernet(libc::PACKET_DROP_MEMBERSHIP, interface, group);
            if let Some(socket) = socket.and_then(|index| self.ipv6.get(index)) {
                let _ = socket.leave_multicast_v6(&group, interface.0);
            }
        }
    }

    /// Leaves all groups of an interface, which is gone.
    pub fn forget(&mut self, interface: IfIndex) {
        let range = (interface, Ipv6Addr::UNSPECIFIED)..=(interface, Ipv6Addr::from_bits(u128::MAX));
        let groups: Vec<_> = self.joined.range(range).map(|(&(_, group), _)| group).collect();
        for group in groups {
            self.leave(interface, group);
        }
    }

    fn join_ipv6(&mut self, interface: IfIndex, group: Ipv6Addr) -> io::Result<usize> {
        if let Some(last) = self.ipv6.last() {
            match last.join_multicast_v6(&group, interface.0) {
                Ok(()) => return Ok(self.ipv6.len() - 1),
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM)) => {}
                Err(error) => return Err(error),
            }
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.join_multicast_v6(&group, interface.0)?;
        self.ipv6.push(socket);
        Ok(self.ipv6.len() - 1)
    }

    fn ethernet(&self, operation: libc::c_int, interface: IfIndex, group: Ipv6Addr) -> io::Result<()> {
        let mut request = libc::packet_mreq {
            mr_ifindex: i32::try_from(interface.0).map_err(|_| io::ErrorKind::InvalidInput)?,
            mr_type: libc::PACKET_MR_MULTICAST as u16,
            mr_alen: 6,
            mr_address: [0; 8],
        };
        request.mr_address[..6].copy_from_slice(&multicast_mac(group).0);
        // SAFETY: the socket is open, and the pointer and length describe one `packet_mreq`, which is what both
        // operations read.
        let result = unsafe {
            libc::setsockopt(
                self.packet.as_raw_fd(),
                libc::SOL_PACKET,
                operation,
                (&raw const request).cast(),
                size_of_val(&request) as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
