//! The alphabet of packets and profiles: big-endian numbers, addresses, and fields with type and length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads from the front of a slice; `None` when it is too short or a value is not allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn address(&mut self) -> Option<IpAddr> {
        match self.u8()? {
            4 => Some(Ipv4Addr::from(self.array::<4>()?).into()),
            6 => Some(Ipv6Addr::from(self.array::<16>()?).into()),
            _ => None,
        }
    }

    /// An address or none. The outer `None` is the error.
    pub(super) fn optional_address(&mut self) -> Option<Option<IpAddr>> {
        if self.0.first() == Some(&0) {
            self.take(1)?;
            return Some(None);
        }
        self.address().map(Some)
    }

    /// The next field: type and value.
    pub(super) fn field(&mut self) -> Option<(u8, &'a [u8])> {
        let kind = self.u8()?;
        let len = self.u16()?;
        Some((kind, self.take(usize::from(len))?))
    }
}

/// Appends a field whose value `write` appends. Values are under 64 KiB by the limits of their writers.
pub(super) fn put_field(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    write(out);
    let len = u16::try_from(out.len() - at - 2).expect("invariant: fields are shorter than 64 KiB");
    out[at..at + 2].copy_from_slice(&len.to_be_bytes());
}

pub(super) fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend_from_slice(&address.octets());
        }
    }
}

pub(super) fn put_optional_address(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        Some(address) => put_address(out, address),
        None => out.push(0),
    }
}

/// Bytes that [`put_address`] appends.
pub(super) const fn address_len(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 5,
        IpAddr::V6(_) => 17,
    }
}
