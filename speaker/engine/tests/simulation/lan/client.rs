//! What a client sees that asks who has an address.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use landfall_engine::Input;

use super::{ETH0, Lan, frames::arp_request};

impl Lan {
    /// Who answers a client on this side that asks for the address by ARP.
    pub(crate) fn who_has_on(&mut self, side: u32, address: &str) -> Vec<&'static str> {
        let address: Ipv4Addr = address.parse().unwrap();
        let frame = arp_request(address);
        let mut answers = Vec::new();
        for index in 0..self.hosts.len() {
            if self.hosts[index].side != side
                || self.hosts[index].paused
                || self.hosts[index].speaker.is_none()
            {
                continue;
            }
            self.asking = true;
            self.input(index, Input::Frame { interface: ETH0, bytes: frame.clone() });
            self.asking = false;
            let replies = std::mem::take(&mut self.hosts[index].replies);
            if replies.contains(&IpAddr::V4(address)) {
                answers.push(self.hosts[index].name);
            }
        }
        answers
    }

    pub(crate) fn who_has(&mut self, address: &str) -> Vec<&'static str> {
        self.who_has_on(0, address)
    }

    /// Lets the time pass and asks every few milliseconds: the answers that differ from the one before.
    pub(crate) fn watch(&mut self, address: &str, duration: Duration) -> Vec<(Duration, Vec<&'static str>)> {
        let start = self.now;
        let mut seen: Vec<(Duration, Vec<&'static str>)> = Vec::new();
        while self.now.since(start) < duration {
            let answers = self.who_has(address);
            if seen.last().is_none_or(|(_, last)| *last != answers) {
                seen.push((self.now.since(start), answers));
            }
            self.run_ms(2);
        }
        seen
    }

    /// The same where a living owner is succeeded: two never answer, and nobody for a moment only, before its successor has heard
    /// the last word. Gives the successor.
    pub(crate) fn watch_handover(&mut self, address: &str, duration: Duration) -> &'static str {
        let seen = self.watch(address, duration);
        let [.., (_, last)] = &seen[..] else { panic!("nothing was seen") };
        assert!(seen.len() <= 3 && seen.iter().all(|(_, answers)| answers.len() <= 1), "{seen:?}");
        for line in seen.windows(2).filter(|line| line[0].1.is_empty()) {
            assert!(line[1].0 - line[0].0 <= Duration::from_millis(4), "{seen:?}");
        }
        last.first().unwrap_or_else(|| panic!("nobody answers in the end: {seen:?}"))
    }
}
