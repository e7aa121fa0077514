//! The forms of an answer: tables for people, JSON and YAML for programs.

use std::{
    fmt::Write as _,
    io::{ErrorKind, Write as _},
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables for people.
    Table,
    /// One JSON object.
    Json,
    /// The same object as YAML.
    Yaml,
}

impl Output {
    /// The report in this form; `table` makes the one for people.
    pub(crate) fn render<R: Serialize>(
        self,
        report: &R,
        table: impl FnOnce(&R) -> String,
    ) -> anyhow::Result<String> {
        match self {
            Self::Table => Ok(table(report)),
            Self::Json => Ok(serde_json::to_string_pretty(report).context("cannot write JSON")? + "\n"),
            Self::Yaml => {
                Ok("---\n".to_owned() + &serde_saphyr::to_string(report).context("cannot write YAML")?)
            }
        }
    }
}

/// Prints to standard output, and says whether somebody still reads it. Who does may have enough before its end, as
/// `head` has; that is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Adds a table with columns that line up, after an empty line; nothing where there are no rows.
pub(crate) fn table(out: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    out.push('\n');
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            _ = write!(text, "{cell:width$}  ");
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut header.iter().copied());
    for row in &rows {
        line(&mut row.iter().map(String::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = String::new();
        table(
            &mut out,
            &["A", "B"],
            [vec!["x".to_owned(), "y".to_owned()], vec!["long".to_owned(), "z".to_owned()]].into_iter(),
        );
        assert_eq!(out, "\nA     B\nx     y\nlong  z\n");
    }
}
