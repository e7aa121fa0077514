use std::time::Duration;

use landfall_model::{Invalid, Reason};

use super::invalid;

/// Reads a duration as the API writes it, in the syntax of Go: one or more numbers, each with its unit, from `ns` to `h`.
/// A number may have a fraction; 0 needs no unit.
///
/// # Errors
/// When it is none; `field` is where it stands.
pub fn duration(field: &str, text: &str) -> Result<Duration, Invalid> {
    parse(text).ok_or_else(|| {
        let message = format!("{text:?} is not a duration of 0 or more; write it as 90s, 1m30s or 500ms");
        invalid(Reason::InvalidValue, field, message)
    })
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds = 0_u64;
    while !rest.is_empty() {
        let whole = digits(&mut rest);
        let fraction = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                digits(&mut rest)
            }
            None => "",
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        nanoseconds = nanoseconds.checked_add(part(whole, fraction, unit(name)?)?)?;
    }
    // Go counts nanoseconds in 63 bits, so no client can read more.
    i64::try_from(nanoseconds).ok().map(|_| Duration::from_nanos(nanoseconds))
}

/// Takes the digits from the front of `rest`.
fn digits<'a>(rest: &mut &'a str) -> &'a str {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits
}

/// Nanoseconds of `whole.fraction` units; what is less than one is cut off.
fn part(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // An hour has 13 digits of nanoseconds, so later digits of the fraction count for nothing.
    let (below, scale) = fraction
        .bytes()
        .take(15)
        .fold((0_u128, 1_u128), |(below, scale), digit| (below * 10 + u128::from(digit - b'0'), scale * 10));
    let below = u64::try_from(below * u128::from(unit) / scale).ok()?;
    whole.checked_mul(unit)?.checked_add(below)
}

/// Nanoseconds of a unit.
fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // Both the micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("+90s", 90_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1h1ns", 3_600_000_000_001),
            ("2us", 2_000),
            ("2\u{b5}s", 2_000),
            ("2\u{3bc}s", 2_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Some(Duration::from_nanos(nanoseconds)), "{text:?}");
        }
        for text in [
            "",
            "+",
            "-1s",
            "90",
            "s",
            ".s",
            "1 s",
            "1s ",
            "1d",
            "1S",
            "1s2",
            "1.2.3s",
            "++1s",
            "9223372036854775808ns",
            "99999999999999999999s",
            "2562048h",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9.]{0,25}[a-z\u{b5}]{0,3}[-+0-9.smh]{0,12}") {
            if let Some(read) = parse(&text) {
                prop_assert!(i64::try_from(read.as_nanos()).is_ok());
            }
        }
    }
}
