//! The volumes of a Pod, as directories of the machine.
//!
//! Secrets, ConfigMaps, tokens and downward data are written as the kubelet does it: files are links into `..data`, a link
//! that is swapped in one step when the content changes.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccount, ServiceAccountTokenProjection,
    Volume, VolumeProjection,
};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::Context;
use super::environment;

/// Files by their path inside the volume.
type Files = BTreeMap<String, Vec<u8>>;

/// Makes or renews every volume of a Pod; call it again to follow changes. Returns the directory of each by volume name.
///
/// # Errors
/// When something that is not optional does not exist (yet), or cannot be read or written. A retry helps for these.
pub(crate) async fn materialise(
    context: &Arc<Context>,
    pod: &Pod,
    directory: &Path,
) -> Result<BTreeMap<String, PathBuf>> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut paths = BTreeMap::new();
    for volume in volumes {
        let path = one(context, pod, volume, &directory.join(&volume.name))
            .await
            .with_context(|| format!("volume {:?}", volume.name))?;
        paths.insert(volume.name.clone(), path);
    }
    Ok(paths)
}

/// The data of a Secret as text, or `None` when there is none.
pub(crate) async fn secret(context: &Context, pod: &Pod, name: &str) -> Result<Option<Files>> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace(pod));
    let Some(secret) = optional(api.get(name).await).with_context(|| format!("read the Secret {name:?}"))?
    else {
        return Ok(None);
    };
    Ok(Some(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()))
}

/// The data of a ConfigMap, or `None` when there is none.
pub(crate) async fn config_map(context: &Context, pod: &Pod, name: &str) -> Result<Option<Files>> {
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace(pod));
    let Some(map) = optional(api.get(name).await).with_context(|| format!("read the ConfigMap {name:?}"))?
    else {
        return Ok(None);
    };
    let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    Ok(Some(text.chain(binary).collect()))
}

async fn one(context: &Arc<Context>, pod: &Pod, volume: &Volume, at: &Path) -> Result<PathBuf> {
    if volume.empty_dir.is_some() {
        // As the kubelet: anybody in the Pod may write, whatever user it runs as.
        make_directory(at, 0o777)?;
        return Ok(at.to_owned());
    }
    if let Some(host_path) = &volume.host_path {
        return node_path(context, &host_path.path);
    }
    let files = if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let found = secret(context, pod, name).await?;
        required(found, "Secret", name, source.optional, source.items.as_deref())?
    } else if let Some(source) = &volume.config_map {
        let found = config_map(context, pod, &source.name).await?;
        required(found, "ConfigMap", &source.name, source.optional, source.items.as_deref())?
    } else if let Some(source) = &volume.downward_api {
        downward(pod, source.items.as_deref().unwrap_or_default())?
    } else if let Some(source) = &volume.projected {
        let mut files = Files::new();
        for part in source.sources.iter().flatten() {
            files.extend(projection(context, pod, part, at).await?);
        }
        files
    } else {
        bail!("the test bed does not know this kind of volume");
    };
    let modes = [
        volume.secret.as_ref().and_then(|source| source.default_mode),
        volume.config_map.as_ref().and_then(|source| source.default_mode),
        volume.downward_api.as_ref().and_then(|source| source.default_mode),
        volume.projected.as_ref().and_then(|source| source.default_mode),
    ];
    write(at, &files, modes.into_iter().flatten().next().map_or(0o644, i32::unsigned_abs))?;
    Ok(at.to_owned())
}

async fn projection(context: &Context, pod: &Pod, part: &VolumeProjection, at: &Path) -> Result<Files> {
    if let Some(source) = &part.secret {
        let found = secret(context, pod, &source.name).await?;
        return required(found, "Secret", &source.name, source.optional, source.items.as_deref());
    }
    if let Some(source) = &part.config_map {
        let found = config_map(context, pod, &source.name).await?;
        return required(found, "ConfigMap", &source.name, source.optional, source.items.as_deref());
    }
    if let Some(source) = &part.downward_api {
        return downward(pod, source.items.as_deref().unwrap_or_default());
    }
    if let Some(source) = &part.service_account_token {
        return Ok([(source.path.clone(), token(context, pod, source, at).await?)].into());
    }
    bail!("the test bed does not know this kind of projection")
}

/// The Pod's token: the one that is there while less than 80 % of its time has passed (as the kubelet), else a new one.
async fn token(
    context: &Context,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
    at: &Path,
) -> Result<Vec<u8>> {
    let seconds = source.expiration_seconds.unwrap_or(3600);
    let present = at.join(&source.path);
    let age =
        fs::metadata(&present).and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
    if age.is_some_and(|age| age.as_secs() < seconds.unsigned_abs() * 4 / 5) {
        return fs::read(&present).with_context(|| format!("read {}", present.display()));
    }
    let account =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let audiences: Vec<&str> = source.audience.as_deref().into_iter().collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid,
            },
        },
    });
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), namespace(pod));
    let answer: TokenRequest = accounts
        .create_subresource("token", account, &PostParams::default(), &request)
        .await
        .with_context(|| format!("ask for a token of the service account {account:?}"))?;
    let status = answer.status.context("the API server sent no token")?;
    Ok(status.token.into_bytes())
}

