use landfall_model::{Invalid, Reason, Selector};

use super::{invalid, unique};
use crate::api::LabelSelector;

/// Parses one selector; `field` is its path.
pub(super) fn selector(field: &str, written: &LabelSelector) -> Result<Selector, Invalid> {
    let labels = written.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let expressions = written.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.as_deref().unwrap_or_default();
        (expression.key.as_str(), expression.operator.as_str(), values)
    });
    Selector::parse(labels, expressions)
        .map_err(|error| invalid(Reason::InvalidSelector, field, error.to_string()))
}

/// Parses a list of selectors, no two of which may be equal.
pub(super) fn selectors(field: &str, written: Option<&Vec<LabelSelector>>) -> Result<Vec<Selector>, Invalid> {
    let parsed = written
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, one)| selector(&format!("{field}[{index}]"), one))
        .collect::<Result<Vec<_>, _>>()?;
    unique(field, &parsed, |_| "the same selector".to_owned())?;
    Ok(parsed)
}
