use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// An IP address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The name that Kubernetes uses in `spec.ipFamilies`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A run of addresses of one family, both ends included, never empty.
///
/// It is written as in `IPAddressPool.spec.addresses`: a CIDR prefix (host bits are dropped) or
/// `first-last`. A bare address is refused, as MetalLB refuses it: write `192.0.2.7/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "(IpAddr, IpAddr)", try_from = "(IpAddr, IpAddr)")]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// When the ends differ in family, or `first` is after `last`.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        if Family::of(first) != Family::of(last) {
            return Err(RangeError::MixedFamilies { first, last });
        }
        if first > last {
            return Err(RangeError::Reversed { first, last });
        }
        Ok(Self { first, last })
    }

    /// The lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of all its addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first <= address && address <= self.last
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// How many addresses it holds; [`u128::MAX`] for the whole of IPv6, which has one more.
    #[must_use]
    pub fn len(&self) -> u128 {
        (bits(self.last) - bits(self.first)).saturating_add(1)
    }

    /// Always false: a range holds at least one address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The address `offset` places above the first, if the range reaches that far.
    #[must_use]
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        let value = bits(self.first).checked_add(offset)?;
        if value > bits(self.last) {
            return None;
        }
        match self.family() {
            Family::V4 => u32::try_from(value).ok().map(|v| IpAddr::V4(Ipv4Addr::from_bits(v))),
            Family::V6 => Some(IpAddr::V6(Ipv6Addr::from_bits(value))),
        }
    }

    /// How many places `address` is above the first, if it lies inside.
    #[must_use]
    pub fn offset(&self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| bits(address) - bits(self.first))
    }
}

impl From<AddressRange> for (IpAddr, IpAddr) {
    fn from(range: AddressRange) -> Self {
        (range.first, range.last)
    }
}

impl TryFrom<(IpAddr, IpAddr)> for AddressRange {
    type Error = RangeError;

    fn try_from((first, last): (IpAddr, IpAddr)) -> Result<Self, RangeError> {
        Self::new(first, last)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        if let Some((address, length)) = text.split_once('/') {
            let net =
                prefix(address, length).ok_or_else(|| RangeError::BadPrefix { text: text.to_owned() })?;
            return Self::new(canonical(net.network()), canonical(net.broadcast()));
        }
        let Some((first, last)) = text.split_once('-') else {
            return Err(RangeError::NotARange { text: text.to_owned() });
        };
        let end = |part: &str| -> Result<IpAddr, RangeError> {
            part.trim()
                .parse()
                .map(canonical)
                .map_err(|_| RangeError::BadEnd { text: text.to_owned(), part: part.trim().to_owned() })
        };
        Self::new(end(first)?, end(last)?)
    }
}

/// Reads both parts of a prefix. The standard library's address parser is strict where that of `ipnet` is not:
/// it refuses octets with leading zeros.
fn prefix(address: &str, length: &str) -> Option<IpNet> {
    if !length.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    IpNet::new(address.parse().ok()?, length.parse().ok()?).ok()
}

/// Reads an IPv4-mapped IPv6 address (`::ffff:0:0/96`, RFC 4291 §2.5.5.2) as the IPv4 address it stands for.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }
}

/// Why a text is not an [`AddressRange`]. A retry does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither a prefix nor `first-last`.
    #[error(
        "{text:?} is neither a CIDR prefix nor first-last; for a single address write it with /32 or /128"
    )]
    NotARange {
        /// The text as written.
        text: String,
    },
    /// A slash is there, but what stands around it is no prefix.
    #[error("{text:?} is not a CIDR prefix, such as 192.0.2.0/24 or 2001:db8::/64")]
    BadPrefix {
        /// The text as written.
        text: String,
    },
    /// One end of `first-last` is no address.
    #[error("{part:?} in {text:?} is not an IP address; write first-last, such as 192.0.2.10-192.0.2.20")]
    BadEnd {
        /// The whole text.
        text: String,
        /// The end that could not be read.
        part: String,
    },
    /// `first` is above `last`.
    #[error("the range {first}-{last} starts after its end; write the lower address first")]
    Reversed {
        /// The first end as written.
        first: IpAddr,
        /// The last end as written.
        last: IpAddr,
    },
    /// One end is IPv4, the other IPv6.
    #[error("the range {first}-{last} mixes IPv4 and IPv6; write one range for each family")]
    MixedFamilies {
        /// The first end as written.
        first: IpAddr,
        /// The last end as written.
        last: IpAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<AddressRange, RangeError> {
        text.parse()
    }

    #[test]
    fn accepts_what_metallb_accepts() {
        for (text, first, last) in [
            ("192.168.7.0/24", "192.168.7.0", "192.168.7.255"),
            ("192.168.7.77/24", "192.168.7.0", "192.168.7.255"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.7"),
            ("192.0.2.10-192.0.2.20", "192.0.2.10", "192.0.2.20"),
            (" 192.0.2.10 - 192.0.2.20 ", "192.0.2.10", "192.0.2.20"),
            ("192.0.2.10-192.0.2.10", "192.0.2.10", "192.0.2.10"),
            ("2001:db8::/126", "2001:db8::", "2001:db8::3"),
            ("::ffff:192.0.2.0/120", "192.0.2.0", "192.0.2.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
        ] {
            let range = range(text).unwrap();
            assert_eq!(
                (range.first().to_string(), range.last().to_string()),
                (first.into(), last.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_metallb_refuses_and_mixed_families() {
        for text in [
            "",
            "192.0.2.1",
            "192.0.2.0/33",
            "2001:db8::/129",
            " 192.0.2.0/24",
            "192.0.2.0/24 ",
            "192.0.2.010/32",
            "fe80::1%eth0/64",
            "192.0.2.20-192.0.2.10",
            "192.0.2.1-192.0.2.2-192.0.2.3",
            "192.0.2.1-",
            "-192.0.2.1",
            "192.0.2.1-2001:db8::1",
            "2001:db8::1-192.0.2.1",
            "a/b",
            "/",
        ] {
            assert!(range(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn size_and_position_agree() {
        let range = range("192.0.2.250-192.0.3.5").unwrap();
        assert_eq!(range.len(), 12);
        assert_eq!(range.nth(11), Some(range.last()));
        assert_eq!(range.nth(12), None);
        assert_eq!(range.offset("192.0.3.0".parse().unwrap()), Some(6));
        assert_eq!("::/0".parse::<AddressRange>().unwrap().len(), u128::MAX);
        assert_eq!("0.0.0.0/0".parse::<AddressRange>().unwrap().len(), 1 << 32);
    }
}
