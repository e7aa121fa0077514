//! All objects of some manifests, read once, for commands that plan without a cluster.

use std::collections::{BTreeMap, BTreeSet};

use kube::Resource;
use landfall_model::{Invalid, Labels, NodeView, ObjectName, Reason, ServiceKey, ServiceView};
use landfall_verdict::{Objects, SecretKind};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::manifest;
use crate::{
    api, convert, names,
    overlay::Overlay,
    source::{
        kind::{EndpointSlices, Kind as _, L2Advertisements, Namespaces, Nodes, Pools, Services},
        seen::{Seen, read},
    },
};

/// The group of pools, advertisements and peers.
const GROUP: &str = "metallb.io";
/// Where they are when nothing says where: MetalLB's manifests have them there.
const NAMESPACE: &str = "metallb-system";

/// What some manifests say.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Services that are of type LoadBalancer or carry what a load balancer left on them, in order.
    pub services: Vec<ServiceView>,
    /// EndpointSlices of Services, with their own names.
    pub slices: Vec<(ServiceKey, landfall_model::EndpointSlice)>,
    /// Namespaces with their labels, also those that are only named by an object in them.
    pub namespaces: BTreeMap<Box<str>, Labels>,
    /// The configuration, and the Nodes.
    pub configuration: Objects,
    /// Objects that cannot be read, and are not in any of the above.
    pub invalid: Vec<(ObjectName, Invalid)>,
}

impl Snapshot {
    /// Reads the texts of files. Objects without a namespace are taken to be in `namespace`; without one, in the
    /// namespace that the objects of `metallb.io` name, or in `metallb-system`. Kinds that nothing here reads are
    /// skipped.
    ///
    /// # Errors
    /// Names the file and the document that are no manifest.
    pub fn read<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
        namespace: Option<&str>,
    ) -> Result<Self, String> {
        let mut objects = Vec::new();
        for (file, text) in files {
            for (place, object) in manifest::open(text).map_err(|error| format!("{file}: {error}"))? {
                let kind = object["kind"].as_str().map(str::to_owned);
                let kind = kind.ok_or_else(|| {
                    format!(
                        "{file}: {place} has no kind; every object needs apiVersion, kind and metadata.name"
                    )
                })?;
                if !object["metadata"].is_object() && !object["metadata"].is_null() {
                    return Err(format!("{file}: {place} ({kind}) has a metadata that is not an object"));
                }
                objects.push((kind, object));
            }
        }
        let named = objects.iter().filter(|(_, object)| group(object) == GROUP);
        let mut named = named.filter_map(|(_, object)| object["metadata"]["namespace"].as_str());
        let namespace = namespace.or_else(|| named.next()).unwrap_or(NAMESPACE).to_owned();
        let mut reader = Reader { namespace: namespace.clone(), ..Reader::default() };
        reader.snapshot.configuration.namespace = namespace.as_str().into();
        reader.snapshot.configuration.secrets = Some(BTreeMap::new());
        for (kind, object) in objects {
            reader.take(&kind, object);
        }
        Ok(reader.finish())
    }
}

/// The part of `apiVersion` before the slash; the core group, and an object without one, have none.
fn group(object: &Value) -> &str {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}

#[derive(Default)]
struct Reader {
    namespace: String,
    seen: BTreeSet<ObjectName>,
    snapshot: Snapshot,
}

impl Reader {
    fn take(&mut self, kind: &str, object: Value) {
        let ours = matches!(group(&object), GROUP | "");
        match kind {
            Services::KIND if group(&object).is_empty() => self.service(object),
            "Secret" => self.secret(object),
            Nodes::KIND => self.node(object),
            Namespaces::KIND => self.own_namespace(object),
            EndpointSlices::KIND => self.slice(object),
            Pools::KIND if ours => self.add(Pools::KIND, object, convert::pool, |all| &mut all.pools),
            L2Advertisements::KIND if ours => {
                self.add(L2Advertisements::KIND, object, convert::l2_advertisement, |all| {
                    &mut all.l2_advertisements
                });
            }
            "BGPAdvertisement" if ours => {
                self.add("BGPAdvertisement", object, convert::bgp_advertisement, |all| {
                    &mut all.bgp_advertisements
                });
            }
            "BGPPeer" if object["apiVersion"] == "metallb.io/v1beta1" => {
                let peer =
                    |old: &api::BGPPeerV1Beta1| convert::bgp_peer(&convert::bgp_peer_from_v1beta1(old));
                self.add("BGPPeer", object, peer, |all| &mut all.peers);
            }
            "BGPPeer" if ours => self.add("BGPPeer", object, convert::bgp_peer, |all| &mut all.peers),
            "BFDProfile" if ours => {
                self.add("BFDProfile", object, convert::bfd_profile, |all| &mut all.bfd_profiles)
            }
            "Community" if ours => {
                self.add("Community", object, convert::community, |all| &mut all.communities)
            }
            _ => {}
        }
    }

