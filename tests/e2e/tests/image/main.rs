//! The container image: the same bytes wherever it is built, and everything in it that both daemons need.

mod layout;
mod serving;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use landfall_testbed::guide::repository;
use landfall_testbed::programs::Programs;

#[test]
#[ignore = "needs root, the control plane, umoci and Debian's packages; make test runs it"]
fn an_image_is_built_the_same_twice_and_serves() {
    let folder = tempfile::Builder::new().prefix("lf-image-").tempdir().expect("a folder");
    let bundle = reproducible(folder.path()).expect("an image that is the same each time");
    serving::from_image(&bundle).expect("Landfall runs from its image");
}

/// Builds the image of the binary under test twice, compares, and answers where it is unpacked.
fn reproducible(folder: &Path) -> Result<PathBuf> {
    let built = Programs::find()?.landfall.context("landfall is not built: run `cargo build -p landfall`")?;
    // Debug information would make the test slow, and a release has none.
    let binary = folder.join("landfall");
    run(Command::new("strip").arg("-o").arg(&binary).arg(built))?;
    let packages = packages(folder)?;

    let first = folder.join("first");
    let said = run(script("build").args([&binary, &packages, &first]))?;
    ensure!(said.trim() == format!("oci:{}:{}", first.display(), env!("CARGO_PKG_VERSION")), "{said:?}");
    // Another place, another clock and language, other rights on what goes in, and over an older layout.
    let elsewhere = folder.join("else/where");
    fs::create_dir_all(elsewhere.join("second"))?;
    fs::write(elsewhere.join("second/oci-layout"), "of an older image")?;
    let copy = elsewhere.join("a-binary");
    fs::copy(&binary, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700))?;
    symlink(&packages, elsewhere.join("packages"))?;
    let mut again = Command::new("bash");
    again.args(["-c", "umask 077; exec \"$@\"", "bash"]).arg(repository().join("deploy/image/build"));
    again.args(["a-binary", "packages", "second"]).current_dir(&elsewhere);
    run(again.env("TZ", "Pacific/Apia").env("LC_ALL", "tr_TR.UTF-8"))?;
    let second = elsewhere.join("second");
    let (one, other) = (files(&first)?, files(&second)?);
    ensure!(one.len() == 5, "layout, index, manifest, configuration and layer, not {:?}", one.keys());
    ensure!(one.keys().eq(other.keys()), "{:?} and {:?}", one.keys(), other.keys());
    let differs = one.iter().find(|(name, content)| other.get(*name) != Some(content));
    ensure!(differs.is_none(), "{:?} differs", differs.map(|(name, _)| name));

    layout::ensure_valid(&first)?;
    let bundle = folder.join("bundle");
    let image = format!("{}:{}", first.display(), env!("CARGO_PKG_VERSION"));
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle))?;
    ensure_contents(&bundle.join("rootfs"), &binary)?;
    refuses(&binary, &packages, &elsewhere)?;
    Ok(bundle)
}

/// The folder that `make test` has filled with Debian's packages, or one that is filled now.
fn packages(folder: &Path) -> Result<PathBuf> {
    if let Some(filled) = std::env::var_os("LANDFALL_IMAGE_PACKAGES") {
        return Ok(PathBuf::from(filled));
    }
    let packages = folder.join("packages");
    let architecture = run(Command::new("dpkg").arg("--print-architecture"))?;
    run(script("packages").arg(architecture.trim()).arg(&packages))?;
    Ok(packages)
}

/// What is in the root file system, and what is not.
fn ensure_contents(root: &Path, binary: &Path) -> Result<()> {
    ensure!(fs::read(root.join("usr/local/bin/landfall"))? == fs::read(binary)?, "it is the binary");
    ensure!(fs::read_link(root.join("usr/local/bin/kubectl-landfall"))? == Path::new("landfall"));
    let programs: Vec<PathBuf> = ["usr/bin", "usr/sbin", "usr/local/bin"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).into_iter().flatten().flatten())
        .map(|entry| PathBuf::from(entry.file_name()))
        .collect();
    ensure!(programs.len() == 3, "nft, landfall and its link, no shell: {programs:?}");
    let certificates = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt"))?;
    let count = certificates.matches("-----BEGIN CERTIFICATE-----\n").count();
    ensure!(count > 50 && certificates.matches("\n-----END CERTIFICATE-----\n").count() == count, "{count}");
    for (file, line) in [("passwd", "nobody:x:65534:65534:"), ("group", "nogroup:x:65534:")] {
        let text = fs::read_to_string(root.join("etc").join(file))?;
        ensure!(text.lines().any(|known| known.starts_with(line)), "/etc/{file}: {text}");
    }
    // Every package is named with its version and its licence.
    let inventory = files(&root.join("var/lib/dpkg/status.d"))?;
    for package in ["base-files", "ca-certificates", "libc6", "libnftables1", "nftables"] {
        ensure!(inventory.contains_key(Path::new(package)), "{package} is not in {:?}", inventory.keys());
    }
    for (package, fields) in &inventory {
        let fields = String::from_utf8_lossy(fields);
        let has = |start: &str| fields.lines().any(|line| line.starts_with(start));
        ensure!(has(&format!("Package: {}", package.display())) && has("Version: "), "{fields}");
        let licence = root.join("usr/share/doc").join(package).join("copyright");
        ensure!(fs::metadata(&licence).is_ok_and(|file| file.len() > 0), "{} is missing", licence.display());
    }
    ensure!(root.join("usr/share/common-licenses/GPL-2").is_file(), "the texts of the licences");
    // Whoever the container runs as can read everything and change nothing.
    for path in walk(root)? {
        let meta = fs::symlink_metadata(&path)?;
        let (mode, what) = (meta.mode() & 0o7777, path.display());
        ensure!(meta.uid() == 0 && meta.gid() == 0, "{what} belongs to {}:{}", meta.uid(), meta.gid());
        ensure!(meta.is_symlink() || [0o755, 0o644].contains(&mode), "{what} has the mode {mode:o}");
    }
    Ok(())
}

/// Mistakes are told in words that say what to do.
fn refuses(binary: &Path, packages: &Path, elsewhere: &Path) -> Result<()> {
    let valuable = elsewhere.join("valuable");
    fs::create_dir_all(valuable.join("work"))?;
    let none = elsewhere.join("nothing");
    for (arguments, words) in [
        ([binary, packages, &valuable], "is no OCI layout: remove it"),
        ([binary, &none, &none], "fill it with deploy/image/packages"),
        ([&none, packages, &none], "make it with `make build`"),
        ([&repository().join("Makefile"), packages, &none], "is no program for amd64 or arm64"),
    ] {
        let refused = run(script("build").args(arguments)).expect_err("a mistake").to_string();
        ensure!(refused.contains(words), "{words:?} is not in {refused}");
    }
    ensure!(valuable.join("work").is_dir(), "it is untouched");
    let left: Vec<PathBuf> =
        walk(elsewhere)?.into_iter().filter(|path| path.ends_with("layer.tar")).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

fn script(name: &str) -> Command {
    Command::new(repository().join("deploy/image").join(name))
}

/// Runs a program to its end and answers what it printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {words}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The files below a folder with their content.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let paths = walk(folder)?.into_iter().filter(|path| path.is_file());
    paths.map(|path| Ok((path.strip_prefix(folder)?.to_owned(), fs::read(&path)?))).collect()
}

/// Everything below a folder, and the folder.
fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(walk(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}
