//! What befalls the world.

use std::time::Duration;

use landfall_engine::{
    Input,
    links::NamePattern,
    membership::{BootId, Key, Timing},
    speaker::{Minority, Settings, Speaker},
};
use landfall_model::{Observation, PreferredNode};

use crate::{
    host::{ETH0, Machine},
    judge::Judge,
    objects::{see_node, see_service, see_slice, slice},
    script::Action,
    world::{Delivery, PORT, World, service_view},
};

impl World {
    pub(crate) fn act(&mut self, action: Action) {
        self.judge.disturbed(self.now);
        match action {
            Action::Kill(n) => {
                self.kill(n);
                self.judge.process_away();
            }
            Action::Start(n) => self.start(n),
            Action::Leave(n) => self.input(n, Input::Shutdown),
            Action::Stall(n) => {
                self.hosts[n].stalled = true;
                self.judge.process_away();
            }
            Action::Resume(n) => self.resume(n),
            Action::PowerOff(n) => {
                self.kill(n);
                self.hosts[n].machine = Machine::Off;
            }
            Action::PowerOn(n) if self.hosts[n].machine == Machine::Off => {
                self.hosts[n].machine = Machine::Up;
                self.hosts[n].clock.set_stopped(false, self.now);
                self.start(n);
            }
            Action::Suspend(n) if self.hosts[n].machine == Machine::Up => {
                self.hosts[n].machine = Machine::Suspended;
            }
            Action::Freeze(n) if self.hosts[n].machine == Machine::Up => {
                self.hosts[n].machine = Machine::Frozen;
                self.hosts[n].clock.set_stopped(true, self.now);
            }
            Action::Wake(n) if matches!(self.hosts[n].machine, Machine::Suspended | Machine::Frozen) => {
                self.hosts[n].machine = Machine::Up;
                self.hosts[n].clock.set_stopped(false, self.now);
                if !self.hosts[n].stalled {
                    self.resume(n);
                }
            }
            // The machine is not in a state in which this could happen to it.
            Action::PowerOn(_) | Action::Suspend(_) | Action::Freeze(_) | Action::Wake(_) => {}
            Action::Unplug(n) => drop(self.wires.unplugged.insert(n)),
            Action::Plug(n) => drop(self.wires.unplugged.remove(&n)),
            Action::Cut(n) => drop(self.wires.away.insert(n)),
            Action::Heal => {
                self.wires.away.clear();
                self.wires.deaf.clear();
            }
            Action::Deaf(from, to) => drop(self.wires.deaf.insert((from, to))),
            Action::Loss(percent) => self.wires.loss = percent,
            Action::Drift(n, ppm) => {
                self.hosts[n].clock.set_speed(ppm, self.now);
                self.arm(n);
            }
            Action::Api(on) => self.set_api(on),
            Action::Exclude(n, on) => {
                self.hosts[n].excluded = on;
                self.see(see_node(self.hosts[n].view()));
            }
            Action::Ready(n, on) => {
                self.hosts[n].ready = on;
                self.see(see_node(self.hosts[n].view()));
            }
            Action::Endpoints(n, on) => self.serve(n, on),
            Action::Prefer(n, node) => self.prefer(n, node),
        }
        for number in 0..self.hosts.len() {
            self.look_at(number);
            self.arm(number);
        }
        Judge::look_around(self);
    }

    /// What the world looks like changes: the endpoints of a Service.
    pub(crate) fn serve(&mut self, number: usize, on: bool) {
        self.served[number] = on;
        let nodes: &[&str] = if on { &["n0"] } else { &[] };
        self.see(see_slice(slice(&format!("s{number}"), nodes)));
    }

    /// A person asks for the owner of a Service.
    fn prefer(&mut self, number: usize, node: Option<usize>) {
        let mut view = service_view(number);
        view.requests.preferred_node = node.map(|node| PreferredNode {
            node: self.hosts[node].name.clone(),
            requested: self.now.as_micros().to_string().into(),
        });
        self.see(see_service(view));
    }

    pub(crate) fn start(&mut self, number: usize) {
        let seconds = self.now.as_micros() / 1_000_000;
        let host = &mut self.hosts[number];
        if host.speaker.is_some() || !host.has_kernel() {
            return;
        }
        host.boots += 1;
        host.finished = false;
        host.stalled = false;
        host.believes.clear();
        host.speaker = Some(Speaker::new(Settings {
            node: host.name.clone(),
            cluster: landfall_engine::cluster::Settings::default(),
            boot: BootId { seconds, random: host.boots },
            seed: number as u64 * 1_000 + host.boots,
            timing: Timing::default(),
            port: PORT,
            exclude: NamePattern::defaults(),
            node_port: true,
            relays: true,
            version: "0".into(),
            standalone: false,
            minority: Minority::Serve,
            fail_back: self.fail_back,
            refresh: Some(Duration::from_secs(300)),
        }));
        let link = host.link();
        let boot = host.boots;
        self.input(number, Input::Link(ETH0, Some(link)));
        let key = Key::derive(b"a secret of this cluster", "cluster").expect("invariant: it is long enough");
        self.input(number, Input::Keys(vec![key]));
        let listed: Vec<Observation> = self.objects.iter().chain([&Observation::Synced]).cloned().collect();
        for observation in listed {
            // What is listed is read at once; what changes meanwhile comes after it.
            self.schedule(1_000, Delivery::Local { to: number, boot, input: Input::Observed(observation) });
        }
    }

    fn kill(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        host.speaker = None;
        host.stalled = false;
        host.backlog.clear();
        self.arm(number);
    }

    /// What waits in its sockets is read first, as the driver does, which reads datagrams before it looks at the time.
    fn resume(&mut self, number: usize) {
        self.hosts[number].stalled = false;
        for input in std::mem::take(&mut self.hosts[number].backlog) {
            self.input(number, input);
        }
        self.arm(number);
    }

    fn set_api(&mut self, on: bool) {
        self.api = on;
        if on {
            for observation in std::mem::take(&mut self.withheld) {
                self.see(observation);
            }
        }
    }

    /// The API server holds this from now on, and the speakers see it some milliseconds later.
    pub(crate) fn see(&mut self, observation: Observation) {
        if !self.api {
            self.withheld.push(observation);
            return;
        }
        self.objects.retain(|other| other.object() != observation.object());
        self.objects.push(observation.clone());
        for number in 0..self.hosts.len() {
            if self.hosts[number].speaker.is_some() {
                let boot = self.hosts[number].boots;
                let input = Input::Observed(observation.clone());
                self.schedule(2_000 + number as u64 % 7 * 1_700, Delivery::Local { to: number, boot, input });
            }
        }
    }
}
