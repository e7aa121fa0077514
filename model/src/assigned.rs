use std::net::IpAddr;

use crate::{IpMode, ServiceKey};

/// The addresses of one Service, as the machines of a standalone installation tell them to each other, so that all of
/// them announce the same ones. In a cluster the API server holds this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The Service.
    pub service: ServiceKey,
    /// Rises with each decision about the Service, on whichever machine it is made.
    pub version: u64,
    /// The addresses, in the order of the status.
    pub ingress: Vec<(IpAddr, IpMode)>,
    /// The pool that they come from.
    pub pool: Option<Box<str>>,
}

impl Assigned {
    /// Whether this is to be followed rather than `other`: it is newer, or as new with lesser addresses. Two machines
    /// that were cut from each other may both decide; every machine then picks the same decision of the two.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        let differs = (&self.ingress, &self.pool) != (&other.ingress, &other.pool);
        differs && (other.version, &self.ingress, &self.pool) < (self.version, &other.ingress, &other.pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(version: u64, address: &str) -> Assigned {
        let ingress = vec![(address.parse().unwrap(), IpMode::Proxy)];
        Assigned { service: ServiceKey::new("shop", "web"), version, ingress, pool: Some("lan".into()) }
    }

    #[test]
    fn of_two_decisions_exactly_one_is_followed() {
        for (a, b, wins) in [
            (assigned(2, "192.0.2.9"), assigned(1, "192.0.2.1"), true),
            (assigned(1, "192.0.2.1"), assigned(2, "192.0.2.9"), false),
            (assigned(1, "192.0.2.1"), assigned(1, "192.0.2.9"), true),
            (assigned(1, "192.0.2.9"), assigned(1, "192.0.2.1"), false),
        ] {
            assert_eq!((a.supersedes(&b), b.supersedes(&a)), (wins, !wins), "{a:?} {b:?}");
        }
    }

    #[test]
    fn the_same_addresses_are_no_news_whatever_their_version() {
        let (old, new) = (assigned(1, "192.0.2.1"), assigned(7, "192.0.2.1"));
        assert!(!new.supersedes(&old) && !old.supersedes(&new));
    }
}
