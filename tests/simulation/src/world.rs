use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use landfall_engine::{Command, IfIndex, Input, speaker::Speaker, wire::Frame};
use landfall_model::{Instant, Observation, ServiceView, SpeakerView};

use crate::{
    chance::Random,
    host::{ETH0, Host, number_of},
    judge::{Judge, Violation},
    objects::{advertisement, pool, see_advertisement, see_node, see_pool, see_service, service},
    script::Script,
    wires::{Wires, is_broadcast, service_address, service_of, service_probed},
};

pub(crate) const PORT: u16 = 7946;
/// A speaker that does more than this at one moment never comes to an end.
const MOST_STEPS: usize = 100_000;

#[derive(Debug)]
pub(crate) enum Delivery {
    Datagram {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Frame {
        to: usize,
        bytes: Vec<u8>,
    },
    /// From the process's own kernel or from the API server: no segment between.
    Local {
        to: usize,
        boot: u64,
        input: Input,
    },
}

/// A Service as it is at the beginning.
pub(crate) fn service_view(number: usize) -> ServiceView {
    service(&format!("s{number}"), &[&service_address(number).to_string()])
}

/// The nodes, the segment between them, the API server, and the time.
#[derive(Debug)]
pub struct World {
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) wires: Wires,
    random: Random,
    queue: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
    /// When each process wants to be woken.
    timers: BTreeSet<(Instant, usize)>,
    timer_of: Vec<Option<Instant>>,
    /// What the API server holds, to list it for a process that starts.
    pub(crate) objects: Vec<Observation>,
    pub(crate) api: bool,
    pub(crate) fail_back: Option<Duration>,
    /// What the speakers have not seen of it while it was away.
    pub(crate) withheld: Vec<Observation>,
    pub(crate) served: Vec<bool>,
    pub(crate) judge: Judge,
    log: Vec<String>,
}

impl World {
    /// Runs a script to its end. Gives what happened, a line for each event, and the rules that were broken.
    #[must_use]
    pub fn play(script: &Script) -> (Vec<String>, Vec<Violation>) {
        let mut world = Self::new(script);
        for step in &script.steps {
            world.run_until(world.start + Duration::from_millis(step.at));
            world.log(format_args!("{}", step.action));
            world.act(step.action);
        }
        world.run_until(world.start + Duration::from_millis(script.until));
        (world.log, world.judge.finish())
    }

