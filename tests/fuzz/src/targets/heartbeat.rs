//! Datagrams on the membership port, from strangers and from members that have the key and lie.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use arbitrary::Arbitrary;
use landfall_engine::membership::{BootId, DropReason, Event, Key, Membership, Profile, Settings, Timing};
use landfall_model::Instant;

use super::sealed::{self, Beat, CLUSTER, SECRET, put, seal};

const ME: &str = "me";
const BOOT: BootId = BootId { seconds: 1000, random: 7 };
const PEERS: [&str; 3] = ["n0", "n1", "n2"];
/// No packet of ours is longer.
const MAX_LEN: usize = 1_200;

fn address(peer: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, peer)), 7946)
}

fn machine(node: &str) -> Membership {
    let timing = Timing::default();
    let mut machine = Membership::new(Settings { node: node.into(), boot: BOOT, timing, seed: 1 });
    let key = Key::derive(SECRET, CLUSTER).expect("the secret is not empty");
    machine.set_keys(vec![key], Instant::ZERO);
    machine
}

fn members(mask: u8) -> BTreeMap<Box<str>, Vec<SocketAddr>> {
    let chosen = (0u8..).zip(PEERS).filter(|(number, _)| mask & (1 << number) != 0);
    chosen.map(|(number, name)| (name.into(), vec![address(number)])).collect()
}

#[derive(Arbitrary, Debug)]
enum Operation {
    /// Bytes as they are.
    Raw {
        from: u8,
        bytes: Vec<u8>,
    },
    /// Any fields, correctly signed.
    Signed {
        from: u8,
        fields: Vec<u8>,
    },
    /// A heartbeat that makes sense, and any fields behind it.
    Beat {
        peer: u8,
        ahead: u8,
        phase: u8,
        interval: u32,
        echo: Echo,
        digests: (u64, u64, u64, u32),
        more: Vec<More>,
    },
    /// The last packet once more, with a bit changed.
    Damaged {
        bit: u16,
    },
    Members {
        mask: u8,
    },
    Keys {
        number: u8,
    },
    Wait {
        millis: u16,
    },
    Leave,
}

#[derive(Arbitrary, Debug)]
enum Echo {
    None,
    Hears,
    Deaf,
    Other(u64, u64, u8),
}

#[derive(Arbitrary, Debug)]
struct More {
    kind: u8,
    value: Vec<u8>,
}

struct Bed {
    machine: Membership,
    now: Instant,
    sequence: u64,
    last: Vec<u8>,
    /// Addresses that any packet may have claimed.
    octets: usize,
    members: BTreeSet<SocketAddr>,
}

/// One machine that hears strangers and lying members.
pub(crate) fn heartbeat(input: &[u8]) {
    let mut bed = Bed {
        machine: machine(ME),
        now: Instant::ZERO,
        sequence: 0,
        last: Vec::new(),
        octets: 0,
        members: BTreeSet::new(),
    };
    bed.set_members(7);
    bed.drain();
    for operation in super::operations(input, 64) {
        bed.apply(operation);
        bed.drain();
        bed.check();
    }
}

impl Bed {
    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Raw { from, bytes } => self.receive(from % 4, bytes),
            Operation::Signed { from, fields } => self.receive(from % 4, seal(&fields)),
            Operation::Beat { peer, ahead, phase, interval, echo, digests, more } => {
                self.sequence += u64::from(ahead % 4);
                let peer = peer % 3;
                let beat = Beat {
                    sender: PEERS[usize::from(peer)],
                    receiver: ME,
                    stamp: (1 + u64::from(ahead / 64), 0, self.sequence),
                    phase: phase % 5,
                    interval_micros: interval,
                    echo: match echo {
                        Echo::None => None,
                        Echo::Hears => Some((BOOT.seconds, BOOT.random, 1)),
                        Echo::Deaf => Some((BOOT.seconds, BOOT.random, 0)),
                        Echo::Other(seconds, random, now) => Some((seconds, random, now)),
                    },
                    digests,
                };
                let mut fields = beat.fields();
                more.iter().for_each(|more| put(&mut fields, more.kind, &more.value));
                self.receive(peer, seal(&fields));
            }
            Operation::Damaged { bit } => {
                // The next one is damaged from the same packet: two times the same bit would be none.
                let whole = self.last.clone();
                let mut bytes = whole.clone();
                let bits = bytes.len() * 8;
                if bits > 0 {
                    let bit = usize::from(bit) % bits;
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    let before = self.machine.counters().accepted;
                    self.receive(0, bytes);
                    assert_eq!(self.machine.counters().accepted, before, "a damaged packet was believed");
                    self.last = whole;
                }
            }
            Operation::Members { mask } => self.set_members(mask % 8),
            Operation::Keys { number } => {
                let own = Key::derive(SECRET, CLUSTER);
                let other = Key::derive(&[number], CLUSTER);
                let keys = [own, other].into_iter().take(usize::from(number % 3)).filter_map(Result::ok);
                self.machine.set_keys(keys.collect(), self.now);
            }
            Operation::Wait { millis } => {
                self.now += Duration::from_millis(millis.into());
                self.machine.handle_timeout(self.now);
                let next = self.machine.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "{next:?} is not after {:?}", self.now);
            }
            Operation::Leave => self.machine.leave(self.now),
        }
    }

    fn set_members(&mut self, mask: u8) {
        let members = members(mask);
        self.members = members.values().flatten().copied().collect();
        self.machine.set_peers(members, self.now);
    }

    /// Each datagram is counted once, and never believed twice.
    fn receive(&mut self, from: u8, bytes: Vec<u8>) {
        self.octets += bytes.len();
        let before = self.counted();
        self.machine.handle_datagram(address(from), &bytes, self.now);
        assert_eq!(self.counted().0 + self.counted().1, before.0 + before.1 + 1, "counted exactly once");
        let accepted = self.machine.counters().accepted;
        self.machine.handle_datagram(address(from), &bytes, self.now);
        assert_eq!(self.machine.counters().accepted, accepted, "a packet was believed twice");
        self.last = bytes;
    }

    fn counted(&self) -> (u64, u64) {
        let counters = self.machine.counters();
        (counters.accepted, DropReason::ALL.iter().map(|reason| counters.dropped(*reason)).sum())
    }

    fn drain(&mut self) {
        while let Some(event) = self.machine.next_event() {
            if let Event::Send { to, bytes } = event {
                assert!(bytes.len() <= MAX_LEN, "a packet of {} bytes", bytes.len());
                assert!(self.members.contains(&to), "a packet to {to}, who is no member");
            }
        }
    }

    /// What is kept is bounded by what was heard, whoever said it.
    fn check(&self) {
        let mut heard = false;
        for member in self.machine.members() {
            heard |= member.state.is_heard();
            // An address takes five octets at least.
            assert!(member.claims.len() * 5 <= self.octets, "{} claims", member.claims.len());
            assert!(member.profile.is_none_or(|profile| profile.links.len() * 3 <= self.octets));
        }
        assert_eq!(self.machine.hears_anyone(), heard);
        assert_eq!(self.machine.members().count(), self.members.len());
    }
}

