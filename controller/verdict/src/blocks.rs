use std::net::IpAddr;

use landfall_model::{AddressRange, Family};

/// The length of the shortest prefix among the fewest prefixes that make up `range`, which is that of its largest
/// aligned block.
pub(crate) fn shortest_prefix(range: &AddressRange) -> u8 {
    let (first, last) = (bits(range.first()), bits(range.last()));
    let width = match range.family() {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    // A block of 2^size addresses that is aligned lies inside if the first multiple of that at or after `first` leaves
    // room for it. Larger ones need no look once one fits.
    (0..=width).find(|length| holds_block(first, last, width - length)).unwrap_or(width)
}

fn holds_block(first: u128, last: u128, size: u8) -> bool {
    let Some(block) = 1_u128.checked_shl(u32::from(size)) else {
        return first == 0 && last == u128::MAX;
    };
    let start = first.checked_next_multiple_of(block);
    start.and_then(|start| start.checked_add(block - 1)).is_some_and(|end| end <= last)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_block_of_a_range_is_found() {
        for (range, length) in [
            ("192.0.2.0/24", 24),
            ("192.0.2.0-192.0.2.255", 24),
            ("192.0.2.2-192.0.2.254", 26),
            ("192.0.2.1-192.0.2.254", 26),
            ("192.0.2.0-192.0.2.254", 25),
            ("192.0.2.7/32", 32),
            ("192.0.2.1-192.0.2.2", 32),
            ("0.0.0.0/0", 0),
            ("0.0.0.1-255.255.255.255", 1),
            ("255.255.255.255/32", 32),
            ("2001:db8::/64", 64),
            ("2001:db8::1-2001:db8::4", 127),
            ("::/0", 0),
            ("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1),
        ] {
            assert_eq!(shortest_prefix(&range.parse().unwrap()), length, "{range}");
        }
    }
}
