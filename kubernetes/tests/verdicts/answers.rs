//! What we say, and whether it is what MetalLB says.

use landfall_kubernetes::source::Snapshot;
use landfall_model::Reason;
use landfall_verdict::judge;
use serde::Deserialize;
use serde_json::json;

use crate::{
    Set,
    deliberate::{DELIBERATE, Side},
    oracle::Answer,
};

/// What becomes of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Accepted,
    /// It waits for an object that is not there.
    Transient,
    Refused,
    /// The parser does not survive it.
    Panicked,
}

/// A fault that we find.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) field: String,
    pub(crate) reason: Reason,
    pub(crate) transient: bool,
    /// With kind and name of the object.
    pub(crate) message: String,
}

/// All faults of a set.
pub(crate) fn ours(set: &Set) -> Vec<Complaint> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": set.objects }).to_string();
    let snapshot = Snapshot::read([("the set", list.as_str())], None).unwrap();
    let alone = snapshot.invalid.into_iter().map(|(object, invalid)| Complaint {
        message: format!("{object}: {}: {}", invalid.field, invalid.message),
        field: invalid.field.into(),
        reason: invalid.reason,
        transient: false,
    });
    let together = judge(&snapshot.configuration, set.mode).into_iter().map(|fault| Complaint {
        message: fault.to_string(),
        field: fault.field.into(),
        reason: fault.reason,
        transient: fault.transient,
    });
    alone.chain(together).collect()
}

/// The deliberate differences that are between the two.
///
/// # Errors
/// Says what both say when they differ in any other way.
pub(crate) fn compare(set: &Set, theirs: &Answer, ours: &[Complaint]) -> Result<Vec<&'static str>, String> {
    let lasting: Vec<&Complaint> = ours.iter().filter(|complaint| !complaint.transient).collect();
    let mine = match (lasting.is_empty(), ours.is_empty()) {
        (false, _) => Outcome::Refused,
        (true, false) => Outcome::Transient,
        (true, true) => Outcome::Accepted,
    };
    if mine == theirs.outcome() {
        return Ok(Vec::new());
    }
    let named: Option<Vec<&'static str>> = match (mine, theirs.outcome()) {
        // Each of our reasons must be one that MetalLB does not have.
        (Outcome::Refused, Outcome::Accepted | Outcome::Transient) => lasting
            .iter()
            .map(|complaint| {
                let listed = DELIBERATE.iter().find(|difference| match difference.side {
                    Side::Ours(is) => is(complaint, set),
                    Side::Theirs(_) => false,
                });
                listed.map(|difference| difference.what)
            })
            .collect(),
        (Outcome::Accepted | Outcome::Transient, Outcome::Refused) => {
            let listed = DELIBERATE.iter().find(|difference| match difference.side {
                Side::Theirs(is) => is(&theirs.error, set),
                Side::Ours(_) => false,
            });
            listed.map(|difference| vec![difference.what])
        }
        _ => None,
    };
    named.ok_or_else(|| {
        let said: Vec<&str> = ours.iter().map(|complaint| complaint.message.as_str()).collect();
        format!(
            "we say {mine:?}, MetalLB {:?}\nours: {}\nMetalLB's: {}",
            theirs.outcome(),
            said.join("\n      "),
            theirs.error
        )
    })
}
