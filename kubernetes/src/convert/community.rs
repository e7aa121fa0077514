use landfall_model::{Communities, Community, Invalid, Reason};

use super::{invalid, object_name};
use crate::api;

/// A `Community` object. Whether another object gives the same name is not seen here.
///
/// # Errors
/// When a name stands twice, or a value is no community.
pub fn community(object: &api::Community) -> Result<Communities, Invalid> {
    let written = object.spec.communities.as_deref().unwrap_or_default();
    let mut aliases: Vec<(Box<str>, Community)> = Vec::with_capacity(written.len());
    let mut names = std::collections::BTreeSet::new();
    for (index, one) in written.iter().enumerate() {
        let field = |part: &str| format!("spec.communities[{index}].{part}");
        let name = one.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            let message = format!("the name {name:?} stands twice; give each community a name of its own");
            return Err(invalid(Reason::Duplicate, field("name"), message));
        }
        let Some(value) = one.value.as_deref().filter(|value| !value.is_empty()) else {
            let message = format!(
                "the name {name:?} has no value; write a community such as 64500:7 or large:64500:1:7"
            );
            return Err(invalid(Reason::MissingField, field("value"), message));
        };
        let value = value.parse().map_err(|error: landfall_model::CommunityError| {
            invalid(Reason::InvalidValue, field("value"), error.to_string())
        })?;
        aliases.push((name.into(), value));
    }
    Ok(Communities { name: object_name(object.metadata.name.as_ref())?, aliases })
}
