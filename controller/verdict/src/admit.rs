use std::collections::BTreeSet;

use landfall_model::{ObjectName, Reason};

use crate::{Fault, Mode, Objects, judge, set::BFD_PROFILE};

/// What is said of a change before it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Why it must not be made. Empty: it may be.
    pub refused: Vec<Fault>,
    /// What will be wrong with it until something else is there.
    pub warned: Vec<Fault>,
}

/// Whether an object may be created or its spec changed: `before` becomes `after`, and `changed` is the object's kind
/// and name.
///
/// It may not when it is at fault itself, or when it puts another object at fault that was not before. What is wrong
/// with others already is in nobody's way. What is missing and may come later only gives a warning.
#[must_use]
pub fn admit(before: &Objects, after: &Objects, changed: (&str, &str), mode: Mode) -> Admission {
    let mut known = judge(before, mode);
    // What would be wrong without the object as well is not its doing, whichever of the others is to blame for it now.
    known.extend(judge(&after.clone().without_object(changed), mode));
    let known: BTreeSet<(&ObjectName, &str, Reason)> =
        known.iter().map(|fault| (&fault.object, &*fault.field, fault.reason)).collect();
    let caused = judge(after, mode).into_iter().filter(|fault| {
        (fault.object.kind, &*fault.object.name) == changed
            || !known.contains(&(&fault.object, &*fault.field, fault.reason))
    });
    let (warned, refused) = caused.partition(|fault| fault.transient);
    Admission { refused, warned }
}

/// Why a `BFDProfile` may not be deleted: a peer watches its path by it.
#[must_use]
pub fn removal(objects: &Objects, profile: &str) -> Option<Fault> {
    let users = objects.peers.iter().filter(|peer| peer.bfd_profile.as_deref() == Some(profile));
    let users: Vec<String> = users.map(|peer| format!("{:?}", peer.name)).collect();
    let object = ObjectName { kind: BFD_PROFILE, namespace: objects.namespace.clone(), name: profile.into() };
    (!users.is_empty()).then(|| Fault {
        object,
        field: Box::default(),
        reason: Reason::Conflict,
        message: format!("BGPPeer {} names it in spec.bfdProfile; take it out there first", users.join(", ")),
        transient: false,
    })
}
