//! Where the programs are that the bed runs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The programs that the bed starts.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The folder with `etcd`, `kube-apiserver`, … and `kubectl`.
    pub control_plane: PathBuf,
    /// This package's own binary: it runs containers and backends.
    pub testbed: PathBuf,
    /// The `landfall` binary; `None` until it was built. Only Pods with a Landfall image need it.
    pub landfall: Option<PathBuf>,
}

impl Programs {
    /// Finds them: by the environment (`LANDFALL_CONTROL_PLANE`, `LANDFALL_TESTBED_BIN`, `LANDFALL_BIN`), else beside the
    /// running executable, as cargo puts them. The control plane is built when it is not there (a few minutes, once).
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
        Ok(Self { control_plane, testbed, landfall })
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
        let name = image_name(image);
        if name == "landfall-testbed/backend" {
            return Ok(Image::installed(&self.testbed, Some("backend")));
        }
        if name == "landfall" || name.ends_with("/landfall") {
            let program = self.landfall.as_ref().context(
                "the program landfall is not built: run `cargo build -p landfall` or set LANDFALL_BIN to it",
            )?;
            return Ok(Image::installed(program, None));
        }
        if name == "landfall-testbed/host" {
            return Ok(Image { program: PathBuf::from("/bin/sh"), installed: None, first_argument: None });
        }
        bail!(
            "the test bed has no image {image:?}: it knows landfall (any registry), landfall-testbed/backend, and \
             landfall-testbed/host for programs of the machine"
        )
    }
}

/// What runs when a container does not name a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The entry point, on the machine.
    pub program: PathBuf,
    /// Where the image has it, when it is not a part of the machine's own root file system. (Its folder on the machine may
    /// be closed to the container's user.)
    pub installed: Option<PathBuf>,
    /// What comes before the container's own arguments.
    pub first_argument: Option<&'static str>,
}

impl Image {
    fn installed(program: &Path, first_argument: Option<&'static str>) -> Self {
        let installed = program.file_name().map(|name| Path::new("/usr/local/bin").join(name));
        Self { program: program.to_owned(), installed, first_argument }
    }

    /// The entry point as the container sees it.
    #[must_use]
    pub fn entry(&self) -> &Path {
        self.installed.as_deref().unwrap_or(&self.program)
    }
}

/// An image reference without its tag and digest.
fn image_name(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before a slash belongs to a registry's port.
        Some((front, tag)) if !tag.contains('/') => front,
        Some(_) | None => name,
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
        for (image, name) in [
            ("landfall", "landfall"),
            ("landfall:v1", "landfall"),
            ("registry:5000/team/landfall", "registry:5000/team/landfall"),
            ("registry:5000/team/landfall:v1@sha256:abc", "registry:5000/team/landfall"),
            ("landfall-testbed/backend:1", "landfall-testbed/backend"),
        ] {
            assert_eq!(image_name(image), name, "{image}");
        }
    }

    #[test]
    fn images_select_programs() {
        let programs = Programs {
            control_plane: "/cp".into(),
            testbed: "/bin/testbed".into(),
            landfall: Some("/bin/landfall".into()),
        };
        let of = |image| programs.of_image(image);
        assert_eq!(of("ghcr.io/x/landfall:dev").unwrap().program, PathBuf::from("/bin/landfall"));
        assert_eq!(of("landfall").unwrap().entry(), Path::new("/usr/local/bin/landfall"));
        assert_eq!(of("landfall-testbed/host").unwrap().entry(), Path::new("/bin/sh"));
        assert_eq!(of("landfall-testbed/backend").unwrap().first_argument, Some("backend"));
        assert!(of("nginx").unwrap_err().to_string().contains("landfall-testbed/backend"));
        let unbuilt = Programs { landfall: None, ..programs.clone() };
        assert!(unbuilt.of_image("landfall").unwrap_err().to_string().contains("cargo build -p landfall"));
    }
}
