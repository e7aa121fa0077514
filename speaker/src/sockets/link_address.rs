use std::io;

use landfall_engine::{IfIndex, Mac};
use socket2::SockAddr;

/// The address of an AF_PACKET socket. `protocol` in host byte order; interface 0 means all of them.
pub(super) fn link_address(protocol: u16, interface: IfIndex, to: Option<Mac>) -> io::Result<SockAddr> {
    let index = i32::try_from(interface.0).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `try_init` hands out zeroed storage that is large and aligned enough for every socket address, and
    // `sockaddr_ll` is one; all zeroes is a valid value of it. The length is exactly what was written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = &mut *storage.cast::<libc::sockaddr_ll>();
            link.sll_family = libc::AF_PACKET as libc::sa_family_t;
            link.sll_protocol = protocol.to_be();
            link.sll_ifindex = index;
            if let Some(Mac(mac)) = to {
                link.sll_halen = 6;
                link.sll_addr[..6].copy_from_slice(&mac);
            }
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

/// The interface that a frame came in by, from the source address of `recvfrom` on an AF_PACKET socket.
pub(super) fn interface_of(from: &SockAddr) -> Option<IfIndex> {
    if i32::from(from.family()) != libc::AF_PACKET {
        return None;
    }
    let storage = from.as_ptr();
    // SAFETY: the family says that the kernel wrote a `sockaddr_ll`, and the storage is large and aligned enough for
    // it and fully initialised.
    let link = unsafe { &*storage.cast::<libc::sockaddr_ll>() };
    u32::try_from(link.sll_ifindex).ok().map(IfIndex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_interface_again() {
        let address = link_address(0x0806, IfIndex(7), Some(Mac([1, 2, 3, 4, 5, 6]))).unwrap();
        assert_eq!(interface_of(&address), Some(IfIndex(7)));
        assert_eq!(address.len() as usize, size_of::<libc::sockaddr_ll>());
    }

    #[test]
    fn addresses_of_other_families_and_impossible_interfaces_are_refused() {
        let other: std::net::SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(interface_of(&other.into()), None);
        assert!(link_address(0x0806, IfIndex(u32::MAX), None).is_err());
    }
}
