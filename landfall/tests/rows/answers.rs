//! What the rows about verdicts, which are compared with MetalLB's own parser elsewhere, call their results.

/// What becomes of a set of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    /// It waits for an object that is not there.
    Transient,
    Refused,
}
