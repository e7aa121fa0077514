//! The planner against a small model of AWS that applies its calls and refuses what AWS refuses. Each file holds one of
//! the behaviour tables of the AWS provider.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not take for tests")]

mod annotations;
mod aws;
mod backend;
mod claim;
mod effects;
mod fleet;
mod gates;
mod groups;
mod life_cycle;
mod ports;
mod properties;
mod shared;
mod status;
mod subnets;
mod targets;
mod weighted;
mod world;