/// A profile in any bytes, brought by a member as a profile is brought.
pub(crate) fn profile(input: &[u8]) {
    // What fits into the packets of one pull.
    let input = &input[..input.len().min(4_096)];
    let mut machine = machine(ME);
    let Some(profile) = deliver(&mut machine, input) else { return };
    let mut sender = self::machine(PEERS[0]);
    sender.set_profile(&profile, Instant::ZERO);
    let received = exchange(&mut sender, &mut self::machine(ME));
    assert_eq!(received.as_ref(), Some(&profile), "it means the same when it is told again");
}

/// What the machine makes of these bytes as the profile of a member; `None` when it counts them as unreadable.
fn deliver(machine: &mut Membership, bytes: &[u8]) -> Option<Profile> {
    const PART: usize = 1_024;
    let mut now = Instant::ZERO;
    let digest = sealed::digest(bytes);
    machine.set_peers(members(1), now);
    let total = u32::try_from(bytes.len()).expect("inputs are short");
    let mut sequence = 0;
    let mut tell = |machine: &mut Membership, part: Option<usize>, now: Instant| {
        sequence += 1;
        let beat = Beat {
            sender: PEERS[0],
            receiver: ME,
            stamp: (1, 1, sequence),
            phase: 2,
            interval_micros: 100_000,
            echo: Some((BOOT.seconds, BOOT.random, 1)),
            digests: (0, digest, 0, 0),
        };
        let mut fields = beat.fields();
        if let Some(offset) = part {
            let mut value = digest.to_be_bytes().to_vec();
            value.extend(total.to_be_bytes());
            value.extend(u32::try_from(offset).expect("inputs are short").to_be_bytes());
            value.extend(&bytes[offset..bytes.len().min(offset + PART)]);
            put(&mut fields, sealed::PROFILE_PART, &value);
        }
        machine.handle_datagram(address(0), &seal(&fields), now);
        assert_eq!(machine.counters().accepted, sequence, "an honest packet was refused");
    };
    tell(machine, None, now);
    // It asks for what it does not have.
    now += Duration::from_millis(50);
    machine.handle_timeout(now);
    for offset in (0..bytes.len().max(1)).step_by(PART) {
        tell(machine, Some(offset), now);
    }
    let told = std::iter::from_fn(|| machine.next_event()).find_map(|event| match event {
        Event::Profile { profile, .. } => Some(profile),
        Event::Send { .. }
        | Event::Ask { .. }
        | Event::Failing { .. }
        | Event::State { .. }
        | Event::Restarted { .. }
        | Event::Claims { .. }
        | Event::Questions { .. }
        | Event::Doubted(_)
        | Event::Settled
        | Event::Stalled { .. } => None,
    });
    let unreadable = machine.counters().unreadable_profiles;
    assert_eq!(unreadable, u64::from(told.is_none()), "a profile is either told or counted as unreadable");
    let known = machine.member(PEERS[0]).and_then(|member| member.profile.cloned());
    assert_eq!(known, told);
    told
}

/// Two machines that hear each other for half a second: what the second one knows of the first one's profile.
fn exchange(sender: &mut Membership, receiver: &mut Membership) -> Option<Profile> {
    let mut now = Instant::ZERO;
    let me = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99)), 7946);
    sender.set_peers(BTreeMap::from([(ME.into(), vec![me])]), now);
    receiver.set_peers(members(1), now);
    for _ in 0..500 {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            while let Some(event) = sender.next_event() {
                if let Event::Send { bytes, .. } = event {
                    receiver.handle_datagram(address(0), &bytes, now);
                    quiet = false;
                }
            }
            while let Some(event) = receiver.next_event() {
                if let Event::Send { bytes, .. } = event {
                    sender.handle_datagram(me, &bytes, now);
                    quiet = false;
                }
            }
        }
        now += Duration::from_millis(1);
        sender.handle_timeout(now);
        receiver.handle_timeout(now);
    }
    receiver.member(PEERS[0]).and_then(|member| member.profile.cloned())
}