fn downward(pod: &Pod, items: &[DownwardAPIVolumeFile]) -> Result<Files> {
    let mut files = Files::new();
    for item in items {
        let selector =
            item.field_ref.as_ref().context("the test bed knows only fieldRef in downward data")?;
        files.insert(item.path.clone(), environment::field(pod, selector)?.into_bytes());
    }
    Ok(files)
}

/// Applies `optional` and `items` of a Secret or ConfigMap.
fn required(
    found: Option<Files>,
    what: &str,
    name: &str,
    optional: Option<bool>,
    items: Option<&[KeyToPath]>,
) -> Result<Files> {
    let Some(mut data) = found else {
        ensure!(optional == Some(true), "the {what} {name:?} does not exist");
        return Ok(Files::new());
    };
    let Some(items) = items else { return Ok(data) };
    let mut chosen = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(value) => drop(chosen.insert(item.path.clone(), value)),
            None => ensure!(optional == Some(true), "the {what} {name:?} has no key {:?}", item.key),
        }
    }
    Ok(chosen)
}

/// A path of the node's file system: what the kernel provides is the machine's, everything else the node's own.
fn node_path(context: &Context, path: &str) -> Result<PathBuf> {
    let path = Path::new(path);
    let kernel = ["/sys", "/proc", "/dev", "/lib/modules"];
    if kernel.iter().any(|prefix| path.starts_with(prefix)) {
        return Ok(path.to_owned());
    }
    let mut own = super::disk(&context.settings.directory);
    for part in path.components() {
        match part {
            Component::Normal(name) => own.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => bail!("hostPath {} must not contain `..`", path.display()),
        }
    }
    make_directory(&own, 0o755)?;
    Ok(own)
}

/// Replaces the content of a volume in one step, if it differs.
fn write(at: &Path, files: &Files, mode: u32) -> Result<()> {
    let current = at.join("..data");
    make_directory(at, 0o755)?;
    if current.exists() && read_back(&current, files) {
        return Ok(());
    }
    let before = fs::read_link(&current).ok();
    let number =
        before.as_ref().and_then(|name| name.to_str()?.strip_prefix("..")?.parse::<u64>().ok()).unwrap_or(0);
    let fresh = format!("..{}", number + 1);
    for (path, content) in files {
        let relative = Path::new(path);
        let safe = relative.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(safe, "the path {path:?} leads out of the volume");
        let file = at.join(&fresh).join(relative);
        fs::create_dir_all(file.parent().unwrap_or(at))?;
        fs::write(&file, content)
            .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(mode)))
            .with_context(|| format!("write {}", file.display()))?;
    }
    fs::create_dir_all(at.join(&fresh))?;
    let swap = at.join("..swap");
    symlink(&fresh, &swap)?;
    fs::rename(&swap, &current)?;
    for name in files.keys().filter_map(|path| Path::new(path).components().next()) {
        match symlink(Path::new("..data").join(name), at.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    if let Some(old) = before {
        fs::remove_dir_all(at.join(old))?;
    }
    Ok(())
}

/// Whether a volume has exactly this content.
fn read_back(current: &Path, files: &Files) -> bool {
    let same =
        files.iter().all(|(path, content)| fs::read(current.join(path)).is_ok_and(|there| there == *content));
    let names = fs::read_dir(current).map(|entries| entries.count()).unwrap_or(0);
    let tops: std::collections::BTreeSet<_> =
        files.keys().filter_map(|path| Path::new(path).components().next()).collect();
    same && names == tops.len()
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .with_context(|| format!("make {}", path.display()))
}

fn optional<T>(got: kube::Result<T>) -> kube::Result<Option<T>> {
    match got {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> Files {
        entries.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn content_is_replaced_in_one_step_and_old_files_go() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("volume");
        write(&at, &files(&[("key", "1"), ("sub/key", "2")]), 0o644).unwrap();
        assert_eq!(fs::read_to_string(at.join("key")).unwrap(), "1");
        assert_eq!(fs::read_to_string(at.join("sub/key")).unwrap(), "2");
        let first = fs::read_link(at.join("..data")).unwrap();
        write(&at, &files(&[("key", "1"), ("sub/key", "2")]), 0o644).unwrap();
        assert_eq!(fs::read_link(at.join("..data")).unwrap(), first, "nothing changed");
        write(&at, &files(&[("key", "3")]), 0o644).unwrap();
        assert_eq!(fs::read_to_string(at.join("key")).unwrap(), "3");
        assert!(!at.join("sub/key").exists() && !at.join(first).exists());
        write(&at, &files(&[("key", "4")]), 0o400).unwrap();
        assert_eq!(fs::metadata(at.join("key")).unwrap().permissions().mode() & 0o777, 0o400);
        write(&at, &Files::new(), 0o644).unwrap();
        assert!(!at.join("key").exists());
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write(directory.path(), &files(&[("../key", "1")]), 0o644).is_err());
    }

    #[test]
    fn optional_sources_may_be_absent_and_items_choose_keys() {
        assert!(required(None, "Secret", "s", Some(true), None).unwrap().is_empty());
        let refused = required(None, "Secret", "s", None, None).unwrap_err();
        assert_eq!(refused.to_string(), "the Secret \"s\" does not exist");
        let items = [KeyToPath { key: "a".into(), path: "x/y".into(), mode: None }];
        let chosen =
            required(Some(files(&[("a", "1"), ("b", "2")])), "Secret", "s", None, Some(&items)).unwrap();
        assert_eq!(chosen, files(&[("x/y", "1")]));
    }
}
