use std::collections::BTreeMap;

use landfall_model::Reason;

use crate::{
    fault::Faults,
    set::{COMMUNITY, Set},
};

/// A name stands for one community, over all objects.
pub(crate) fn judge(set: &Set<'_>, faults: &mut Faults<'_>) {
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    for object in &set.communities {
        for (index, (alias, _)) in object.aliases.iter().enumerate() {
            let Some(other) = given.get(&**alias) else {
                given.insert(alias, &object.name);
                continue;
            };
            let message =
                format!("{COMMUNITY} {other:?} gives the name {alias:?} already; choose another one");
            let field = format!("spec.communities[{index}].name");
            faults.permanent((COMMUNITY, &object.name), field, Reason::Duplicate, message);
        }
    }
}
