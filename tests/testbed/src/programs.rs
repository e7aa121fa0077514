//! Where the programs are that the bed runs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The programs that the bed starts.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The folder with `etcd`, `kube-apiserver`, … and `kubectl`.
    pub control_plane: PathBuf,
    /// This package's own binary: it runs containers and backends.
    pub testbed: PathBuf,
    /// The `landfall` binary; `None` until it was built. Only Pods with a Landfall image need it.
    pub landfall: Option<PathBuf>,
    /// The `landfall` binary of an earlier version. Pods with a Landfall image of the tag `previous` run it.
    pub previous: Option<PathBuf>,
    /// An image that was unpacked by `umoci unpack`. Where it is set, Pods with a Landfall image run this one: its root file
    /// system and its entry point, and nothing of the machine's.
    pub image: Option<PathBuf>,
}

impl Programs {
    /// Finds them: by the environment (`LANDFALL_CONTROL_PLANE`, `LANDFALL_TESTBED_BIN`, `LANDFALL_BIN`; an earlier
    /// version by `LANDFALL_PREVIOUS`, a folder with its binary; an image by `LANDFALL_IMAGE`), else beside the running executable, as cargo puts them. The control plane is built when it is not there (a few minutes, once).
    ///
    /// # Errors
    /// Names the program that is missing, and how to get it.
    pub fn find() -> Result<Self> {
        let control_plane = match env::var_os("LANDFALL_CONTROL_PLANE") {
            Some(folder) => PathBuf::from(folder),
            None => build_control_plane()?,
        };
        ensure!(
            control_plane.join("kube-apiserver").exists(),
            "{} holds no control plane: unset LANDFALL_CONTROL_PLANE, or set it to what tests/testbed/control-plane/build prints",
            control_plane.display()
        );
        let testbed = beside("landfall-testbed", "LANDFALL_TESTBED_BIN")?
            .context("the program landfall-testbed is not built: run `cargo build -p landfall-testbed`")?;
        let landfall = beside("landfall", "LANDFALL_BIN")?;
        let image = env::var_os("LANDFALL_IMAGE").map(PathBuf::from);
        let previous = env::var_os("LANDFALL_PREVIOUS").map(|folder| Path::new(&folder).join("landfall"));
        Ok(Self { control_plane, testbed, landfall, previous, image })
    }

    /// A program of the control plane.
    #[must_use]
    pub fn control_plane(&self, name: &str) -> PathBuf {
        self.control_plane.join(name)
    }

    /// The program that an image name stands for, or what to tell the user.
    ///
    /// # Errors
    /// The message of an image that cannot be pulled.
    pub fn of_image(&self, image: &str) -> Result<Image> {
        let (name, tag) = name_and_tag(image);
        if name == "landfall-testbed/backend" {
            return Ok(Image::installed(&self.testbed, Some("backend")));
        }
        if name == "landfall" || name.ends_with("/landfall") {
            if let Some(bundle) = &self.image {
                return Image::unpacked(bundle);
            }
            if tag == Some("previous") {
                let program = self.previous.as_ref();
                return Ok(Image::installed(
                    program
                        .context("no earlier version is there: set LANDFALL_PREVIOUS, as tests/run does")?,
                    None,
                ));
            }
            let program = self.landfall.as_ref().context(
                "the program landfall is not built: run `cargo build -p landfall` or set LANDFALL_BIN to it",
            )?;
            return Ok(Image::installed(program, None));
        }
        if name == "landfall-testbed/host" {
            return Ok(Image {
                root: "/".into(),
                entry: vec!["/bin/sh".into()],
                installed: None,
                user: None,
            });
        }
        bail!(
            "the test bed has no image {image:?}: it knows landfall (any registry), landfall-testbed/backend, and \
             landfall-testbed/host for programs of the machine"
        )
    }
}

/// What a container is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The root file system, a directory of the machine. Containers write to copies of their own.
    pub root: PathBuf,
    /// The program and its first arguments, which run when a container does not name a command.
    pub entry: Vec<String>,
    /// A program of the machine that appears in the root file system, and where. (Its folder on the machine may be closed to
    /// the container's user.)
    pub installed: Option<(PathBuf, PathBuf)>,
    /// The user and the group that run it where a Pod names none.
    pub user: Option<(u32, u32)>,
}

impl Image {
    fn installed(program: &Path, argument: Option<&str>) -> Self {
        let inside = Path::new("/usr/local/bin").join(program.file_name().unwrap_or_default());
        let entry =
            std::iter::once(inside.display().to_string()).chain(argument.map(str::to_owned)).collect();
        Self { root: "/".into(), entry, installed: Some((program.to_owned(), inside)), user: None }
    }