    /// Fills in the namespace, and says whether the object has a name that no other of its kind has.
    fn admit(&mut self, kind: &'static str, object: &mut Value, namespaced: bool) -> Option<ObjectName> {
        let metadata = &mut object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut namespace = text(&metadata["namespace"]);
        if !namespaced {
            namespace.clear();
        } else if namespace.is_empty() {
            namespace.clone_from(&self.namespace);
            metadata["namespace"] = json!(namespace);
        }
        let name = ObjectName { kind, namespace: namespace.into(), name: text(&metadata["name"]).into() };
        if name.name.is_empty() {
            let message = format!("this {kind} has no name; give the object one");
            self.refuse(name, Reason::MissingField, "metadata.name", message);
            return None;
        }
        if !self.seen.insert(name.clone()) {
            let message = format!("there is another {name}; remove one of them");
            self.refuse(name, Reason::Duplicate, "metadata.name", message);
            return None;
        }
        if namespaced {
            self.snapshot.namespaces.entry(name.namespace.clone()).or_insert_with(|| labels(&name.namespace));
        }
        Some(name)
    }

    fn refuse(&mut self, object: ObjectName, reason: Reason, field: &str, message: String) {
        let invalid = Invalid { field: field.into(), reason, message: message.into() };
        self.snapshot.invalid.push((object, invalid));
    }

    /// An object of the configuration, which lies in the install's namespace.
    fn add<O: Resource<DynamicType = ()> + DeserializeOwned, M>(
        &mut self,
        kind: &'static str,
        mut object: Value,
        convert: impl FnOnce(&O) -> Result<M, Invalid>,
        list: impl FnOnce(&mut Objects) -> &mut Vec<M>,
    ) {
        let Some(name) = self.admit(kind, &mut object, true) else { return };
        if *name.namespace != *self.namespace {
            let message = format!(
                "the object is in namespace {:?}, and only those in {:?} are read; move it there",
                name.namespace, self.namespace
            );
            self.refuse(name, Reason::WrongNamespace, "metadata.namespace", message);
            return;
        }
        match read(kind, object, true).and_then(|object| convert(&object)) {
            Ok(value) => list(&mut self.snapshot.configuration).push(value),
            Err(invalid) => self.snapshot.invalid.push((name, invalid)),
        }
    }

    fn service(&mut self, mut object: Value) {
        let Some(name) = self.admit(Services::KIND, &mut object, true) else { return };
        match manifest::service(object, Overlay::default()) {
            Ok(view) => self.snapshot.services.extend(view.filter(Services::relevant)),
            Err(invalid) => self.snapshot.invalid.push((name, invalid)),
        }
    }

    fn slice(&mut self, mut object: Value) {
        let Some(name) = self.admit(EndpointSlices::KIND, &mut object, true) else { return };
        match Seen::<EndpointSlices>::from_value(object).outcome {
            Ok(Some(slice)) => {
                self.snapshot.slices.push((ServiceKey { namespace: name.namespace, name: name.name }, slice));
            }
            Ok(None) => {}
            Err(invalid) => self.snapshot.invalid.push((name, invalid)),
        }
    }

    fn node(&mut self, mut object: Value) {
        let Some(name) = self.admit(Nodes::KIND, &mut object, false) else { return };
        manifest::complete_node(&mut object);
        match Seen::<Nodes>::from_value(object).outcome {
            Ok(Some(node)) => self.snapshot.configuration.nodes.push(node),
            Ok(None) => {}
            Err(invalid) => self.snapshot.invalid.push((name, invalid)),
        }
    }

    fn own_namespace(&mut self, mut object: Value) {
        let Some(name) = self.admit(Namespaces::KIND, &mut object, false) else { return };
        manifest::complete_namespace(&mut object);
        match Seen::<Namespaces>::from_value(object).outcome {
            Ok(Some(labels)) => _ = self.snapshot.namespaces.insert(name.name, labels),
            Ok(None) => {}
            Err(invalid) => self.snapshot.invalid.push((name, invalid)),
        }
    }

    /// Only what a peer's password needs is looked at.
    fn secret(&mut self, mut object: Value) {
        let Some(name) = self.admit("Secret", &mut object, true) else { return };
        let has = |field: &str| object[field]["password"].is_string();
        let kind = match object["type"].as_str() {
            Some("kubernetes.io/basic-auth") if has("data") || has("stringData") => SecretKind::Password,
            Some("kubernetes.io/basic-auth") => SecretKind::NoPassword,
            Some(_) | None => SecretKind::OtherType,
        };
        if *name.namespace == *self.namespace {
            self.snapshot.configuration.secrets.get_or_insert_default().insert(name.name, kind);
        }
    }

    fn finish(self) -> Snapshot {
        let mut snapshot = self.snapshot;
        snapshot.services.sort_by(|one, other| one.key.cmp(&other.key));
        snapshot.configuration.nodes.sort_by(|one: &NodeView, other| one.name.cmp(&other.name));
        snapshot
    }
}

/// The labels of a Namespace that nothing is known of.
fn labels(name: &str) -> Labels {
    Labels::from([(names::label::NAMESPACE_NAME.to_owned(), name.to_owned())])
}
