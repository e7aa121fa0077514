//! A cluster whose nodes run the image: nothing of the machine is in the containers' root file systems.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use landfall_e2e::Cluster;
use landfall_e2e::cluster::ANSWERED;
use landfall_e2e::manifests::{NAMESPACE, advertisement, list, pool, service};
use landfall_e2e::processes;
use landfall_e2e::requests::{first_answer, settled};
use landfall_testbed::programs::Programs;
use serde_json::json;

/// Installs Landfall with this unpacked image as the README says, and uses it.
pub(crate) fn from_image(bundle: &Path) -> Result<()> {
    let programs = Programs { image: Some(bundle.to_owned()), ..Programs::find()? };
    let cluster = Cluster::start_with(programs)?;
    let result = scenario(&cluster, &bundle.join("rootfs"));
    result.with_context(|| cluster.diagnosis())?;
    cluster.teardown()
}

fn scenario(cluster: &Cluster, root: &Path) -> Result<()> {
    cluster.install()?;
    cluster.apply(&list([
        pool("lan", &["10.77.0.200-10.77.0.239"], json!({})),
        advertisement("lan", &["lan"]),
    ]))?;
    cluster.deploy_backends("web", 3)?;
    // Its rules are loaded by the image's own nft; without them nobody would announce the address.
    let changes = json!({"metadata": {"annotations": {"landfall.dev/forwarding": "node-port"}}});
    cluster.apply(&service("ported", "web", changes))?;
    let target = SocketAddr::new(cluster.address("ported")?, 80);
    settled(cluster.client(), target, ANSWERED)?;
    cluster.apply(&service("announced", "web", json!({})))?;
    first_answer(cluster.client(), SocketAddr::new(cluster.address("announced")?, 80), ANSWERED)?;

    for (component, count) in [("controller", 2), ("speaker", 3)] {
        let pods = cluster.pods(NAMESPACE, &format!("component={component}"))?;
        ensure!(pods.len() == count, "{} Pods of the {component}", pods.len());
        for pod in pods {
            for pid in processes::of_pod(&pod.name_any())? {
                confined(pid, root, component).with_context(|| format!("{} ({pid})", pod.name_any()))?;
            }
        }
    }
    cluster.ensure_rights()
}

/// Checks that a process has the image as its root file system, and that nothing in it can be changed, not even by root.
fn confined(pid: i32, image: &Path, component: &str) -> Result<()> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let program = fs::read_link(process.join("exe"))?;
    ensure!(program.ends_with("usr/local/bin/landfall"), "it runs {}", program.display());
    let command = fs::read_to_string(process.join("cmdline"))?;
    ensure!(command.starts_with(&format!("/usr/local/bin/landfall\0{component}\0")), "{command:?}");

    let mounts = fs::read_to_string(process.join("mountinfo"))?;
    let lower = format!("lowerdir={},", image.display());
    let roots: Vec<&str> = mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/")).collect();
    ensure!(roots.len() == 1 && roots[0].contains(&lower), "{lower} is not its root: {mounts}");
    let root = process.join("root");
    ensure!(!root.join("bin/sh").exists(), "there is a shell");
    for folder in ["", "etc", "run", "usr/local/bin", "var/lib"] {
        let file = root.join(folder).join("written");
        let refused = File::create(&file).expect_err("a file was made in the image").kind();
        ensure!(refused == ErrorKind::ReadOnlyFilesystem, "/{folder}: {refused}");
    }
    Ok(())
}
