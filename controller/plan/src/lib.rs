//! What was observed in a cluster, and what follows from it. Pure: no IO, no clock, no entropy. Its IO sibling is
//! `landfall-controller`, which feeds watches in and carries effects out.
//!
//! # How a [`World`] is driven
//!
//! 1. Every replica calls [`World::observe`] for all that its watches report; that only keeps indexes warm.
//! 2. The leader calls [`World::plan`] after each batch of calls to `observe`, [`World::written`] or
//!    [`World::pool_written`], and at the time that the last plan names in [`Plan::recheck`]. Calling it early or
//!    twice is harmless and costs nothing; calling it late delays only what waits for it.
//! 3. It carries out [`Plan::effects`] in their order and reports each write back, once, whatever came of it. Until
//!    then the Service or pool is not planned again. Events are not reported back.
//! 4. A leader that loses its lease calls [`World::forget_decisions`] and drops what it has not carried out.
//!
//! The first plan after [`landfall_model::Observation::Synced`] takes over every address that is in a status of ours
//! before it gives any away.
//!
//! # Cost
//!
//! A plan looks at the Services that changed, at the holders of pools that changed, and at as many waiting Services
//! as can be served by what became free; see [`World::examined`]. A change of the pools looks at all that wait.

mod announced;
mod decide;
mod effect;
mod entry;
mod ownership;
mod queue;
mod report;
mod settings;
mod world;

pub use effect::{Effect, Outcome, Plan, condition, event};
pub use settings::Settings;
pub use world::World;
