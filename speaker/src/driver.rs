//! The loop of the speaker. It hands what happens to the machine, one thing at a time, and carries out what the machine
//! commands, in order. It makes no decisions.
//!
//! ```text
//! membership socket ── datagrams ──┐                     ┌─▶ membership socket
//! ARP, ND sockets ──── frames ─────┤                     ├─▶ ARP, ND sockets, groups
//! netlink task ─(64)── links ──────┼─▶ machine ─commands─┼─▶ forwarder task ─(1)─▶ nft
//! secret task ──(1)─── keys ───────┤                     ├─▶ outbox: at most 8 writes in flight ─▶ Store
//! forwarder task (1) ─ results ────┤                     └─▶ reporter task: at most 1 write in flight
//! Source ───────────── observations┘
//! ```
//!
//! A full channel makes its task wait; nothing is dropped in one. Frames and datagrams are dropped by the kernel when its
//! socket buffers are full, and counted there.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use landfall_engine::{
    Announced, Command, IfIndex, Input, Link, forwarding::ForwardingTable, links::Usable, membership::Key,
    speaker::Speaker, verification::Verified,
};
use landfall_kubernetes::{
    clock::{date, until},
    lease::Appointment,
    source::Source,
    state::{self, Reporter},
    write::{EventWrite, L2Status, Severity, WriteError},
};
use landfall_model::{Instant, Observation, ServiceKey, Verdict, Verification};
use landfall_probes::Gate;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::BootClock,
    configuration::Configuration,
    metrics::{Metrics, Shared},
    outbox::{Done, Outbox},
    sockets::{FrameKind, FrameSocket, Groups, PeerSocket},
};

/// Datagrams, frames or observations taken at once.
const BATCH: usize = 64;
/// Batches of frames and datagrams in a row before everything else has its turn: a flood delays, and starves nothing.
const ROWS: u32 = 8;
/// After the first lists were complete, statuses of an earlier process stay this long, for addresses that come back.
const TIDY_OWN_AFTER: Duration = Duration::from_secs(10);
/// Statuses that another node could not take back, because it died, stay this long.
const TIDY_OTHER_AFTER: Duration = Duration::from_secs(3);
/// Writes that are under way at the end are waited for this long.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Frames with their interfaces.
type Received = io::Result<Vec<(IfIndex, Vec<u8>)>>;

/// Everything that the loop works with.
pub(crate) struct Driver {
    pub(crate) machine: Shared,
    pub(crate) metrics: Metrics,
    pub(crate) node: Box<str>,
    pub(crate) peers: PeerSocket,
    pub(crate) arp: Arc<FrameSocket>,
    pub(crate) neighbors: Arc<FrameSocket>,
    pub(crate) groups: Groups,
    pub(crate) links: mpsc::Receiver<(IfIndex, Option<Link>)>,
    pub(crate) keys: mpsc::Receiver<Vec<Key>>,
    pub(crate) tables: mpsc::Sender<ForwardingTable>,
    pub(crate) forwarded: mpsc::Receiver<Result<(), Box<str>>>,
    pub(crate) source: Source,
    /// Standalone only.
    pub(crate) appointment: Option<Appointment>,
    pub(crate) outbox: Outbox,
    /// Says whether the configuration can be used.
    pub(crate) reporter: Reporter,
    pub(crate) synced: Gate,
    pub(crate) keyed: Gate,
    pub(crate) configuration: Configuration,
    /// The first lists of the API server are complete, and not only what the node remembers.
    pub(crate) listed: bool,
    /// Nodes whose statuses are to be looked at, and when.
    pub(crate) tidy: BTreeMap<Box<str>, Instant>,
    pub(crate) clock: BootClock,
    pub(crate) finished: bool,
}

