use std::{env, fmt::Write as _, fs};

use anyhow::Context as _;

use crate::graph::Graph;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../THIRD-PARTY.md");

/// A sentence when THIRD-PARTY.md is not what the dependencies of the binary ask for.
pub(crate) fn fault(graph: &Graph) -> anyhow::Result<Option<String>> {
    let wanted = text(graph);
    if env::var_os("LANDFALL_BLESS").is_some() {
        fs::write(FILE, wanted).context("cannot write THIRD-PARTY.md")?;
        return Ok(None);
    }
    let found = fs::read_to_string(FILE).unwrap_or_default();
    let fault = "THIRD-PARTY.md is out of date: run LANDFALL_BLESS=1 cargo run -p landfall-structure";
    Ok((found != wanted).then(|| fault.to_owned()))
}

fn text(graph: &Graph) -> String {
    let mut text = String::from(
        "# Third-party crates in the binary\n\nGenerated and checked by `make lint`.\n\n| crate | version | licence |\n| --- | --- | --- |\n",
    );
    for (name, version, license) in graph.third_party("landfall") {
        _ = writeln!(text, "| {name} | {version} | {license} |");
    }
    text
}
