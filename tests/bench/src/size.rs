//! How large the release binary is, and the image with it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{figures::Figures, process::landfall};

/// A million bytes.
const MB: f64 = 1e6;

/// The image is the one that `make image` has made beside the binary, and the binary without AWS the one of `make bench`; without
/// them, there are no rows of them.
pub(crate) fn measure(figures: &mut Figures) -> anyhow::Result<()> {
    let program = landfall()?;
    let size = |program: &Path| {
        let size = program.metadata().with_context(|| format!("{} is missing", program.display()))?.len();
        anyhow::Ok(size as f64 / MB)
    };
    figures.add("binary, stripped", size(&program)?, "MB", Some(25.0));
    let without = program.with_file_name("landfall-without-aws");
    if without.exists() {
        figures.add("the same, without the feature aws", size(&without)?, "MB", None);
    }
    let target = program.parent().and_then(Path::parent).context("the binary lies in no folder")?;
    let layout = target.join("image/oci");
    if layout.exists() {
        let (compressed, unpacked) =
            image(&layout).with_context(|| format!("{} is no image: run make image", layout.display()))?;
        figures.add("image, compressed", compressed as f64 / MB, "MB", None);
        figures.add("image, unpacked", unpacked as f64 / MB, "MB", None);
    }
    Ok(())
}

/// What a node downloads, and what its layers become, in bytes.
fn image(layout: &Path) -> anyhow::Result<(u64, usize)> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        anyhow::Ok(layout.join("blobs/sha256").join(digest.context("a descriptor has no digest")?))
    };
    let file = blob(&index["manifests"][0])?;
    let manifest: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let mut compressed = file.metadata()?.len() + blob(&manifest["config"])?.metadata()?.len();
    let mut unpacked = 0;
    for layer in manifest["layers"].as_array().context("the manifest has no layers")? {
        let layer = blob(layer)?;
        compressed += layer.metadata()?.len();
        let output = Command::new("gzip").arg("-dc").arg(&layer).output().context("cannot run gzip")?;
        ensure!(output.status.success(), "gzip cannot unpack {}", layer.display());
        unpacked += output.stdout.len();
    }
    Ok((compressed, unpacked))
}
