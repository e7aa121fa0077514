//! `landfall plan`: what would be, from manifests alone. No cluster is asked and nothing is written.

mod announcements;
mod assignment;
mod candidates;
mod planner;
mod render;
mod report;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use landfall_kubernetes::source::{Snapshot, is_manifest};

pub(crate) use candidates::{Candidates, Place, Question, candidates};

use self::planner::Options;
use crate::{
    bgp_type::BgpType,
    classes::ClassArgs,
    output::{Output, print},
};

/// `landfall plan`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    /// Files and directories of manifests, or - for standard input
    #[arg(short, long, value_name = "PATH", required = true, num_args = 1..)]
    files: Vec<PathBuf>,

    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Output,

    /// What announces by BGP, which decides about the settings that it can have
    #[arg(long, value_name = "MODE", default_value = "frr-k8s")]
    mode: BgpType,

    /// In which order nodes are candidates for an address on layer 2
    #[arg(long, value_name = "ORDER", default_value = "metallb")]
    election: Election,

    /// Nodes whose speakers are alive, with commas between; without it, all nodes of the manifests
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    speakers: Option<Vec<String>>,

    /// Let nodes announce although they carry the label node.kubernetes.io/exclude-from-external-load-balancers
    #[arg(long)]
    ignore_exclude_lb: bool,

    #[command(flatten)]
    classes: ClassArgs,

    /// Namespace of pools, advertisements and peers; without it the one that they name, or metallb-system
    #[arg(long, env = "LANDFALL_NAMESPACE", value_name = "NAME")]
    install_namespace: Option<String>,

    /// Exit with 1 also when a Service would lose an address that it has
    #[arg(long)]
    no_moves: bool,
}

/// The order of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Election {
    /// Preferred nodes first, then by the hash of node and address.
    Metallb,
}

impl PlanArgs {
    /// Exit code 0: the configuration is valid; 1: it is not, or with `--no-moves` an address would be lost; 2 (an error):
    /// the manifests could not be read.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {
            files,
            output,
            mode,
            election: Election::Metallb,
            speakers,
            ignore_exclude_lb,
            classes,
            install_namespace,
            no_moves,
        } = self;
        let texts = read(&files)?;
        let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let namespace = install_namespace.as_deref().filter(|name| !name.is_empty());
        let snapshot = Snapshot::read(texts, namespace).map_err(anyhow::Error::msg)?;
        let options = Options {
            mode: mode.into(),
            speakers: speakers.map(|names| {
                let names = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
                names.map(Into::into).collect::<BTreeSet<_>>()
            }),
            ignore_exclude_lb,
            classes: classes.classes()?,
        };
        let (report, lost) = planner::plan(snapshot, &options);
        print(&output.render(&report, render::text)?)?;
        Ok(ExitCode::from(u8::from(!report.config.valid || (no_moves && lost))))
    }
}

/// Names and texts of all files. Of a directory those that end in `.yaml`, `.yml` or `.json`, by name, and none of the
/// folders in it.
fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        let mut files = vec![path.clone()];
        if path.is_dir() {
            let entries = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
            files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
            files.retain(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_manifest));
            files.sort();
            if files.is_empty() {
                bail!("{} has no file that ends in .yaml, .yml or .json", path.display());
            }
        }
        for file in files {
            let text =
                fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            texts.push((file.display().to_string(), text));
        }
    }
    Ok(texts)
}
