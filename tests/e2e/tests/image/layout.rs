//! Whether an OCI image layout is one: every blob is what its name and its descriptor say, and none is left over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Checks a layout with one image (OCI image specification 1.0, image-layout.md, descriptor.md, manifest.md, config.md).
pub(crate) fn ensure_valid(layout: &Path) -> Result<()> {
    let version: Value = serde_json::from_slice(&fs::read(layout.join("oci-layout"))?)?;
    ensure!(version == json!({"imageLayoutVersion": "1.0.0"}), "{version}");
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let [image] = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        anyhow::bail!("not one image: {index}")
    };
    let name = &image["annotations"]["org.opencontainers.image.ref.name"];
    ensure!(name == env!("CARGO_PKG_VERSION"), "{index}");

    let mut seen = BTreeSet::new();
    let manifest: Value = serde_json::from_slice(&blob(layout, image, "manifest.v1+json", &mut seen)?)?;
    let config = &manifest["config"];
    let config: Value = serde_json::from_slice(&blob(layout, config, "config.v1+json", &mut seen)?)?;
    let [layer] = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        anyhow::bail!("not one layer: {manifest}")
    };
    blob(layout, layer, "layer.v1.tar+gzip", &mut seen)?;
    let unpacked =
        Command::new("gzip").arg("-dc").arg(path_of(layout, layer)?).output().context("run gzip")?;
    ensure!(unpacked.status.success(), "{unpacked:?}");
    ensure!(config["rootfs"]["diff_ids"] == json!([digest(&unpacked.stdout)]), "{config}");

    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    ensure!(config["os"] == "linux" && config["architecture"] == machine, "{config}");
    ensure!(config["config"]["Entrypoint"] == json!(["/usr/local/bin/landfall"]), "{config}");
    ensure!(config["config"]["User"].is_null(), "the manifests decide: {config}");
    let label = |name: &str| config["config"]["Labels"][format!("org.opencontainers.image.{name}")].as_str();
    ensure!(
        label("title") == Some("Landfall") && label("version") == Some(env!("CARGO_PKG_VERSION")),
        "{config}"
    );
    ensure!(label("created").is_some() && label("created") == config["created"].as_str(), "{config}");

    let blobs = fs::read_dir(layout.join("blobs/sha256"))?.flatten().map(|entry| entry.path());
    let left: Vec<PathBuf> = blobs.filter(|path| !seen.contains(path)).collect();
    ensure!(left.is_empty(), "nothing refers to {left:?}");
    Ok(())
}

/// The content that a descriptor refers to, after a check of its kind, size and digest.
fn blob(layout: &Path, descriptor: &Value, kind: &str, seen: &mut BTreeSet<PathBuf>) -> Result<Vec<u8>> {
    let path = path_of(layout, descriptor)?;
    let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    ensure!(descriptor["mediaType"] == format!("application/vnd.oci.image.{kind}"), "{descriptor}");
    ensure!(descriptor["size"] == content.len(), "{descriptor}, but it has {} bytes", content.len());
    ensure!(descriptor["digest"] == digest(&content), "{descriptor}, but it is {}", digest(&content));
    seen.insert(path);
    Ok(content)
}

fn path_of(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().and_then(|text| text.strip_prefix("sha256:"));
    Ok(layout.join("blobs/sha256").join(digest.with_context(|| format!("no digest in {descriptor}"))?))
}

fn digest(content: &[u8]) -> String {
    let hex = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}
