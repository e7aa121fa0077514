use std::time::Duration;

use landfall_model::{BfdProfile, Invalid};

use super::{number::number, object_name};
use crate::api;

/// A `BFDProfile`.
///
/// # Errors
/// When a number is out of its range.
pub fn bfd_profile(object: &api::BFDProfile) -> Result<BfdProfile, Invalid> {
    let spec = &object.spec;
    let small = |field: &str, value: Option<i32>, range| {
        value.map(|value| number(field, i64::from(value), range)).transpose()
    };
    Ok(BfdProfile {
        name: object_name(object.metadata.name.as_ref())?,
        receive_interval: interval("spec.receiveInterval", spec.receive_interval)?,
        transmit_interval: interval("spec.transmitInterval", spec.transmit_interval)?,
        detect_multiplier: small("spec.detectMultiplier", spec.detect_multiplier, 2..=255)?,
        echo_interval: interval("spec.echoInterval", spec.echo_interval)?,
        echo_mode: spec.echo_mode.unwrap_or(false),
        passive_mode: spec.passive_mode.unwrap_or(false),
        minimum_ttl: small("spec.minimumTtl", spec.minimum_ttl, 1..=254)?,
    })
}

/// Milliseconds.
fn interval(field: &str, value: Option<i32>) -> Result<Option<Duration>, Invalid> {
    value.map(|value| number(field, i64::from(value), 10..=60_000).map(Duration::from_millis)).transpose()
}