    /// A bundle of the OCI runtime specification: the folder `rootfs`, and `config.json` with what the image says of its
    /// process. The image's environment and working directory are not known here.
    fn unpacked(bundle: &Path) -> Result<Self> {
        let file = bundle.join("config.json");
        let text = std::fs::read(&file).with_context(|| {
            format!("read {}: LANDFALL_IMAGE must name what `umoci unpack` has written", file.display())
        })?;
        let config: RuntimeConfig =
            serde_json::from_slice(&text).with_context(|| format!("understand {}", file.display()))?;
        let RuntimeProcess { args: entry, user: User { uid, gid } } = config.process;
        ensure!(!entry.is_empty(), "{} names no program: the image has no entry point", file.display());
        Ok(Self { root: bundle.join("rootfs"), entry, installed: None, user: Some((uid, gid)) })
    }
}

#[derive(Deserialize)]
struct RuntimeConfig {
    process: RuntimeProcess,
}

#[derive(Deserialize)]
struct RuntimeProcess {
    args: Vec<String>,
    user: User,
}

#[derive(Deserialize)]
struct User {
    uid: u32,
    gid: u32,
}

/// An image reference without its digest, in two parts.
fn name_and_tag(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        // A colon before a slash belongs to a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (image, None),
    }
}

fn beside(name: &str, variable: &str) -> Result<Option<PathBuf>> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} is set to {}, and there is no such file", path.display());
        return Ok(Some(path.canonicalize()?));
    }
    let executable = env::current_exe().context("find the running executable")?;
    // Tests run from a `deps` folder below the one that holds the programs.
    let folders = executable.ancestors().skip(1).take(2);
    Ok(folders.map(|folder| folder.join(name)).find(|path| path.is_file()))
}

fn build_control_plane() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane/build");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed ({}); its words are above", script.display(), output.status);
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_digests_and_ports_are_told_apart() {
        for (image, name, tag) in [
            ("landfall", "landfall", None),
            ("landfall:v1", "landfall", Some("v1")),
            ("registry:5000/team/landfall", "registry:5000/team/landfall", None),
            ("registry:5000/team/landfall:v1@sha256:abc", "registry:5000/team/landfall", Some("v1")),
            ("landfall-testbed/backend:1", "landfall-testbed/backend", Some("1")),
        ] {
            assert_eq!(name_and_tag(image), (name, tag), "{image}");
        }
    }

    #[test]
    fn images_select_programs() {
        let programs = Programs {
            control_plane: "/cp".into(),
            testbed: "/bin/testbed".into(),
            landfall: Some("/bin/landfall".into()),
            previous: Some("/old/landfall".into()),
            image: None,
        };
        let of = |image| programs.of_image(image);
        let inside = PathBuf::from("/usr/local/bin/landfall");
        assert_eq!(of("ghcr.io/x/landfall:dev").unwrap().installed, Some(("/bin/landfall".into(), inside)));
        let old = of("ghcr.io/x/landfall:previous").unwrap().installed.map(|(program, _)| program);
        assert_eq!(old, Some("/old/landfall".into()));
        assert_eq!(of("landfall").unwrap().entry, ["/usr/local/bin/landfall"]);
        assert_eq!(of("landfall-testbed/host").unwrap().entry, ["/bin/sh"]);
        assert_eq!(of("landfall-testbed/backend").unwrap().entry, ["/usr/local/bin/testbed", "backend"]);
        assert!(of("nginx").unwrap_err().to_string().contains("landfall-testbed/backend"));
        let unbuilt = Programs { landfall: None, ..programs.clone() };
        assert!(unbuilt.of_image("landfall").unwrap_err().to_string().contains("cargo build -p landfall"));
    }
    #[test]
    fn an_unpacked_image_brings_its_own_root_and_entry_point() {
        let bundle = tempfile::tempdir().unwrap();
        let programs = Programs {
            control_plane: "/cp".into(),
            testbed: "/bin/testbed".into(),
            landfall: Some("/bin/landfall".into()),
            previous: None,
            image: Some(bundle.path().to_owned()),
        };
        let refused = programs.of_image("landfall").unwrap_err().to_string();
        assert!(refused.contains("umoci unpack"), "{refused}");
        let config = |args| format!(r#"{{"process": {{"args": {args}, "user": {{"uid": 1, "gid": 2}}}}}}"#);
        std::fs::write(bundle.path().join("config.json"), config(r#"["/x", "-y"]"#)).unwrap();
        let image = programs.of_image("registry.test:5000/landfall:1").unwrap();
        let entry = vec!["/x".to_owned(), "-y".to_owned()];
        let root = bundle.path().join("rootfs");
        assert_eq!(image, Image { root, entry, installed: None, user: Some((1, 2)) });
        assert_eq!(programs.of_image("landfall-testbed/backend").unwrap().root, Path::new("/"));
        std::fs::write(bundle.path().join("config.json"), config("[]")).unwrap();
        assert!(programs.of_image("landfall").unwrap_err().to_string().contains("no entry point"));
    }
}
