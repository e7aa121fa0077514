//! Writes that land late, fail, or are done without an answer, while everything changes.

use landfall_model::{Labels, Observation, ServiceKey, ServiceStatusWrite};
use landfall_plan::{Effect, Outcome};
use proptest::prelude::*;
use std::time::Duration;

use crate::{
    cluster::*,
    properties::{Step, check, name, some_step},
};

/// What becomes of the write that is picked.
#[derive(Clone, Copy, Debug)]
enum Landing {
    /// Answered, then shown by the watch.
    Done,
    /// Shown by the watch before the answer.
    EchoFirst,
    /// Answered without the version, and shown by the watch at the end.
    Silent,
    /// Done and shown, but the answer was lost.
    AnswerLost,
    /// Not done.
    Failed,
}

#[derive(Clone, Debug)]
enum Move {
    Step(Step),
    Land(prop::sample::Index, Landing),
}

fn some_move() -> impl Strategy<Value = Move> {
    let landing = prop_oneof![
        4 => Just(Landing::Done),
        2 => Just(Landing::EchoFirst),
        1 => Just(Landing::Silent),
        1 => Just(Landing::AnswerLost),
        1 => Just(Landing::Failed),
    ];
    prop_oneof![
        1 => some_step().prop_map(Move::Step),
        1 => (any::<prop::sample::Index>(), landing).prop_map(|(index, landing)| Move::Land(index, landing)),
    ]
}

struct Bed {
    cluster: Cluster,
    flying: Vec<ServiceStatusWrite>,
    unseen: Vec<ServiceKey>,
}

impl Bed {
    fn plan(&mut self) -> usize {
        let effects = self.cluster.world.plan(self.cluster.now).effects;
        let count = effects.len();
        for effect in effects {
            match effect {
                Effect::Service(write) => self.flying.push(*write),
                Effect::Event { .. } | Effect::PoolStatus { .. } => self.cluster.carry_out(effect),
            }
        }
        count
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Set(mut service) => {
                if let Some(stored) = self.cluster.stored.get(&service.key) {
                    service.ingress.clone_from(&stored.ingress);
                    service.conditions.clone_from(&stored.conditions);
                    service.requests.allocated_from.clone_from(&stored.requests.allocated_from);
                }
                self.cluster.apply(*service);
            }
            Step::Delete(index) => {
                self.cluster.stored.remove(&key(&name(index)));
                self.cluster.world.observe(Observation::Service(key(&name(index)), None));
            }
            Step::Pool(pool) => self.cluster.set_pool(*pool),
            Step::RemovePool(index) => self.cluster.remove_pool(&format!("p{index}")),
            Step::Restart => {}
        }
    }

    fn land(&mut self, index: usize, landing: Landing) {
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
            let planned = self.plan();
            if planned == 0 && self.flying.is_empty() {
                return;
            }
            while !self.flying.is_empty() {
                self.land(0, Landing::Done);
            }
        }
        panic!("the world does not come to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_fails_everything_comes_right_in_the_end(moves in prop::collection::vec(some_move(), 1..60)) {
        let cluster = Cluster::new(&[pool("p0", &["192.0.2.0/31", "2001:db8::/127"])]);
        let mut bed = Bed { cluster, flying: Vec::new(), unseen: Vec::new() };
        for one in moves {
            match one {
                Move::Step(step) => bed.step(step),
                Move::Land(index, landing) if !bed.flying.is_empty() => {
                    bed.land(index.index(bed.flying.len()), landing);
                }
                Move::Land(..) => {}
            }
            bed.cluster.now += Duration::from_millis(50);
            bed.plan();
        }
        bed.rest();
        check(&bed.cluster);
        if bed.cluster.world.allocator().refused().count() == 0 {
            let restarted = bed.cluster.restarted();
            prop_assert_eq!(&restarted.writes, &[], "a restart writes nothing");
            prop_assert_eq!(&restarted.events, &[""; 0]);
        }
    }
}

/// Nobody waits for what is there: who has no address could not get one, and who lacks a family cannot have it.
pub(crate) fn check_nobody_waits_in_vain(cluster: &Cluster) {
    use landfall_model::Family;
    use landfall_pool::{Demand, Request};

    let none = Labels::new();
    for view in cluster.stored.values().filter(|view| view.load_balancer && view.class.is_none()) {
        let Ok(request) = Request::of(view, &none) else { continue };
        let mut allocator = cluster.world.allocator().clone();
        match allocator.holding(&view.key).map(|holding| holding.addresses.clone()).as_deref() {
            // It keeps what a pool that is not in force gave it.
            None if !view.ingress.is_empty() => {}
            None => assert!(allocator.allocate(&request).is_err(), "{} waits in vain", view.key),
            Some([held]) if matches!(request.demand, Demand::Prefer { .. }) => {
                let other = if Family::of(*held) == Family::V4 { Family::V6 } else { Family::V4 };
                assert!(allocator.complete(&request, other).is_err(), "{} lacks {other} in vain", view.key);
            }
            Some(_) => {}
        }
    }
}
