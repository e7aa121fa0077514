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

/// Parses a list of selectors, no two of which may be written alike. Two that say the same in different words may be, as
/// with MetalLB.
pub(super) fn selectors(field: &str, written: Option<&Vec<LabelSelector>>) -> Result<Vec<Selector>, Invalid> {
    let written = written.map(Vec::as_slice).unwrap_or_default();
    let parsed = written
        .iter()
        .enumerate()
        .map(|(index, one)| selector(&format!("{field}[{index}]"), one))
        .collect::<Result<Vec<_>, _>>()?;
    let wordings: Vec<_> = written.iter().map(wording).collect();
    unique(field, &wordings, |_| "the same selector".to_owned())?;
    Ok(parsed)
}

type Wording<'a> = (Vec<(&'a str, &'a str)>, Vec<(&'a str, &'a str, Vec<&'a str>)>);

/// What is written, but for the order of labels and of values.
fn wording(written: &LabelSelector) -> Wording<'_> {
    let labels = written.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let expressions = written.match_expressions.iter().flatten().map(|expression| {
        let mut values: Vec<&str> = expression.values.iter().flatten().map(String::as_str).collect();
        values.sort_unstable();
        (expression.key.as_str(), expression.operator.as_str(), values)
    });
    (labels.collect(), expressions.collect())
}
