//! The targets, one file for each part of Landfall.

mod allocator;
mod heartbeat;
mod kubernetes;
mod lease;
mod membership;
mod ownership;
mod responder;
mod sealed;
mod speaker;
mod speakers;
mod text;
mod wire;
mod world;

pub(crate) use allocator::allocator;
pub(crate) use heartbeat::{heartbeat, profile};
pub(crate) use kubernetes::{documents, manifests, object, requests};
pub(crate) use lease::lease;
pub(crate) use membership::membership;
pub(crate) use ownership::ownership;
pub(crate) use responder::responder;
pub(crate) use speaker::speaker;
pub(crate) use speakers::speakers;
pub(crate) use text::{key, pattern, range, selector};
pub(crate) use wire::{arp, frame, neighbor};
pub(crate) use world::world;

use arbitrary::{Arbitrary, Unstructured};

/// The operations that `input` stands for, at most `limit` of them. Bytes that make no operation end the list.
fn operations<T: for<'a> Arbitrary<'a>>(input: &[u8], limit: usize) -> Vec<T> {
    let mut bytes = Unstructured::new(input);
    let mut operations = Vec::new();
    while !bytes.is_empty() && operations.len() < limit {
        let Ok(operation) = bytes.arbitrary() else { break };
        operations.push(operation);
    }
    operations
}
