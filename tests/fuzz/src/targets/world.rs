//! The controller's plan against a stand-in for the API server whose answers are late, lost or odd.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use arbitrary::Arbitrary;
use landfall_model::{
    Family, FamilyPolicy, Forwarding, Ingress, Invalid, IpMode, Labels, ObjectName, Observation, Pool,
    Protocol, Reason, ServiceKey, ServiceStatusWrite, ServiceView, TrafficPolicy,
};
use landfall_plan::{Effect, Outcome};

use crate::cluster::{self, Cluster};

#[derive(Arbitrary, Debug)]
enum Operation {
    Set(Spec),
    /// Somebody else writes a status.
    Status {
        name: u8,
        address: u8,
        mark: bool,
        hostname: bool,
    },
    Delete {
        name: u8,
    },
    Pool {
        name: u8,
        ranges: u8,
        kind: u8,
    },
    RemovePool {
        name: u8,
    },
    Unreadable {
        name: u8,
        is: bool,
    },
    Namespace {
        team: u8,
    },
    Land {
        which: u8,
        landing: Landing,
    },
    /// The lease is lost and won again; what was under way is dropped.
    LoseLead,
    Wait {
        millis: u16,
    },
}

#[derive(Arbitrary, Debug)]
enum Landing {
    Done,
    EchoFirst,
    Silent,
    AnswerLost,
    Failed,
    Refused,
    Later { seconds: u8 },
}

#[derive(Arbitrary, Debug)]
struct Spec {
    name: u8,
    /// Another Service of the same name.
    replace: bool,
    families: u8,
    key: u8,
    port: u8,
    kind: u8,
    asks: Option<Asks>,
}

#[derive(Arbitrary, Debug)]
enum Asks {
    Pool(u8),
    Address(u8),
    Field(u8),
    Text(String),
    Both(u8, u8),
}

const RANGES: [&str; 4] =
    ["192.0.2.0/31", "192.0.2.1-192.0.2.3", "2001:db8::/127", "2001:db8::1-2001:db8::2"];

fn name(number: u8) -> String {
    format!("s{}", number % 8)
}

fn address(number: u8) -> String {
    match number % 8 {
        0..=4 => format!("192.0.2.{}", number % 8),
        other => format!("2001:db8::{}", other - 5),
    }
}

fn view(spec: &Spec) -> ServiceView {
    let mut view = cluster::service(&name(spec.name));
    view.created = i64::from(spec.name % 3);
    let protocol = if spec.port & 1 == 0 { Protocol::Tcp } else { Protocol::Udp };
    view.ports = vec![cluster::port(protocol, 80 + u16::from(spec.port >> 1) % 2)];
    let (policy, families) = match spec.families % 8 {
        0 => (FamilyPolicy::SingleStack, vec![Family::V6]),
        1 => (FamilyPolicy::RequireDualStack, vec![Family::V4, Family::V6]),
        2 => (FamilyPolicy::PreferDualStack, vec![Family::V4, Family::V6]),
        3 => (FamilyPolicy::PreferDualStack, vec![Family::V6, Family::V4]),
        4 => (FamilyPolicy::RequireDualStack, vec![Family::V4]),
        5 => (FamilyPolicy::SingleStack, vec![]),
        _ => (FamilyPolicy::SingleStack, vec![Family::V4]),
    };
    (view.family_policy, view.cluster_families) = (policy, families);
    view.requests.sharing_key = Some(spec.key % 3).filter(|key| *key > 0).map(|key| format!("k{key}").into());
    match spec.kind % 16 {
        0 => view.load_balancer = false,
        1 => view.class = Some("other".into()),
        2 => view.requests.forwarding = Some(Ok(Forwarding::NodePort)),
        3 => view.requests.forwarding = Some(Err("fast".into())),
        4 => view.traffic_policy = TrafficPolicy::Local,
        5 => view.deleting = true,
        6 => view.requests.deprecated_annotation = true,
        7 => view.labels = [("team".to_owned(), "a".to_owned())].into(),
        _ => {}
    }
    match &spec.asks {
        None => {}
        Some(Asks::Pool(number)) => view.requests.pool = Some(format!("p{}", number % 4).into()),
        Some(Asks::Address(number)) => view.requests.addresses = Some(address(*number).into()),
        Some(Asks::Field(number)) => view.requests.load_balancer_ip = Some(address(*number).into()),
        Some(Asks::Text(text)) => view.requests.addresses = Some(text.as_str().into()),
        Some(Asks::Both(one, other)) => {
            view.requests.addresses = Some(format!("{},{}", address(*one), address(*other)).into());
        }
    }
    view
}

