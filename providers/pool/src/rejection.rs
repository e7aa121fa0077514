use std::net::IpAddr;

use landfall_model::Reason;

/// Why a request is not met. A retry helps only after something changed: a pool, the Service, or who holds what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Rejection {
    /// The typed reason.
    pub reason: Reason,
    /// The sentence for people and scripts; MetalLB's own words where it has some.
    pub cause: String,
    /// The pool that was asked for, or that the requested address lies in, and why it does not serve. For requests
    /// that name none see [`crate::Allocator::why_not`].
    pub rejected: Vec<(Box<str>, Reason)>,
}

impl Rejection {
    pub(crate) fn new(reason: Reason, cause: impl Into<String>) -> Self {
        Self { reason, cause: cause.into(), rejected: Vec::new() }
    }

    pub(crate) fn of_pool(pool: &str, reason: Reason, cause: impl Into<String>) -> Self {
        Self { reason, cause: cause.into(), rejected: vec![(pool.into(), reason)] }
    }

    pub(crate) fn not_in_config(addresses: &[IpAddr], reason: Reason) -> Self {
        Self::new(reason, format!("{} is not allowed in config", quoted(addresses)))
    }

    pub(crate) fn incompatible(pool: &str, reason: Reason) -> Self {
        Self::of_pool(pool, reason, format!("pool {pool} not compatible for ip assignment"))
    }
}

/// Addresses as MetalLB's events show them: `["192.0.2.1" "2001:db8::1"]`.
#[must_use]
pub fn quoted(addresses: &[IpAddr]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(" "))
}