impl Driver {
    /// Runs until the machine has handed everything over after `shutdown`.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) {
        let mut leaving = false;
        let mut row = 0;
        let mut timed = false;
        while !self.finished {
            let now = self.now();
            let timer = until(self.machine.lock().speaker.poll_timeout(), now);
            let flooded = row >= ROWS;
            row = if flooded { 0 } else { row + 1 };
            // A machine with much to do asks for its next turn at once; others have theirs in between.
            let again = std::mem::take(&mut timed);
            tokio::select! {
                biased;
                // 1. Time. What peers said before must be heard first, or they would seem to be late.
                () = timer, if !again => {
                    timed = true;
                    let waiting = self.peers.receive(BATCH).now_or_never();
                    self.hear(waiting.unwrap_or_default());
                    self.with(|machine, now| machine.handle_timeout(now));
                }
                // 2. Peers.
                datagrams = self.peers.receive(BATCH), if !flooded => self.hear(datagrams),
                // 3. Clients that ask.
                (kind, frames) = frames(&self.arp, &self.neighbors, row % 2 == 0), if !flooded => {
                    self.answer(kind, frames);
                }
                // 4. The end, once.
                () = shutdown.cancelled(), if !leaving => {
                    leaving = true;
                    self.hand_in(Input::Shutdown);
                }
                // 5. Interfaces, rules and keys.
                Some((index, link)) = self.links.recv() => {
                    if link.is_none() {
                        self.groups.forget(index);
                    }
                    self.hand_in(Input::Link(index, link));
                }
                Some(result) = self.forwarded.recv() => self.hand_in(Input::Forwarding(result)),
                Some(keys) = self.keys.recv() => {
                    self.keyed.set(!keys.is_empty());
                    self.hand_in(Input::Keys(keys));
                }
                // 6. What became of writes.
                Some(done) = self.outbox.next(), if !self.outbox.is_idle() => self.settle(&done),
                Some(result) = self.reporter.next() => self.metrics.written("configuration", result),
                () = until(self.tidy.values().min().copied(), now) => self.start_tidying(),
                // 7. The cluster.
                Some(observation) = self.source.next() => {
                    let mut synced = self.observe(observation);
                    for _ in 1..BATCH {
                        let Some(observation) = self.source.try_next() else { break };
                        synced |= self.observe(observation);
                    }
                    self.tell();
                    if synced {
                        self.tidy.insert(self.node.clone(), self.now() + TIDY_OWN_AFTER);
                    }
                }
                // 8. Everything above had its turn.
                () = tokio::task::yield_now(), if flooded || again => {}
            }
        }
        drop(tokio::time::timeout(LAST_WRITES, self.last_writes()).await);
    }

    async fn last_writes(&mut self) {
        self.reporter.stop();
        while let Some(done) = self.outbox.next().await {
            self.settle(&done);
        }
        while let Some(result) = self.reporter.next().await {
            self.metrics.written("configuration", result);
        }
    }

    /// Tells the verdict on the configuration, if it may have changed. What the node remembers is no ground for one.
    fn tell(&mut self) {
        if self.listed
            && let Some(faults) = self.configuration.judge()
        {
            self.metrics.client.config_stale.set(!faults.is_empty());
            self.reporter.tell(state::Verdict::of(faults));
        }
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn hand_in(&mut self, input: Input) {
        self.with(|machine, now| machine.handle(input, now));
    }

    /// Calls the machine once and carries out what it commands.
    fn with(&mut self, call: impl FnOnce(&mut Speaker, Instant)) {
        let now = self.now();
        let machine = self.machine.clone();
        let mut machine = machine.lock();
        call(&mut machine.speaker, now);
        while let Some(command) = machine.speaker.next_command() {
            if let Command::Status { service, announced } = &command {
                match announced {
                    Some(Announced { links, .. }) => {
                        let before = machine.announced.insert(service.clone(), links.clone());
                        if before.as_ref() != Some(links) {
                            log_links(service, links);
                        }
                    }
                    None => {
                        machine.announced.remove(service);
                    }
                }
            }
            self.carry_out(command);
        }
    }

    fn hear(&mut self, datagrams: Vec<(SocketAddr, Vec<u8>)>) {
        for (from, bytes) in datagrams {
            self.hand_in(Input::Datagram { from, bytes });
        }
    }

    fn answer(&mut self, kind: FrameKind, frames: Received) {
        match frames {
            Ok(frames) => {
                for (interface, bytes) in frames {
                    self.hand_in(Input::Frame { interface, bytes });
                }
            }
            Err(error) => {
                tracing::warn!(op = "receive", kind = kind.as_str(), %error, "frames could not be received");
            }
        }
    }

    /// True for the observation that says that everything was listed.
    fn observe(&mut self, observation: Observation) -> bool {
        self.metrics.client.updates.inc();
        self.configuration.observe(&observation);
        let synced = observation == Observation::Synced;
        if synced {
            self.metrics.client.config_loaded.set(true);
            self.synced.set(true);
            self.listed = self.source.health().synced();
        }
        self.hand_in(Input::Observed(observation));
        synced
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::SendFrame { interface, bytes } => self.send_frame(interface, &bytes),
            Command::SendDatagram { to, bytes } => {
                if let Err(error) = self.peers.send(to, &bytes) {
                    tracing::trace!(op = "send", peer = %to, %error, "a heartbeat was not sent");
                    self.metrics.datagrams_unsent.inc();
                }
            }
            Command::Group { interface, group, join: true } => {
                if let Err(error) = self.groups.join(interface, group) {
                    let cause = &error.source;
                    tracing::warn!(op = "join", interface = interface.0, error = %cause, "{error}");
                }
            }
            Command::Group { interface, group, join: false } => self.groups.leave(interface, group),
            Command::Listen(ranges) => {
                self.arp.listen(&ranges);
                self.neighbors.listen(&ranges);
            }
            Command::Forward(table) => {
                // The machine waits for the answer before it sends another, so there is room.
                if self.tables.try_send(table).is_err() {
                    tracing::error!(op = "forward", "the forwarder does not take another table");
                }
            }
            Command::Status { service, announced } => {
                let now = self.now();
                self.outbox.status(service, announced.map(|announced| l2_status(announced, now)));
            }
            Command::Event { service, uid, warning, reason, message } => {
                let severity = if warning { Severity::Warning } else { Severity::Normal };
                let event = EventWrite { service, uid, severity, reason, action: "Announce", message };
                if !self.outbox.event(event) {
                    self.metrics.events_dropped.inc();
                }
            }
            Command::Ownership { address, from, to, reason } => {
                self.metrics.owner_changed(reason);
                let (before, after) = (from.as_deref().unwrap_or("-"), to.as_deref().unwrap_or("-"));
                tracing::info!(op = "own", %address, from = before, node = after, %reason, "the owner changed");
                // A node that died cannot take its own statuses back.
                if let Some(from) = from.filter(|from| *from != self.node && to.as_ref() == Some(&self.node))
                {
                    self.tidy.insert(from, self.now() + TIDY_OTHER_AFTER);
                }
            }
            Command::TookOver { address, reason, after } => {
                self.metrics.took_over(reason, after);
                tracing::debug!(op = "own", %address, node = %self.node, %reason, ?after, "announced what another node had");
            }
            Command::Lost { node, after } => {
                self.metrics.lost(after);
                tracing::debug!(op = "own", node = %self.node, lost = %node, ?after, "another speaker counts as dead");
            }
            Command::CutOff(true) => {
                self.metrics.cut_off.set(1);
                tracing::warn!(op = "own", node = %self.node, "this node hears no other and no gateway, or too few others: it \
                    is cut off, and answers for no address until that changes");
            }
            Command::CutOff(false) => {
                self.metrics.cut_off.set(0);
                tracing::info!(op = "own", node = %self.node, "this node is no longer cut off");
            }
            Command::Adopt(assigned) => self.outbox.adopt(assigned),
            Command::Lead(leads) => {
                tracing::info!(op = "lead", node = %self.node, leads, "whether this machine decides about addresses");
                if let Some(appointment) = &self.appointment {
                    appointment.set(leads);
                }
            }
            Command::Finished => self.finished = true,
        }
    }

    fn send_frame(&self, interface: IfIndex, bytes: &[u8]) {
        let is_arp = bytes.get(12..14) == Some(&[0x08, 0x06]);
        let (kind, socket) =
            if is_arp { (FrameKind::Arp, &self.arp) } else { (FrameKind::Neighbor, &self.neighbors) };
        if let Err(error) = socket.send(interface, bytes) {
            tracing::debug!(op = "send", interface = interface.0, %error, "a frame was not sent");
            self.metrics.frame_unsent(kind.as_str());
        }
    }

    fn start_tidying(&mut self) {
        let now = self.now();
        for (node, _) in self.tidy.extract_if(.., |_, at| *at <= now) {
            self.outbox.tidy(&node);
        }
    }

    fn settle(&self, done: &Done) {
        let (kind, error) = done.outcome();
        self.metrics.written(kind, error.map_or("ok", WriteError::kind));
        if let Some(error) = error {
            tracing::warn!(op = "write", kind, reason = error.kind(), %error, "a write failed");
        }
    }
}

