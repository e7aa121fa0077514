//! Bare-metal address allocation: pools in, addresses out. Pure: no IO, no clock, no entropy. Its IO siblings are
//! `landfall-kubernetes`, which reads pools and Services, and `landfall-controller`, which writes the results.
//!
//! Results that a user can see are MetalLB's: requests by address or pool name, pinned pools by priority, then
//! general pools by name; ranges in listed order, lowest address first; sharing keys; IPv4 before IPv6.
//! Differences are stated where they are made.
//!
//! # Cost
//!
//! With `n` addresses in use and `r` ranges in force, one allocation from a given pool costs O(log n), also when
//! the pool has no free address left; a pool's size never matters, so a /64 costs as little as a /28. Pools that
//! are full or only for requests are not tried; those for other Services are, in vain, at O(1) each. A pool that
//! appears or changes costs O(log r) per range for the overlap check, plus the addresses in use inside it.
//! Which pool an address lies in costs O(log r). Addresses that are excluded, reserved, of a node or in quarantine are left
//! out when they are met, once each.

mod allocator;
mod choice;
mod configuration;
mod permission;
mod pool_state;
mod rejection;
mod request;
mod sharing;
mod span;
mod withheld;

pub use allocator::{Allocator, Change, Holding, Kept};
pub use configuration::{PoolUpdate, Refused};
pub use pool_state::Counts;
pub use rejection::{Rejection, quoted};
pub use request::{Claimant, Demand, Request};
pub use sharing::Sharing;
