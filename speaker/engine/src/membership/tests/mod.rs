//! Tests of the whole module.

mod admission;
mod claims;
mod codec;
mod graph;
mod jury;
mod liveness;
mod network;
mod planes;
mod probation;
mod restarts;
mod states;
mod synchronisation;