fn pool(number: u8, ranges: u8, kind: u8) -> Pool {
    let name = format!("p{}", number % 3);
    let chosen = RANGES.iter().enumerate().filter(|(bit, _)| ranges & (1 << bit) != 0);
    let chosen: Vec<&str> = chosen.map(|(_, range)| *range).collect();
    match kind % 6 {
        0 => Pool { avoid_buggy_ips: true, ..cluster::pool(&name, &chosen) },
        1 => Pool { auto_assign: false, ..cluster::pool(&name, &chosen) },
        2 => cluster::pinned(&name, &chosen, &["shop"]),
        3 => cluster::for_team(&name, &chosen, "a"),
        _ => cluster::pool(&name, &chosen),
    }
}

struct Bed {
    cluster: Cluster,
    flying: Vec<ServiceStatusWrite>,
    unseen: Vec<ServiceKey>,
    /// Services so far.
    created: u32,
}

/// One leader, whose writes fly while everything changes.
pub(crate) fn world(input: &[u8]) {
    let cluster = Cluster::new(&[cluster::pool("p0", &RANGES[..1])]);
    let mut bed = Bed { cluster, flying: Vec::new(), unseen: Vec::new(), created: 0 };
    for operation in super::operations(input, 60) {
        bed.apply(operation);
        bed.cluster.now += Duration::from_millis(50);
        bed.plan();
        bed.check_bounds();
    }
    bed.rest();
    bed.check();
}

