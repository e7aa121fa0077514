//! Our definitions of the kinds of `metallb.io` beside MetalLB's own, which `tests/interop/metallb/build` generates from
//! MetalLB's types: nothing differs but what is listed, and either can be put over the other.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod compare;
mod objects;
mod probes;
mod takeover;

use std::{env, fs, path::PathBuf, process::Command};

use landfall_kubernetes::api;
use serde_json::{Value, json};

/// MetalLB's definitions, ordered by name.
fn theirs() -> Vec<Value> {
    let folder = env::var_os("LANDFALL_METALLB").map_or_else(generate, PathBuf::from);
    let mut all: Vec<Value> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| serde_saphyr::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap())
        .collect();
    all.sort_by_key(|crd| crd["metadata"]["name"].to_string());
    assert!(!all.is_empty(), "{} holds no definitions", folder.display());
    all
}

fn generate() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/interop/metallb/build");
    let output = Command::new(script).output().expect(script);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Ours, in the same form and order.
fn ours() -> Vec<Value> {
    api::crds().iter().map(|crd| json!(crd)).collect()
}

fn name(crd: &Value) -> &str {
    crd["metadata"]["name"].as_str().expect("a definition has a name")
}
