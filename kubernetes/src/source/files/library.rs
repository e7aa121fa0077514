use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use landfall_model::{Forwarding, Invalid, ObjectName, Observation, Reason, ServiceKey};
use serde_json::{Value, json};

use super::{Directory, manifest};
use crate::{
    overlay::Overlay,
    source::{
        kind::{EndpointSlices, Kind, L2Advertisements, Namespaces, Nodes, Pools, Services, Speakers},
        seen::Seen,
        tracker::Tracker,
    },
};

/// The parsed content of a directory.
pub(super) struct Library {
    directory: PathBuf,
    files: BTreeMap<String, File>,
}

/// One file of manifests.
#[derive(Default)]
struct File {
    /// Documents of its last good content.
    documents: Vec<Value>,
    /// Why its newest content is not in force.
    error: Option<String>,
}

impl Library {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), files: BTreeMap::new() }
    }

    /// Every object of the last good contents.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Value> {
        self.files.values().flat_map(|file| &file.documents)
    }

    /// Reads every file anew.
    pub(super) fn read_all(&mut self) -> io::Result<()> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.directory)? {
            names.extend(entry?.file_name().into_string().ok().filter(|name| is_manifest(name)));
        }
        self.files.retain(|name, _| names.contains(name));
        names.iter().try_for_each(|name| self.read(name))
    }

    /// Reads one file anew, or forgets it when it is gone. Names of other files change nothing.
    pub(super) fn read(&mut self, name: &str) -> io::Result<()> {
        if !is_manifest(name) {
            return Ok(());
        }
        match fs::read_to_string(self.directory.join(name)) {
            Ok(text) => {
                let file = self.files.entry(name.to_owned()).or_default();
                match manifest::parse(&text) {
                    Ok(documents) => *file = File { documents, error: None },
                    Err(error) => file.error = Some(error),
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.files.remove(name);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let file = self.files.entry(name.to_owned()).or_default();
                file.error = Some("it is not UTF-8 text; save it as such".to_owned());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether a file of this name is read. Names that begin with a dot are drafts of editors.
#[must_use]
pub fn is_manifest(name: &str) -> bool {
    let suffix = Path::new(name).extension().and_then(|suffix| suffix.to_str());
    !name.starts_with('.') && matches!(suffix, Some("yaml" | "yml" | "json"))
}

/// What was said about each kind.
pub(super) struct Shelf {
    directory: Directory,
    services: Tracker<Services>,
    pools: Tracker<Pools>,
    advertisements: Tracker<L2Advertisements>,
    nodes: Tracker<Nodes>,
    slices: Tracker<EndpointSlices>,
    namespaces: Tracker<Namespaces>,
    speakers: Tracker<Speakers>,
    /// The files that were reported as invalid, with the reason.
    broken: BTreeMap<String, String>,
    /// Where the manifest of each status file's Service stands.
    places: BTreeMap<PathBuf, Place>,
}

/// A file of manifests, and the number of the document in it.
type Place = (String, usize);

impl Shelf {
    pub(super) fn new(directory: Directory) -> Self {
        Self {
            directory,
            services: Tracker::new(),
            pools: Tracker::new(),
            advertisements: Tracker::new(),
            nodes: Tracker::new(),
            slices: Tracker::new(),
            namespaces: Tracker::new(),
            speakers: Tracker::new(),
            broken: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// What changed since the last comparison. Cost follows the number of objects, not of changes: people write few manifests,
    /// and seldom.
    pub(super) fn compare(&mut self, library: &Library) -> Vec<Observation> {
        let mut broken = BTreeMap::new();
        let mut objects: BTreeMap<(String, ServiceKey), (&str, Value)> = BTreeMap::new();
        self.places.clear();
        for (file, content) in &library.files {
            if let Some(error) = &content.error {
                broken.insert(file.clone(), error.clone());
            }
            for (number, document) in content.documents.iter().enumerate() {
                let id = manifest::identity(document);
                if let Some((first, _)) = objects.get(&id) {
                    let message = format!("{} {} stands already in {first}; remove one of them", id.0, id.1);
                    broken.entry(file.clone()).or_insert(message);
                } else {
                    if id.0 == Services::KIND {
                        let status = Overlay::path(&self.directory.statuses, &id.1);
                        self.places.insert(status, (file.clone(), number));
                    }
                    objects.insert(id, (file, document.clone()));
                }
            }
        }
        self.add_members(&mut objects);
        let used: BTreeSet<Box<str>> = objects.keys().map(|(_, key)| key.namespace.clone()).collect();
        for namespace in used.into_iter().filter(|namespace| !namespace.is_empty()) {
            let id =
                (Namespaces::KIND.to_owned(), ServiceKey { namespace: "".into(), name: namespace.clone() });
            objects.entry(id).or_insert_with(|| ("", json!({ "metadata": { "name": namespace } })));
        }
        let mut said = self.compare_files(broken);
        said.extend(self.compare_objects(objects));
        said
    }

    /// What the statuses of these names changed since the last comparison, while no manifest did. Cost follows their number:
    /// each decision about one of many Services writes one.
    pub(super) fn compare_statuses(
        &mut self,
        library: &Library,
        names: &BTreeSet<String>,
    ) -> Vec<Observation> {
        let mut said = Vec::new();
        for name in names {
            let Some((file, number)) = self.places.get(&self.directory.statuses.join(name)) else {
                continue;
            };
            let document = library.files.get(file).and_then(|file| file.documents.get(*number));
            if let Some(document) = document.cloned() {
                let (_, key) = manifest::identity(&document);
                said.extend(self.compare_service(key, document));
            }
        }
        said
    }

    fn compare_service(&mut self, key: ServiceKey, object: Value) -> Vec<Observation> {
        let status = Overlay::path(&self.directory.statuses, &key);
        let overlay = Overlay::read(&status).unwrap_or_else(|error| {
            tracing::warn!(service = %key, %error, "the status cannot be read; it counts as empty");
            None
        });
        let mut outcome = manifest::service(object, overlay.unwrap_or_default());
        if self.directory.members.is_some()
            && let Ok(Some(view)) = &mut outcome
        {
            // There is no kube-proxy that would take the packets.
            view.requests.forwarding.get_or_insert(Ok(Forwarding::NodePort));
        }
        self.services.apply(key, outcome)
    }

    /// Standalone: the Nodes that no manifest names, and the speaker of each Node.
    fn add_members(&self, objects: &mut BTreeMap<(String, ServiceKey), (&str, Value)>) {
        for (name, addresses) in self.directory.members.iter().flatten() {
            let id = (Nodes::KIND.to_owned(), ServiceKey::new("", name));
            objects.entry(id).or_insert_with(|| ("", manifest::node(name, addresses)));
        }
        if self.directory.members.is_some() {
            let nodes = objects.iter().filter(|((kind, _), _)| kind == Nodes::KIND);
            let speakers: Vec<Value> = nodes.map(|(_, (_, node))| manifest::speaker_of(node)).collect();
            objects.retain(|(kind, _), _| kind != Speakers::KIND);
            objects.extend(speakers.into_iter().map(|pod| (manifest::identity(&pod), ("", pod))));
        }
    }

    fn compare_files(&mut self, broken: BTreeMap<String, String>) -> Vec<Observation> {
        let name = |file: &str| ObjectName { kind: "File", namespace: "".into(), name: file.into() };
        let mended = self.broken.keys().filter(|file| !broken.contains_key(*file));
        let mut said: Vec<Observation> = mended.map(|file| Observation::Invalid(name(file), None)).collect();
        for (file, message) in broken.iter().filter(|(file, message)| self.broken.get(*file) != Some(message))
        {
            let invalid =
                Invalid { field: "".into(), reason: Reason::InvalidValue, message: message.as_str().into() };
            said.push(Observation::Invalid(name(file), Some(Box::new(invalid))));
        }
        self.broken = broken;
        said
    }

    fn compare_objects(
        &mut self,
        objects: BTreeMap<(String, ServiceKey), (&str, Value)>,
    ) -> Vec<Observation> {
        self.services.begin();
        self.pools.begin();
        self.advertisements.begin();
        self.nodes.begin();
        self.slices.begin();
        self.namespaces.begin();
        self.speakers.begin();
        let mut said = Vec::new();
        for ((kind, key), (_, mut object)) in objects {
            said.extend(match kind.as_str() {
                Services::KIND => self.compare_service(key, object),
                Pools::KIND => apply(&mut self.pools, key, object),
                L2Advertisements::KIND => apply(&mut self.advertisements, key, object),
                Nodes::KIND => {
                    manifest::complete_node(&mut object);
                    apply(&mut self.nodes, key, object)
                }
                EndpointSlices::KIND => apply(&mut self.slices, key, object),
                Namespaces::KIND => {
                    manifest::complete_namespace(&mut object);
                    apply(&mut self.namespaces, key, object)
                }
                Speakers::KIND => apply(&mut self.speakers, key, object),
                _ => Vec::new(),
            });
        }
        said.extend(self.services.finish());
        said.extend(self.pools.finish());
        said.extend(self.advertisements.finish());
        said.extend(self.nodes.finish());
        said.extend(self.slices.finish());
        said.extend(self.namespaces.finish());
        said.extend(self.speakers.finish());
        said
    }
}

fn apply<K: Kind>(tracker: &mut Tracker<K>, key: ServiceKey, object: Value) -> Vec<Observation> {
    tracker.apply(key, Seen::<K>::from_value(object).outcome)
}
