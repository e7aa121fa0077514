use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::Context as _;
use serde::Deserialize;

/// The resolved dependency graph without the dependencies of tests.
pub(crate) struct Graph {
    packages: BTreeMap<String, Package>,
    edges: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

struct Package {
    name: String,
    version: String,
    license: String,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    resolve: Resolve,
    workspace_members: BTreeSet<String>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Graph {
    /// Reads the output of `cargo metadata --format-version 1`.
    pub(crate) fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let metadata: Metadata =
            serde_json::from_slice(json).context("cargo metadata printed an unknown shape")?;
        let folder = |path: PathBuf| path.parent().map(PathBuf::from).unwrap_or_default();
        let packages = metadata
            .packages
            .into_iter()
            .map(|p| {
                let license = p.license.unwrap_or_else(|| "see its repository".to_owned());
                (p.id, Package { name: p.name, version: p.version, license, folder: folder(p.manifest_path) })
            })
            .collect();
        let shipped = |dep: &Dependency| dep.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
        let edges = metadata
            .resolve
            .nodes
            .into_iter()
            .map(|node| (node.id, node.deps.into_iter().filter(shipped).map(|dep| dep.pkg).collect()))
            .collect();
        Ok(Self { packages, edges, members: metadata.workspace_members })
    }

    /// Name and folder of every member of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &PathBuf)> {
        self.members.iter().filter_map(|id| self.packages.get(id)).map(|p| (p.name.as_str(), &p.folder))
    }

    /// Names of the workspace members that a member depends on directly.
    pub(crate) fn direct(&self, member: &str) -> BTreeSet<&str> {
        let Some(id) = self.id(member) else { return BTreeSet::new() };
        self.edges[id].iter().filter(|dep| self.members.contains(*dep)).map(|dep| self.name(dep)).collect()
    }

    /// For every package that a member reaches, the name of a package through which it does.
    pub(crate) fn reached(&self, member: &str) -> BTreeMap<&str, &str> {
        let mut reached = BTreeMap::new();
        let mut queue: Vec<&String> = self.id(member).into_iter().collect();
        while let Some(id) = queue.pop() {
            for dep in &self.edges[id] {
                if reached.insert(self.name(dep), self.name(id)).is_none() {
                    queue.push(dep);
                }
            }
        }
        reached
    }

    /// Name, version and licence of every package outside the workspace that a member reaches.
    pub(crate) fn third_party(&self, member: &str) -> BTreeSet<(&str, &str, &str)> {
        let mut seen: BTreeSet<&String> = self.id(member).into_iter().collect();
        let mut queue: Vec<&String> = seen.iter().copied().collect();
        while let Some(id) = queue.pop() {
            queue.extend(self.edges[id].iter().filter(|dep| seen.insert(dep)));
        }
        seen.into_iter()
            .filter(|id| !self.members.contains(*id))
            .filter_map(|id| self.packages.get(id))
            .map(|p| (p.name.as_str(), p.version.as_str(), p.license.as_str()))
            .collect()
    }

    fn id(&self, member: &str) -> Option<&String> {
        self.members.iter().find(|id| self.name(id) == member)
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.packages.get(id).map_or(id, |p| p.name.as_str())
    }
}
