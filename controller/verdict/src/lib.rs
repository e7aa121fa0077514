//! Whether a set of objects is a configuration that can be in force: the rules that take more than one object, or the
//! [`Mode`]. Pure: no IO, no clock, no entropy. Its IO sibling is `landfall-kubernetes`, whose `convert` reads the objects
//! and holds the rules that one object alone can break.
//!
//! # Who is at fault
//!
//! Where two objects clash, the later one by name is at fault, and what is at fault stands in nobody's way: among three
//! pools of which each overlaps the next, only the second is refused. So what is left without the objects at fault is a
//! configuration without one. Where objects of two kinds clash, it is the one that refers to the other: an advertisement
//! that does not fit a pool, a peer that does not fit its profile.
//!
//! # Cost
//!
//! Pools are thousands: their overlaps cost O(n log n). Advertisements are compared in pairs only where they reach the
//! same pool and differ in `localPref` or `asPathPrepend`, and pools that the same ones reach count once. Peers are never compared in pairs:
//! each looks at the nodes that it selects.

mod admit;
mod advertisements;
mod blocks;
mod communities;
mod fault;
mod mode;
mod native;
mod nodes;
mod objects;
mod overlap;
mod peers;
mod preference;
mod reach;
mod routers;
mod set;

pub use admit::{Admission, admit, removal};
pub use fault::Fault;
pub use mode::Mode;
pub use objects::{Objects, SecretKind};

use fault::Faults;
use reach::Reach;
use set::Set;

/// All faults of `objects`, by kind and name of the object at fault. A set without a permanent one can be in force.
#[must_use]
pub fn judge(objects: &Objects, mode: Mode) -> Vec<Fault> {
    let mut faults = Faults::new(&objects.namespace);
    let set = Set::new(objects, &mut faults);
    let reach = Reach::new(&set);
    overlap::judge(&set, &mut faults);
    communities::judge(&set, &mut faults);
    advertisements::judge(&set, &reach, &mut faults);
    preference::judge(&set, &reach, &mut faults);
    peers::judge(&set, mode, &mut faults);
    match mode {
        Mode::Native | Mode::Frr => native::judge_prepends(&set, mode, &mut faults),
        Mode::FrrK8s => {}
    }
    match mode {
        Mode::Native => native::judge(&set, &reach, &mut faults),
        Mode::Frr | Mode::FrrK8s => {
            routers::judge(&set, &mut faults);
            peers::judge_echo(&set, &reach, &mut faults);
        }
    }
    faults.sorted()
}
