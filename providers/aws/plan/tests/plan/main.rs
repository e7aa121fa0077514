//! The planner against a small model of AWS that applies its calls and refuses what AWS refuses. Row numbers are those of
//! the behaviour tables in `docs/aws.md`.

mod annotations;
mod aws;
mod backend;
mod claim;
mod groups;
mod life_cycle;
mod ports;
mod properties;
mod status;
mod subnets;
mod targets;
mod world;
