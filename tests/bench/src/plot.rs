//! Small SVG plots: one box per series with every sample as a dot, on a logarithmic axis.

use std::fmt::Write as _;

use crate::figures::{Series, number, percentile};

const WIDTH: f64 = 760.0;
const ROW: f64 = 46.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 40.0;

/// A plot of series that share a unit; the title says what they are.
pub(crate) fn svg(title: &str, series: &[&Series]) -> String {
    let samples = || series.iter().flat_map(|one| one.samples.iter().copied()).filter(|value| *value > 0.0);
    let low = 10f64.powf(samples().fold(f64::INFINITY, f64::min).log10().floor());
    let high = 10f64.powf(samples().fold(0.0, f64::max).log10().ceil());
    let (low, high) = if low < high { (low, high) } else { (1.0, 10.0) };
    let x = |value: f64| {
        let share = (value.max(low).log10() - low.log10()) / (high.log10() - low.log10());
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let height = TOP + ROW * series.len() as f64 + 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let unit = series.first().map_or("", |one| one.unit);
    let mut tick = low;
    while tick <= high * 1.001 {
        let (at, bottom) = (x(tick), height - 32.0);
        _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#ddd\"/>"
        );
        _ = writeln!(
            out,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{} {unit}</text>",
            height - 14.0,
            number(tick)
        );
        tick *= 10.0;
    }
    for (index, one) in series.iter().enumerate() {
        let middle = TOP + ROW * (index as f64 + 0.5);
        _ = writeln!(out, "<text x=\"10\" y=\"{:.1}\">{}</text>", middle + 4.0, one.name);
        for value in &one.samples {
            _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"4\" fill=\"#2b6cb0\" fill-opacity=\"0.35\"/>",
                x(*value)
            );
        }
        let median = x(percentile(&one.samples, 50.0));
        _ = writeln!(
            out,
            "<line x1=\"{median:.1}\" x2=\"{median:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#c53030\" stroke-width=\"2\"/>",
            middle - 14.0,
            middle + 14.0
        );
    }
    out.push_str("</svg>\n");
    out
}
