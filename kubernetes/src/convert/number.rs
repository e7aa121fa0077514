use std::ops::RangeInclusive;

use landfall_model::{Invalid, Reason};

use super::invalid;

/// `value` as one of the numbers of `range`, which must all fit the type; `field` is its path.
pub(super) fn number<T: TryFrom<i64>>(
    field: &str,
    value: i64,
    range: RangeInclusive<i64>,
) -> Result<T, Invalid> {
    let fits = range.contains(&value).then(|| T::try_from(value).ok()).flatten();
    fits.ok_or_else(|| {
        let message =
            format!("{value} is out of range; use a number from {} to {}", range.start(), range.end());
        invalid(Reason::InvalidValue, field, message)
    })
}