impl Bed {
    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Set(spec) => self.set(view(&spec), spec.replace),
            Operation::Status { name, address, mark, hostname } => {
                let key = cluster::key(&self::name(name));
                let Some(mut view) = self.cluster.stored.get(&key).cloned() else { return };
                let text = self::address(address);
                view.ingress = vec![if hostname {
                    Ingress::Other(text.into())
                } else {
                    let address = text.parse::<IpAddr>().expect("it is an address");
                    Ingress::Address { address, mode: IpMode::Vip }
                }];
                view.requests.allocated_from = mark.then(|| "p0".into());
                self.cluster.apply(view);
            }
            Operation::Delete { name } => {
                let key = cluster::key(&self::name(name));
                self.cluster.stored.remove(&key);
                self.cluster.world.observe(Observation::Service(key, None));
            }
            Operation::Pool { name, ranges, kind } => self.cluster.set_pool(pool(name, ranges, kind)),
            Operation::RemovePool { name } => self.cluster.remove_pool(&format!("p{}", name % 3)),
            Operation::Unreadable { name, is } => {
                let name = ObjectName {
                    kind: "IPAddressPool",
                    namespace: "".into(),
                    name: format!("p{}", name % 4).into(),
                };
                let invalid = Invalid {
                    field: "spec".into(),
                    reason: Reason::InvalidValue,
                    message: "nonsense".into(),
                };
                self.cluster.world.observe(Observation::Invalid(name, is.then(|| Box::new(invalid))));
            }
            Operation::Namespace { team } => {
                let labels =
                    Labels::from([("team".to_owned(), ["a", "b"][usize::from(team) % 2].to_owned())]);
                self.cluster.world.observe(Observation::Namespace("shop".into(), Some(labels)));
            }
            Operation::Land { which, landing } => {
                if !self.flying.is_empty() {
                    self.land(usize::from(which) % self.flying.len(), &landing);
                }
            }
            Operation::LoseLead => {
                self.cluster.world.forget_decisions();
                // Requests that are out may still be carried out by the server; nobody hears of it.
                for write in std::mem::take(&mut self.flying) {
                    drop(self.cluster.write(&write));
                    self.unseen.push(write.key);
                }
            }
            Operation::Wait { millis } => self.cluster.now += Duration::from_millis(millis.into()),
        }
    }

    /// Creates a Service, or changes it; its status stays. A UID never comes back.
    fn set(&mut self, mut view: ServiceView, replace: bool) {
        match self.cluster.stored.get(&view.key).filter(|_| !replace) {
            Some(stored) => {
                view.uid.clone_from(&stored.uid);
                view.ingress.clone_from(&stored.ingress);
                view.conditions.clone_from(&stored.conditions);
                view.requests.allocated_from.clone_from(&stored.requests.allocated_from);
            }
            None => {
                self.created += 1;
                view.uid = format!("uid-{}", self.created).into();
            }
        }
        self.cluster.apply(view);
    }

    fn plan(&mut self) -> usize {
        let effects = self.cluster.world.plan(self.cluster.now).effects;
        let count = effects.len();
        for effect in effects {
            match effect {
                Effect::Service(write) => {
                    let twice =
                        self.flying.iter().any(|flying| flying.key == write.key && flying.uid == write.uid);
                    assert!(!twice, "{} is written twice at once", write.key);
                    self.flying.push(*write);
                }
                Effect::Event { .. } | Effect::PoolStatus { .. } => self.cluster.carry_out(effect),
            }
        }
        count
    }

    fn land(&mut self, index: usize, landing: &Landing) {
        let write = self.flying.swap_remove(index);
        let failed = Outcome::Failed { retry_after: None };
        match landing {
            Landing::Done => {
                let outcome = self.cluster.write(&write);
                self.written(&write, outcome);
                self.echo(&write.key);
            }
            Landing::EchoFirst => {
                let outcome = self.cluster.write(&write);
                self.echo(&write.key);
                self.written(&write, outcome);
            }
            Landing::Silent => {
                let outcome = match self.cluster.write(&write) {
                    Outcome::Applied { .. } => Outcome::Applied { resource_version: None },
                    other @ (Outcome::Conflict
                    | Outcome::Gone
                    | Outcome::Refused
                    | Outcome::Failed { .. }) => other,
                };
                self.written(&write, outcome);
                self.unseen.push(write.key);
            }
            Landing::AnswerLost => {
                drop(self.cluster.write(&write));
                self.echo(&write.key);
                self.written(&write, failed);
            }
            Landing::Failed => self.written(&write, failed),
            Landing::Refused => self.written(&write, Outcome::Refused),
            Landing::Later { seconds } => {
                let retry_after = Some(Duration::from_secs(u64::from(*seconds) % 60));
                self.written(&write, Outcome::Failed { retry_after });
            }
        }
    }

    fn written(&mut self, write: &ServiceStatusWrite, outcome: Outcome) {
        self.cluster.world.written(write, outcome, self.cluster.now);
    }

    fn echo(&mut self, key: &ServiceKey) {
        if let Some(view) = self.cluster.stored.get(key) {
            let view = Box::new(view.clone());
            self.cluster.world.observe(Observation::Service(key.clone(), Some(view)));
        }
    }

    /// Lets everything land and all time pass.
    fn rest(&mut self) {
        for _ in 0..200 {
            for key in std::mem::take(&mut self.unseen) {
                self.echo(&key);
            }
            self.cluster.now += Duration::from_secs(61);
            if self.plan() == 0 && self.flying.is_empty() {
                return;
            }
            while !self.flying.is_empty() {
                self.land(0, &Landing::Done);
            }
        }
        panic!("the world does not come to rest");
    }

    fn check_bounds(&self) {
        let mut waiting = BTreeMap::new();
        for (_, reason, _) in self.cluster.world.waiting() {
            *waiting.entry(reason).or_default() += 1;
        }
        assert_eq!(&waiting, self.cluster.world.waiting_by_reason());
        assert!(self.cluster.world.waiting().count() <= 8);
    }

    /// At rest: no address is used twice unless it is shared, and statuses show what is held.
    fn check(&self) {
        let ours = |view: &&ServiceView| self.cluster.world.allocator().holding(&view.key).is_some();
        for (address, users) in self.cluster.users() {
            let users: Vec<&ServiceView> = users.into_iter().filter(ours).collect();
            for (index, one) in users.iter().enumerate() {
                for other in &users[index + 1..] {
                    assert!(one.requests.sharing_key.is_some(), "{address} is used twice");
                    assert_eq!(one.requests.sharing_key, other.requests.sharing_key, "{address}");
                    let port = |view: &ServiceView| (view.ports[0].protocol, view.ports[0].port);
                    assert_ne!(port(one), port(other), "{address}");
                }
            }
        }
        for view in self.cluster.stored.values().filter(ours) {
            let held = &self.cluster.world.allocator().holding(&view.key).expect("it was filtered").addresses;
            assert!(view.addresses().eq(held.iter().copied()), "{}: status and allocator differ", view.key);
        }
    }
}
