//! Which endpoints answer, asked actively: for targets that no kubelet looks after. The IO sibling is
//! `landfall_speaker::health`.
//!
//! The machine stands between a source of observations and a speaker. Everything passes in order; an EndpointSlice comes
//! out with the endpoints that do not answer marked as neither ready nor serving, and once more whenever that changes. So
//! ownership and forwarding need not know that somebody asks.
//!
//! An endpoint answers when each of its TCP ports does. Ports of other protocols are not asked. The first answer, or its
//! lack, counts at once; afterwards a change must be seen [`Timing::rise`] or [`Timing::fall`] times in a row.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use landfall_model::{
    EndpointSlice, HealthCheck, Instant, Observation, Protocol, Requests, ServiceKey, ServiceView,
};

/// How often is asked, and how much counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From one question to the next of the same target.
    pub interval: Duration,
    /// An answer that takes longer does not count.
    pub timeout: Duration,
    /// Good answers in a row that bring a target back.
    pub rise: u32,
    /// Failures in a row that take a target out.
    pub fall: u32,
}

impl Default for Timing {
    /// Every 2 s, 1 s for the answer, 2 in a row.
    fn default() -> Self {
        Self { interval: Duration::from_secs(2), timeout: Duration::from_secs(1), rise: 2, fall: 2 }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// How.
    pub check: HealthCheck,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand this to the speaker.
    Tell(Observation),
    /// Ask; the answer goes to [`Health::handle_answer`].
    Ask(Target),
    /// Say that a target changed, to people.
    Changed {
        /// The target.
        target: Target,
        /// It answers now.
        up: bool,
    },
    /// Say that an annotation of a Service cannot be read, and that its targets are asked for a TCP connection.
    Unreadable {
        /// The Service.
        service: ServiceKey,
        /// The value.
        value: Box<str>,
    },
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Slices that have it.
    users: BTreeSet<ServiceKey>,
    /// Whether it answers; `None` until the first answer, and then it counts as up.
    up: Option<bool>,
    /// Answers in a row that speak against `up`.
    against: u32,
    asked: bool,
}

/// The machine. Drain [`Health::next_command`] after each call, and call [`Health::handle_timeout`] at
/// [`Health::poll_timeout`]; early calls do nothing, late ones ask later.
#[derive(Debug)]
pub struct Health {
    timing: Timing,
    checks: BTreeMap<ServiceKey, HealthCheck>,
    slices: BTreeMap<ServiceKey, Box<EndpointSlice>>,
    targets: BTreeMap<Target, State>,
    due: BTreeSet<(Instant, Target)>,
    commands: VecDeque<Command>,
}

impl Health {
    /// A machine that has seen nothing.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        Self {
            timing,
            checks: BTreeMap::new(),
            slices: BTreeMap::new(),
            targets: BTreeMap::new(),
            due: BTreeSet::new(),
            commands: VecDeque::new(),
        }
    }

    /// Takes an observation in and hands it on.
    pub fn observe(&mut self, observation: Observation, now: Instant) {
        match observation {
            Observation::EndpointSlice(name, slice) => {
                match slice {
                    Some(slice) => self.slices.insert(name.clone(), slice),
                    None => self.slices.remove(&name),
                };
                self.enlist(&name, now);
                self.tell(name);
            }
            Observation::Service(key, view) => {
                let check = self.check(&key, view.as_deref());
                let before = match check.clone() {
                    HealthCheck::Tcp => self.checks.remove(&key),
                    check @ (HealthCheck::Http(_) | HealthCheck::None) => {
                        self.checks.insert(key.clone(), check)
                    }
                };
                self.commands.push_back(Command::Tell(Observation::Service(key.clone(), view)));
                if before.unwrap_or_default() != check {
                    let of_it = self.slices.iter().filter(|(_, slice)| slice.service == key);
                    for name in of_it.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                        self.enlist(&name, now);
                        self.tell(name);
                    }
                }
            }
            other @ (Observation::Pool(..)
            | Observation::L2Advertisement(..)
            | Observation::Bgp(_)
            | Observation::Node(..)
            | Observation::Namespace(..)
            | Observation::Speaker(..)
            | Observation::Announcement(..)
            | Observation::Invalid(..)
            | Observation::Synced) => self.commands.push_back(Command::Tell(other)),
        }
    }

    /// Takes the answer to a question in. Answers of targets that are gone are ignored.
    pub fn handle_answer(&mut self, target: &Target, good: bool, now: Instant) {
        let Timing { rise, fall, interval, .. } = self.timing;
        let Some(state) = self.targets.get_mut(target) else { return };
        if !std::mem::take(&mut state.asked) {
            return;
        }
        self.due.insert((now + interval, target.clone()));
        state.against = if state.up == Some(good) { 0 } else { state.against.saturating_add(1) };
        let enough = match state.up {
            None => 1,
            Some(true) => fall,
            Some(false) => rise,
        };
        if state.against < enough {
            return;
        }
        state.against = 0;
        let changed = state.up.unwrap_or(true) != good;
        state.up = Some(good);
        if changed {
            self.commands.push_back(Command::Changed { target: target.clone(), up: good });
            for name in state.users.clone() {
                self.tell(name);
            }
        }
    }

    /// To be called at [`Health::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
            && let Some((_, target)) = self.due.pop_first()
        {
            if let Some(state) = self.targets.get_mut(&target) {
                state.asked = true;
                self.commands.push_back(Command::Ask(target));
            }
        }
    }

    /// When the next question is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next thing to do; drain to `None`.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The targets that are asked, and whether each answers; `None`: not known yet.
    pub fn targets(&self) -> impl Iterator<Item = (&Target, Option<bool>)> {
        self.targets.iter().map(|(target, state)| (target, state.up))
    }

    fn check(&mut self, key: &ServiceKey, view: Option<&ServiceView>) -> HealthCheck {
        match view.map(|view| &view.requests) {
            Some(Requests { health_check: Some(Ok(check)), .. }) => check.clone(),
            Some(Requests { health_check: Some(Err(value)), .. }) => {
                let (service, value) = (key.clone(), value.clone());
                self.commands.push_back(Command::Unreadable { service, value });
                HealthCheck::default()
            }
            Some(Requests { health_check: None, .. }) | None => HealthCheck::default(),
        }
    }

    /// Asks the targets of a slice from now on, and those that it has no more no longer.
    fn enlist(&mut self, name: &ServiceKey, now: Instant) {
        let wanted = self.slices.get(name).map(|slice| self.targets_of(slice)).unwrap_or_default();
        let had = self.targets.iter().filter(|(_, state)| state.users.contains(name));
        let gone: Vec<Target> =
            had.map(|(target, _)| target).filter(|target| !wanted.contains(*target)).cloned().collect();
        for target in gone {
            if let Some(state) = self.targets.get_mut(&target) {
                state.users.remove(name);
                if state.users.is_empty() {
                    self.targets.remove(&target);
                    self.due.retain(|(_, due)| *due != target);
                }
            }
        }
        for target in wanted {
            let state = self.targets.entry(target.clone()).or_insert_with(|| {
                self.due.insert((now, target));
                State::default()
            });
            state.users.insert(name.clone());
        }
    }

    fn targets_of(&self, slice: &EndpointSlice) -> BTreeSet<Target> {
        let check = self.checks.get(&slice.service).cloned().unwrap_or_default();
        if check == HealthCheck::None {
            return BTreeSet::new();
        }
        let endpoints = slice.endpoints.iter().filter(|endpoint| endpoint.answers());
        endpoints.flat_map(|endpoint| targets(slice, endpoint.address, &check)).collect()
    }

    /// Hands a slice on as it is seen from here.
    fn tell(&mut self, name: ServiceKey) {
        let seen = self.slices.get(&name).map(|slice| {
            let check = self.checks.get(&slice.service).cloned().unwrap_or_default();
            let mut slice = slice.clone();
            let down =
                |target: &Target| self.targets.get(target).is_some_and(|state| state.up == Some(false));
            let dead: Vec<bool> = slice
                .endpoints
                .iter()
                .map(|endpoint| targets(&slice, endpoint.address, &check).any(|target| down(&target)))
                .collect();
            for (endpoint, _) in slice.endpoints.iter_mut().zip(dead).filter(|(_, dead)| *dead) {
                (endpoint.ready, endpoint.serving) = (false, false);
            }
            slice
        });
        self.commands.push_back(Command::Tell(Observation::EndpointSlice(name, seen)));
    }
}

/// What an endpoint of a slice is asked.
fn targets<'a>(
    slice: &'a EndpointSlice,
    address: std::net::IpAddr,
    check: &'a HealthCheck,
) -> impl Iterator<Item = Target> + 'a {
    let tcp = slice.ports.iter().filter(|port| port.protocol == Protocol::Tcp);
    tcp.map(move |port| Target { address: SocketAddr::new(address, port.port), check: check.clone() })
}
