//! Which addresses the hosts of a LAN get. Pure.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{Error, Result};

/// The subnets of a LAN. At least one should be set.
#[derive(Clone, Copy, Debug)]
pub struct Subnets {
    /// The IPv4 subnet.
    pub v4: Option<Ipv4Net>,
    /// The IPv6 subnet.
    pub v6: Option<Ipv6Net>,
}

impl Default for Subnets {
    /// `10.77.0.0/24` and `fd77::/64`. LANs do not see each other, so all may use the same.
    fn default() -> Self {
        let v4 = Ipv4Net::new_assert([10, 77, 0, 0].into(), 24);
        let v6 = Ipv6Net::new_assert([0xfd77, 0, 0, 0, 0, 0, 0, 0].into(), 64);
        Self { v4: Some(v4), v6: Some(v6) }
    }
}

impl Subnets {
    /// The addresses of the host with this number, with the subnets' prefix lengths.
    pub(crate) fn of_host(&self, number: u16) -> Result<Vec<IpNet>> {
        let too_large = |subnet: IpNet| Error::HostNumber { number, subnet: subnet.to_string() };
        let mut addresses = Vec::new();
        if let Some(subnet) = self.v4 {
            let last = u32::from(subnet.broadcast());
            let address = u32::from(subnet.network()) + u32::from(number);
            if number == 0 || address >= last {
                return Err(too_large(subnet.into()));
            }
            addresses.push(IpNet::new_assert(IpAddr::V4(address.into()), subnet.prefix_len()));
        }
        if let Some(subnet) = self.v6 {
            let address = u128::from(subnet.network()) + u128::from(number);
            if number == 0 || address > u128::from(subnet.broadcast()) {
                return Err(too_large(subnet.into()));
            }
            addresses.push(IpNet::new_assert(IpAddr::V6(address.into()), subnet.prefix_len()));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_gives_the_addresses_of_both_families() {
        let addresses = Subnets::default().of_host(11).unwrap();
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.77.0.11/24", "fd77::b/64"]);
    }

    #[test]
    fn numbers_outside_the_subnet_are_refused() {
        for number in [0, 255, 300] {
            let refused = Subnets::default().of_host(number).unwrap_err();
            assert!(matches!(refused, Error::HostNumber { .. }), "{number}: {refused}");
        }
        assert!(Subnets::default().of_host(254).is_ok());
    }
}
