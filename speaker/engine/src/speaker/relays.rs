use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use landfall_model::Instant;

use crate::{forwarding::RELAYED, membership::MemberState};

/// A process that left its node may be on its way back, and the node on its way down. What is open is lost with the node, and
/// clients shall not wait for it for longer than this.
const AWAY: Duration = Duration::from_mins(1);

/// The owners before of what this node has, as far as they live: connections that were open when an address moved end there
/// ([`crate::forwarding::ForwardingTable::relay`]).
#[derive(Debug, Default)]
pub(super) struct Relays {
    all: BTreeMap<IpAddr, Relay>,
    /// None of them ends before.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Relay {
    node: Box<str>,
    /// An address of it.
    to: IpAddr,
    until: Instant,
}

impl Relays {
    pub(super) fn begin(&mut self, address: IpAddr, node: &str, to: IpAddr, now: Instant) {
        self.all.insert(address, Relay { node: node.into(), to, until: now + RELAYED });
        self.next.get_or_insert(now + RELAYED);
    }

    /// This node has the address no more; who has it now sends nothing on over two nodes, as that could go round in circles.
    /// Says whether there was one.
    pub(super) fn end(&mut self, address: IpAddr) -> bool {
        self.all.remove(&address).is_some()
    }

    /// How a node stands now. Who died without leaving has died with its kernel, as far as anybody knows.
    pub(super) fn follow(
        &mut self,
        node: &str,
        before: MemberState,
        state: MemberState,
        now: Instant,
    ) -> bool {
        let count = self.all.len();
        match state {
            MemberState::Dead if before != MemberState::Leaving => self.all.retain(|_, it| *it.node != *node),
            MemberState::Dead | MemberState::Gone => {
                for it in self.all.values_mut().filter(|it| *it.node == *node) {
                    it.until = it.until.min(now + AWAY);
                    self.next = self.next.min(Some(it.until));
                }
            }
            MemberState::Alive { .. } if !before.is_heard() => {
                for it in self.all.values_mut().filter(|it| *it.node == *node) {
                    it.until = now + RELAYED;
                }
            }
            MemberState::Unknown
            | MemberState::Alive { .. }
            | MemberState::Degraded
            | MemberState::Held { .. }
            | MemberState::Leaving => {}
        }
        self.all.len() != count
    }

    /// Ends those whose time has come. Says whether there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let count = self.all.len();
        self.all.retain(|_, relay| relay.until > now);
        self.next = self.all.values().map(|relay| relay.until).min();
        self.all.len() != count
    }

    /// When [`Self::expire`] may have something to do.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.all.contains_key(&address)
    }

    /// Addresses, each with one of the node that owned it before.
    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> {
        self.all.iter().map(|(address, relay)| (*address, relay.to))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const ALIVE: MemberState = MemberState::Alive { settled: true };

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn how_long_is_relayed_depends_on_how_the_owner_before_goes() {
        use MemberState::{Dead, Degraded, Gone, Held, Leaving, Unknown};
        let returned = MemberState::Alive { settled: false };
        // What it was and is, one after the other, a second each; and when it ends.
        for (states, end) in [
            (&[ALIVE][..], 3_600),
            (&[ALIVE, Degraded, Held { settled: false }, ALIVE], 3_600),
            (&[ALIVE, Dead], 1),
            (&[ALIVE, Held { settled: true }, Dead], 2),
            (&[ALIVE, Leaving, Dead], 2 + 60),
            (&[ALIVE, Leaving, Dead, Gone], 2 + 60),
            (&[ALIVE, Leaving, Gone], 2 + 60),
            (&[ALIVE, Leaving, Gone, Unknown, ALIVE], 4 + 3_600),
            (&[ALIVE, Leaving, Dead, returned], 3 + 3_600),
            (&[ALIVE, Leaving, Dead, returned, Dead], 4),
        ] {
            let mut relays = Relays::default();
            relays.begin(ADDRESS, "oak", Ipv4Addr::LOCALHOST.into(), at(0));
            let mut ended = None;
            for (second, pair) in (1..).zip(states.windows(2)) {
                relays.follow("elm", ALIVE, Dead, at(second));
                if relays.follow("oak", pair[0], pair[1], at(second)) {
                    ended = Some(at(second));
                }
                assert!(!relays.expire(at(second)));
            }
            while ended.is_none() {
                let next = relays.next().expect("it does not last for ever");
                ended = relays.expire(next).then_some(next);
            }
            assert_eq!(ended, Some(at(end)), "{states:?}");
            assert!(!relays.contains(ADDRESS));
        }
    }

    #[test]
    fn each_address_ends_by_itself() {
        let mut relays = Relays::default();
        relays.begin(ADDRESS, "oak", Ipv4Addr::LOCALHOST.into(), at(0));
        assert!(relays.end(ADDRESS));
        assert!(!relays.end(ADDRESS));
        assert!(!relays.contains(ADDRESS));
    }
}
