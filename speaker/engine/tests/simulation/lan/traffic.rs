//! What time brings: frames and datagrams that arrive, or do not, timers, and what the speakers want done.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use landfall_engine::{Command, Input, membership::MemberState, speaker::Speaker};

use super::{
    Announcement, Delivery, ETH0, Host, Lan, PORT, Told,
    frames::{
        CLIENT_CARD, GATEWAY_CARD, claimed_address, gateway_answer, host_address, link_local, mac_of,
        question, rival_frame,
    },
};

impl Lan {
    /// Lets the time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        loop {
            let due = self.queue.keys().next().map(|(at, _)| *at);
            let timer = self
                .hosts
                .iter()
                .enumerate()
                .filter(|(_, host)| !host.paused)
                .filter_map(|(index, host)| Some((host.speaker.as_ref()?.poll_timeout()?, index)))
                .min();
            let next = due.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            if next > self.now {
                steps = 0;
                self.now = next;
            }
            steps += 1;
            assert!(steps < 10_000, "the speakers are busy without an end at {:?}", self.now);
            if due.is_some_and(|due| due <= self.now) {
                let (_, delivery) = self.queue.pop_first().unwrap();
                self.deliver(delivery);
            } else if let Some((_, index)) = timer {
                self.timeout(index);
            }
        }
        self.now = end;
    }

    pub(super) fn schedule(&mut self, micros: u64, delivery: Delivery) {
        self.sequence += 1;
        let at = self.now + Duration::from_micros(micros);
        self.queue.insert((at, self.sequence), delivery);
    }

    pub(super) fn deliver(&mut self, delivery: Delivery) {
        let to = match &delivery {
            Delivery::Datagram { to, .. }
            | Delivery::Frame { to, .. }
            | Delivery::Observed { to, .. }
            | Delivery::Forwarded { to, .. } => *to,
        };
        if self.hosts[to].speaker.is_none() {
            return;
        }
        if self.hosts[to].paused {
            self.hosts[to].backlog.push_back(delivery);
            return;
        }
        match delivery {
            Delivery::Datagram { from, bytes, .. } => self.input(to, Input::Datagram { from, bytes }),
            Delivery::Frame { bytes, .. } => self.input(to, Input::Frame { interface: ETH0, bytes }),
            Delivery::Observed { observation, .. } => self.input(to, Input::Observed(observation)),
            Delivery::Forwarded { boot, .. } if boot == self.hosts[to].boots => {
                let host = &mut self.hosts[to];
                let table = host.sent_table.take();
                let result = if host.forward_fails {
                    Err("the kernel refused the rules".into())
                } else {
                    host.table = table;
                    Ok(())
                };
                self.input(to, Input::Forwarding(result));
            }
            Delivery::Forwarded { .. } => {}
        }
    }

    pub(super) fn input(&mut self, index: usize, input: Input) {
        let now = self.now;
        if let Some(speaker) = &mut self.hosts[index].speaker {
            speaker.handle(input, now);
            self.drain(index);
        }
    }

    fn timeout(&mut self, index: usize) {
        let now = self.now;
        if let Some(speaker) = &mut self.hosts[index].speaker {
            speaker.handle_timeout(now);
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(command) = self.hosts[index].speaker.as_mut().and_then(Speaker::next_command) {
            assert!(self.hosts[index].finished.is_none(), "{command:?} after the end");
            match command {
                Command::SendDatagram { to, bytes } => self.send(index, to, bytes),
                Command::SendFrame { interface, bytes } => {
                    assert_eq!(interface, ETH0);
                    self.frame(index, bytes);
                }
                Command::Listen(_) => {}
                Command::Forward(table) => {
                    let host = &mut self.hosts[index];
                    assert!(host.sent_table.is_none(), "one change at a time");
                    host.sent_table = Some(table);
                    host.tables_seen += 1;
                    let boot = host.boots;
                    let takes = host.forward_takes;
                    self.schedule(takes, Delivery::Forwarded { to: index, boot });
                }
                Command::Status { service, announced } => {
                    let host = &mut self.hosts[index];
                    let interfaces = announced.as_ref().map(|announced| announced.interfaces.clone());
                    let before = match announced {
                        Some(announced) => host.announced.insert(service.clone(), announced),
                        None => host.announced.remove(&service),
                    };
                    host.statuses += 1;
                    if before.map(|before| before.interfaces) != interfaces {
                        host.told.push(Told::Status(service, interfaces));
                    }
                }
                Command::Event { service, reason, message, .. } => {
                    let conflict = reason == "addressConflict";
                    assert!(self.had_rivals || !conflict, "nobody but members is here: {message}");
                    self.hosts[index].told.push(Told::Event(service, reason, message));
                }
                Command::Ownership { address, from, to, reason } => {
                    assert_ne!(from, to);
                    let host = &mut self.hosts[index];
                    let known = host.believes.insert(address, to.clone()).flatten();
                    assert_eq!(known, from, "{} tells a change from what it did not tell", host.name);
                    host.moves.push((address, from, to, reason));
                }
                Command::TookOver { address, reason, after } => {
                    let host = &mut self.hosts[index];
                    let owner = host.believes.get(&address).cloned().flatten();
                    assert_eq!(owner.as_deref(), Some(host.name));
                    let said = self.announcements.iter().rfind(|said| said.address == address);
                    assert_eq!(said.map(|said| (said.at, said.node)), Some((self.now, index)), "{address}");
                    host.took_over.push((address, reason, after));
                }
                Command::Lost { node, after } => {
                    let host = &mut self.hosts[index];
                    let member = host.speaker.as_ref().and_then(|speaker| speaker.membership().member(&node));
                    assert_eq!(member.map(|member| member.state), Some(MemberState::Dead));
                    host.lost.push((node, after));
                }
                Command::CutOff(cut_off) => {
                    assert_ne!(self.hosts[index].cut_off, cut_off, "only changes are told");
                    self.hosts[index].cut_off = cut_off;
                }
                Command::Group { .. } => {}
                Command::Adopt(assigned) => self.adopt(index, &assigned),
                Command::Lead(leads) => {
                    assert_ne!(self.hosts[index].leads, leads, "only changes are told");
                    self.hosts[index].leads = leads;
                }
                Command::Finished => self.hosts[index].finished = Some(self.now),
            }
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        let source = SocketAddr::new(host_address(from), PORT);
        let target = (0..self.hosts.len()).find(|index| SocketAddr::new(host_address(*index), PORT) == to);
        let target = target.expect("a speaker sends to speakers only");
        if self.hosts[target].side != self.hosts[from].side || self.random.below(100) < self.loss {
            return;
        }
        let delay = 50 + self.random.below(450);
        self.schedule(delay, Delivery::Datagram { to: target, from: source, bytes });
    }

    /// Only who believes to own an address may speak for it.
    fn frame(&mut self, from: usize, bytes: Vec<u8>) {
        // Its hosts die as a whole, with their kernels: nobody answers for them, except for a router and for rivals.
        if let Some((asker, address)) = question(&bytes) {
            let asked = Announcement { at: self.now, node: from, address };
            if asker.is_none() {
                self.probes.push(asked);
            } else {
                self.questions.push(asked);
                self.ask_kernels(asked, asker);
            }
            let rival = self.rivals.get(&address).filter(|_| self.hosts[from].side == 0);
            if let Some(answer) = rival.map(|mac| rival_frame(address, *mac, Some((mac_of(from), asker)))) {
                self.schedule(100, Delivery::Frame { to: from, bytes: answer });
            }
            self.broadcast(from, &bytes);
            if let Some(bytes) =
                gateway_answer(&bytes).filter(|_| self.gateway == Some(self.hosts[from].side))
            {
                self.schedule(100, Delivery::Frame { to: from, bytes });
            }
            return;
        }
        let Some(address) = claimed_address(&bytes) else { panic!("an unexpected frame: {bytes:02x?}") };
        let host = &self.hosts[from];
        let believes = host.believes.get(&address).cloned().flatten();
        assert_eq!(believes.as_deref(), Some(host.name), "{} speaks for {address}", host.name);
        if self.asking {
            self.hosts[from].replies.push(address);
            return;
        }
        let heard = !self.unheard.contains(&from);
        // What answers a host goes to that one alone.
        if bytes[0] & 1 == 0 {
            if !heard {
                return;
            }
            let to = (0..self.hosts.len()).find(|to| mac_of(*to).0 == bytes[..6]);
            if let Some(to) = to.filter(|to| self.hosts[*to].side == self.hosts[from].side) {
                self.carry(20, to, bytes);
            } else if bytes[..6] == GATEWAY_CARD.0 {
                self.told_gateway.push(Announcement { at: self.now, node: from, address });
            } else if bytes[..6] == CLIENT_CARD.0 {
                self.told_client.push(Announcement { at: self.now, node: from, address });
            }
            return;
        }
        self.announcements.push(Announcement { at: self.now, node: from, address });
        if heard {
            self.broadcast(from, &bytes);
        }
    }

    fn broadcast(&mut self, from: usize, bytes: &[u8]) {
        for to in 0..self.hosts.len() {
            if to != from && self.hosts[to].side == self.hosts[from].side {
                self.carry(20, to, bytes.to_vec());
            }
        }
    }

    /// A frame is on its way, and perhaps lost.
    fn carry(&mut self, micros: u64, to: usize, bytes: Vec<u8>) {
        if self.frame_loss == 0 || self.random.below(100) >= self.frame_loss {
            self.schedule(micros, Delivery::Frame { to, bytes });
        }
    }

    /// The kernel of a host answers for the host's own addresses as long as the host runs.
    fn ask_kernels(&mut self, asked: Announcement, asker: Option<IpAddr>) {
        let own = |host: usize| [host_address(host), link_local(host)].contains(&asked.address);
        let side = self.hosts[asked.node].side;
        let runs = |host: &Host| host.side == side && host.speaker.is_some() && !host.paused;
        let host = (0..self.hosts.len()).find(|host| *host != asked.node && own(*host));
        if let Some(host) = host.filter(|host| runs(&self.hosts[*host])) {
            let bytes = rival_frame(asked.address, mac_of(host), Some((mac_of(asked.node), asker)));
            self.carry(100, asked.node, bytes);
        }
    }
}