/// The next frames of either kind. Those of one kind go first if both have some: in turn, so that a flood of one does not
/// starve the other.
async fn frames(arp: &FrameSocket, neighbors: &FrameSocket, arp_first: bool) -> (FrameKind, Received) {
    let arp = arp.receive(BATCH).map(|frames| (FrameKind::Arp, frames));
    let neighbors = neighbors.receive(BATCH).map(|frames| (FrameKind::Neighbor, frames));
    if arp_first {
        tokio::select! { biased; frames = arp => frames, frames = neighbors => frames }
    } else {
        tokio::select! { biased; frames = neighbors => frames, frames = arp => frames }
    }
}

/// One line, unless the addresses of the Service are announced for different reasons.
fn log_links(service: &ServiceKey, links: &BTreeSet<Usable>) {
    for usable in links {
        let (interface, reason) = (usable.names(), usable.choice);
        tracing::info!(op = "announce", %service, interface, %reason, "announcing the Service");
    }
}

fn l2_status(announced: Announced, now: Instant) -> L2Status {
    let Announced { interfaces, links, verified, gap } = announced;
    let texts: Vec<String> = links.iter().map(Usable::to_string).collect();
    let gap_ms = gap.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
    let none = Verification { result: Verdict::Pending, since: None, by: None, other: None, gap_ms };
    let found =
        |result, at, by| Verification { result, since: Some(date(at, now)), by: Some(by), ..none.clone() };
    let verification = match verified {
        Verified::Confirmed { at, by } => found(Verdict::Verified, at, by),
        Verified::Pending => none,
        Verified::Unable => Verification { result: Verdict::Unable, ..none },
        Verified::Wrong { at, by, answer: None, .. } => found(Verdict::Silent, at, by),
        Verified::Wrong { at, by, answer: Some(mac), .. } => {
            Verification { other: Some(mac.to_string().into()), ..found(Verdict::Wrong, at, by) }
        }
    };
    L2Status { interfaces, announced_on: texts.join(", ").into(), verification: Some(verification) }
}

#[cfg(test)]
mod tests {
    use landfall_engine::links::LinkChoice;

    use super::*;

    #[test]
    fn interfaces_and_reasons_become_one_text() {
        let on = |names: &[&str], choice| Usable {
            interfaces: names.iter().map(|name| Box::from(*name)).collect(),
            choice,
        };
        let text = |links: &[Usable]| {
            let announced = Announced { links: links.iter().cloned().collect(), ..Announced::default() };
            l2_status(announced, Instant::ZERO).announced_on
        };
        assert_eq!(&*text(&[on(&["eth0"], LinkChoice::Subnet)]), "eth0 (Subnet)");
        let families = [on(&["eth1", "eth0"], LinkChoice::DefaultRoute), on(&["br0"], LinkChoice::Subnet)];
        assert_eq!(&*text(&families), "br0 (Subnet), eth0,eth1 (DefaultRoute)");
    }
}
