use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Serialize;

/// All figures of one run, in the order in which they were measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// One row each.
    pub(crate) rows: Vec<Row>,
    /// Samples behind some rows, for plots.
    pub(crate) series: Vec<Series>,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The target of the design; lower is better unless the unit is a rate.
    pub(crate) target: Option<f64>,
}

/// Samples in one unit.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) samples: Vec<f64>,
}

impl Figures {
    /// Adds a figure and prints it, since a bench takes minutes.
    pub(crate) fn add(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Option<f64>,
    ) {
        let row = Row { what: what.into(), value, unit, target };
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    /// Adds the median and the 99th percentile of some samples.
    pub(crate) fn add_samples(
        &mut self,
        what: &str,
        samples: Vec<f64>,
        unit: &'static str,
        target: Option<f64>,
    ) {
        self.add(format!("{what}, median"), percentile(&samples, 50.0), unit, None);
        self.add(format!("{what}, p99"), percentile(&samples, 99.0), unit, target);
        self.series.push(Series { name: what.to_owned(), unit, samples });
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| What | Measured | Target |\n| --- | ---: | ---: |\n");
        for row in &self.rows {
            _ = writeln!(text, "{}", row.line());
        }
        text
    }

    /// The same for programs, in one line.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        serde_json::to_string(self).context("cannot write the figures as JSON")
    }
}

impl Row {
    fn line(&self) -> String {
        let bound = if self.unit.ends_with("/s") { "at least" } else { "at most" };
        let target =
            self.target.map(|target| format!("{bound} {} {}", number(target), self.unit)).unwrap_or_default();
        format!("| {} | {} {} | {target} |", self.what, number(self.value), self.unit)
    }
}

/// Three significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The nearest-rank percentile; 0 without samples.
pub(crate) fn percentile(samples: &[f64], percent: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&samples, 50.0), 50.0);
        assert_eq!(percentile(&samples, 99.0), 99.0);
        assert_eq!(percentile(&samples, 100.0), 100.0);
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
        assert_eq!(percentile(&[], 99.0), 0.0);
    }

    #[test]
    fn numbers_have_three_digits() {
        let texts: Vec<String> = [0.01234, 1.234, 12.34, 123.4, 12345.0].into_iter().map(number).collect();
        assert_eq!(texts, ["0.012", "1.23", "12.3", "123", "12345"]);
    }
}