    pub(crate) fn new(script: &Script) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut world = Self {
            now,
            start: now,
            hosts: (0..script.nodes).map(|number| Host::new(number, now)).collect(),
            wires: Wires::default(),
            random: Random::new(script.seed),
            queue: BTreeMap::new(),
            sequence: 0,
            timers: BTreeSet::new(),
            timer_of: vec![None; script.nodes],
            objects: Vec::new(),
            api: true,
            fail_back: script.fail_back.map(Duration::from_millis),
            withheld: Vec::new(),
            served: vec![true; script.services],
            judge: Judge::new(script.nodes, now),
            log: Vec::new(),
        };
        world.see(see_pool(pool("lan", &["10.0.0.0/24"])));
        world.see(see_advertisement(advertisement("all")));
        for number in 0..script.nodes {
            let host = &world.hosts[number];
            let speaker = SpeakerView { node: host.name.clone(), addresses: vec![host.address().into()] };
            let pod = format!("speaker-{}", host.name).into();
            let view = host.view();
            world.see(see_node(view));
            world.see(Observation::Speaker(pod, Some(speaker)));
        }
        for number in 0..script.services {
            world.serve(number, true);
            world.see(see_service(service_view(number)));
        }
        for number in 0..script.nodes {
            world.start(number);
        }
        world
    }

    /// No packet is lost, nobody is deaf, and the speakers know what the API server has.
    pub(crate) fn is_peaceful(&self) -> bool {
        self.wires.loss == 0 && !self.wires.one_way() && self.withheld.is_empty()
    }

    pub(crate) fn run_until(&mut self, end: Instant) {
        let mut steps = 0;
        let most = MOST_STEPS.max(10 * self.hosts.len() * self.hosts.len());
        loop {
            let due = self.queue.keys().next().map(|(at, _)| *at);
            let timer = self.timers.first().copied();
            let deadline = self.judge.next_check();
            let times = [due, timer.map(|(at, _)| at), deadline];
            let Some(next) = times.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            if next > self.now {
                steps = 0;
                self.now = next;
            }
            steps += 1;
            assert!(steps < most, "the speakers are busy without an end at {:?}", self.now);
            if due.is_some_and(|due| due <= self.now) {
                if let Some((_, delivery)) = self.queue.pop_first() {
                    self.deliver(delivery);
                }
            } else if let Some((_, number)) = timer.filter(|(at, _)| *at <= self.now) {
                self.timeout(number);
            } else {
                Judge::check(self);
            }
        }
        self.now = end;
        Judge::check(self);
    }

    pub(crate) fn schedule(&mut self, micros: u64, delivery: Delivery) {
        self.sequence += 1;
        self.queue.insert((self.now + Duration::from_micros(micros), self.sequence), delivery);
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Datagram { to, from, bytes } => self.input(to, Input::Datagram { from, bytes }),
            Delivery::Frame { to, bytes } => {
                if !self.hosts[to].has_kernel() {
                    return;
                }
                let answer = Frame::parse(&bytes).ok().and_then(|frame| self.hosts[to].kernel_answer(&frame));
                if let Some(answer) = answer {
                    self.transmit(to, answer.emit());
                }
                self.input(to, Input::Frame { interface: ETH0, bytes });
            }
            Delivery::Local { to, boot, input } => {
                if self.hosts[to].boots == boot {
                    self.input(to, input);
                }
            }
        }
    }

    pub(crate) fn input(&mut self, number: usize, input: Input) {
        let now = self.now;
        let host = &mut self.hosts[number];
        if host.speaker.is_none() || host.finished {
            return;
        }
        if host.runs() {
            let own = host.clock.read(now);
            if let Some(speaker) = &mut host.speaker {
                speaker.handle(input, own);
            }
            self.drain(number);
            return;
        }
        // A machine that sleeps loses what is sent to it; what its own kernel or the API server has to tell waits.
        let from_segment = matches!(input, Input::Datagram { .. } | Input::Frame { .. });
        if host.has_kernel() || !from_segment {
            host.backlog.push_back(input);
        }
    }

    fn timeout(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let own = host.clock.read(self.now);
        if let Some(speaker) = &mut host.speaker {
            speaker.handle_timeout(own);
        }
        self.drain(number);
    }

    pub(crate) fn arm(&mut self, number: usize) {
        let host = &self.hosts[number];
        let wanted = host.speaker.as_ref().filter(|_| host.runs()).and_then(Speaker::poll_timeout);
        let wanted = wanted.map(|own| host.clock.when(own).max(self.now));
        if let Some(at) = std::mem::replace(&mut self.timer_of[number], wanted) {
            self.timers.remove(&(at, number));
        }
        if let Some(at) = wanted {
            self.timers.insert((at, number));
        }
    }

    fn drain(&mut self, number: usize) {
        while let Some(command) = self.hosts[number].speaker.as_mut().and_then(Speaker::next_command) {
            match command {
                Command::SendDatagram { to, bytes } => self.send(number, to, bytes),
                Command::SendFrame { interface, bytes } => self.send_frame(number, interface, bytes),
                Command::Forward(_) => {
                    let boot = self.hosts[number].boots;
                    let input = Input::Forwarding(Ok(()));
                    self.schedule(3_000, Delivery::Local { to: number, boot, input });
                }
                Command::Ownership { address, from, to, reason } => {
                    let me = self.hosts[number].name.clone();
                    if to.as_deref() == Some(&*me) {
                        let before = from.as_deref().unwrap_or("nobody");
                        self.log(format_args!("{me} takes {address} from {before}: {reason}"));
                        let from = from.as_deref().and_then(|name| name.strip_prefix('n')?.parse().ok());
                        Judge::takes(self, number, address, from, reason);
                    }
                    self.hosts[number].believes.insert(address, to);
                }
                Command::Finished => self.hosts[number].finished = true,
                Command::Group { .. }
                | Command::Listen(_)
                | Command::Status { .. }
                | Command::Event { .. }
                | Command::Adopt(_)
                | Command::CutOff(_)
                | Command::TookOver { .. }
                | Command::Lost { .. }
                | Command::Lead(_) => {}
            }
        }
        if self.hosts[number].finished {
            self.hosts[number].speaker = None;
        }
        self.look_at(number);
        self.arm(number);
    }

    /// Notes who begins and ceases to answer.
    pub(crate) fn look_at(&mut self, number: usize) {
        let host = &self.hosts[number];
        let listening = host.speaker.as_ref().filter(|_| host.runs()).map(Speaker::responder);
        let answers: BTreeSet<IpAddr> = listening
            .into_iter()
            .flat_map(|responder| responder.counters())
            .map(|(address, _)| address)
            .collect();
        if answers == host.answers {
            return;
        }
        let name = host.name.clone();
        let before = std::mem::replace(&mut self.hosts[number].answers, answers.clone());
        for address in before.difference(&answers) {
            self.log(format_args!("{name} is silent about {address}"));
        }
        for address in answers.difference(&before) {
            self.log(format_args!("{name} answers for {address}"));
        }
        Judge::answers_changed(self);
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        let Some(target) = number_of(to.ip()).filter(|number| *number < self.hosts.len()) else { return };
        if let Some(delay) = self.passage(from, target) {
            let from = SocketAddr::new(self.hosts[from].address().into(), PORT);
            self.schedule(delay, Delivery::Datagram { to: target, from, bytes });
        }
    }

    fn send_frame(&mut self, number: usize, interface: IfIndex, bytes: Vec<u8>) {
        assert_eq!(interface, ETH0, "there is one interface");
        if let Some(address) = service_of(&bytes) {
            let name = self.hosts[number].name.clone();
            let kind = if is_broadcast(&bytes) { "announces" } else { "tells of" };
            self.log(format_args!("{name} {kind} {address}"));
            Judge::speaks(self, number, address);
        }
        if let Some(address) = service_probed(&bytes) {
            let name = self.hosts[number].name.clone();
            self.log(format_args!("{name} asks whether anybody has {address}"));
            // Only its owner may.
            Judge::speaks(self, number, address);
        }
        self.transmit(number, bytes);
    }

    /// Puts a frame on the segment, which brings it to whom it is for.
    fn transmit(&mut self, from: usize, bytes: Vec<u8>) {
        for to in 0..self.hosts.len() {
            let meant =
                bytes.first_chunk::<6>().is_some_and(|mac| mac[0] & 1 == 1 || *mac == self.hosts[to].mac().0);
            if to == from || !meant {
                continue;
            }
            if let Some(delay) = self.passage(from, to) {
                self.schedule(delay, Delivery::Frame { to, bytes: bytes.clone() });
            }
        }
    }

    /// How long a packet takes, if it arrives.
    fn passage(&mut self, from: usize, to: usize) -> Option<u64> {
        let lost = self.random.below(100) < u64::from(self.wires.loss);
        let delay = 30 + self.random.below(270);
        (!lost && self.wires.carry(from, to)).then_some(delay)
    }

    fn log(&mut self, what: std::fmt::Arguments<'_>) {
        let at = self.now.since(self.start).as_micros();
        let line = format!("{:>6}.{} {what}", at / 1_000, at % 1_000 / 100);
        match self.log.last_mut().filter(|last| **last == line) {
            // Both forms of an announcement.
            Some(last) => last.push_str(" twice"),
            None => self.log.push(line),
        }
    }

    pub(crate) fn judge(&mut self) -> &mut Judge {
        &mut self.judge
    }
}
