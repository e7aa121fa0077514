//! What the API server and files say: objects as JSON, annotations, manifests.

use std::{collections::BTreeMap, fs, net::IpAddr};

use arbitrary::Arbitrary;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Pod, Service, ServicePort, ServiceSpec},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use landfall_kubernetes::{
    api::{IPAddressPool, L2Advertisement},
    convert,
    names::annotation,
    source::{self, Snapshot},
};
use landfall_model::{Invalid, Labels, Observation, Pool, ServiceView};
use landfall_pool::{Allocator, Demand, Request};
use landfall_verdict::Mode;
use serde::de::DeserializeOwned;
use serde_json::json;

/// An object as JSON after a byte that chooses its kind.
pub(crate) fn object(input: &[u8]) {
    let Some((kind, json)) = input.split_first() else { return };
    match kind % 7 {
        0 => judge(read::<Service>(json).map(|object| convert::service(&object).map(|view| service(&view)))),
        1 => judge(
            read::<IPAddressPool>(json).map(|object| convert::pool(&object).map(|pool| self::pool(&pool))),
        ),
        2 => judge(read::<L2Advertisement>(json).map(|object| {
            convert::l2_advertisement(&object).map(|advertisement| {
                assert!(advertisement.preferences.iter().all(|one| (1..=100).contains(&one.weight)));
            })
        })),
        3 => judge(
            read::<Node>(json)
                .map(|object| convert::node(&object).map(|node| assert!(!node.name.is_empty()))),
        ),
        4 => judge(read::<EndpointSlice>(json).map(|object| {
            convert::endpoint_slice(&object).map(|slice| {
                assert!(slice.is_none_or(|slice| slice.ports.iter().all(|port| port.port != 0)));
            })
        })),
        5 => {
            let speaker = read::<Pod>(json).and_then(|object| convert::speaker(&object));
            assert!(speaker.is_none_or(|speaker| !speaker.node.is_empty() && !speaker.addresses.is_empty()));
        }
        _ => drop(read::<Namespace>(json).map(|object| convert::namespace(&object))),
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

/// A refusal names the field and says how to mend it.
fn judge(outcome: Option<Result<(), Invalid>>) {
    if let Some(Err(invalid)) = outcome {
        assert!(!invalid.field.is_empty(), "{invalid:?}");
        assert!(invalid.message.contains(' '), "{invalid:?}");
    }
}

fn pool(pool: &Pool) {
    assert!(!pool.name.is_empty() && !pool.ranges.is_empty());
    for (index, one) in pool.ranges.iter().enumerate() {
        assert!(pool.ranges[index + 1..].iter().all(|other| !one.overlaps(other)), "{pool:?}");
    }
    let mut allocator = Allocator::default();
    allocator.set_pool(pool.clone());
    assert_eq!(allocator.refused().count(), 0, "what is valid alone is in force alone");
}

fn service(view: &ServiceView) {
    assert!(!view.key.name.is_empty());
    assert!(view.ports.iter().all(|port| port.port != 0));
    let none = Labels::new();
    match Request::of(view, &none) {
        Ok(request) => {
            assert!(request.addresses.len() <= 2 && request.addresses.is_sorted());
            assert!(request.pool.is_none_or(|name| !name.is_empty()));
        }
        Err(rejection) => assert!(!rejection.to_string().is_empty()),
    }
    if let Ok(demand) = Demand::of(view) {
        assert!(demand.families().contains(&view.cluster_families[0]));
    }
}

#[derive(Arbitrary, Debug)]
struct Written {
    annotations: BTreeMap<Name, String>,
    load_balancer_ip: Option<String>,
    class: Option<String>,
    families: Option<String>,
    ips: Vec<Option<[u8; 4]>>,
    ports: Vec<(i32, Option<i32>, Option<String>)>,
}

/// Names that mean something, and others.
#[derive(Arbitrary, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Pool { legacy: bool },
    Addresses { legacy: bool },
    SharedIp { legacy: bool },
    AllocatedFrom,
    Forwarding,
    Other(String),
}

impl Name {
    fn text(&self) -> String {
        let either = |legacy: bool, name: &str| {
            let prefix = if legacy { annotation::LEGACY_PREFIX } else { annotation::PREFIX };
            format!("{prefix}{name}")
        };
        match self {
            Self::Pool { legacy } => either(*legacy, annotation::ADDRESS_POOL),
            Self::Addresses { legacy } => either(*legacy, annotation::LOAD_BALANCER_IPS),
            Self::SharedIp { legacy } => either(*legacy, annotation::ALLOW_SHARED_IP),
            Self::AllocatedFrom => annotation::ALLOCATED_FROM.to_owned(),
            Self::Forwarding => annotation::FORWARDING.to_owned(),
            Self::Other(name) => name.clone(),
        }
    }
}

/// A Service with any annotations, ports and addresses.
pub(crate) fn requests(input: &[u8]) {
    let Some(written) = super::operations::<Written>(input, 1).pop() else { return };
    let object = object_of(&written);
    let view = match convert::service(&object) {
        Ok(view) => view,
        Err(invalid) => {
            assert!(invalid.field.starts_with("spec.ports["), "{invalid:?}");
            let odd = |port: &(i32, Option<i32>, Option<String>)| {
                let port_ok = (1..=65_535).contains(&port.0);
                let node_port_ok = (0..=65_535).contains(&port.1.unwrap_or(0));
                let protocol_ok = port.2.as_deref().is_none_or(|name| ["TCP", "UDP", "SCTP"].contains(&name));
                !(port_ok && node_port_ok && protocol_ok)
            };
            assert!(written.ports.iter().any(odd), "{written:?} was refused: {invalid:?}");
            return;
        }
    };
    service(&view);
    let get = |name: Name| object.metadata.annotations.as_ref().and_then(|all| all.get(&name.text()));
    let sharing = get(Name::SharedIp { legacy: false }).or_else(|| get(Name::SharedIp { legacy: true }));
    assert_eq!(view.requests.sharing_key.as_deref(), sharing.map(String::as_str), "the new prefix wins");
    let pool = get(Name::Pool { legacy: false }).or_else(|| get(Name::Pool { legacy: true }));
    assert_eq!(view.requests.pool.as_deref(), pool.map(String::as_str).filter(|name| !name.is_empty()));
    let forwarding = view.requests.forwarding.as_ref();
    let text = forwarding.map(|forwarding| match forwarding {
        Ok(mode) => mode.as_str(),
        Err(text) => text,
    });
    assert_eq!(text, get(Name::Forwarding).map(String::as_str), "what cannot be read is kept as written");
    assert_eq!(view.ports.len(), written.ports.len());
}

fn object_of(written: &Written) -> Service {
    let ports = written.ports.iter().map(|(port, node_port, protocol)| ServicePort {
        port: *port,
        node_port: *node_port,
        protocol: protocol.clone(),
        ..ServicePort::default()
    });
    let ips =
        written.ips.iter().map(|ip| ip.map_or_else(|| "None".to_owned(), |ip| IpAddr::from(ip).to_string()));
    Service {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            annotations: Some(
                written.annotations.iter().map(|(name, text)| (name.text(), text.clone())).collect(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            ports: Some(ports.collect()),
            cluster_ips: Some(ips.collect()),
            load_balancer_ip: written.load_balancer_ip.clone(),
            load_balancer_class: written.class.clone(),
            ip_family_policy: written.families.clone(),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// A text of manifests, as its documents are read and as a plan reads and judges them.
pub(crate) fn documents(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    configuration(text);
    let documents = match source::documents(text) {
        Ok(documents) => documents,
        Err(error) => return assert!(error.contains(' '), "{error:?}"),
    };
    for document in &documents {
        assert!(document["kind"].is_string() && document["metadata"]["name"].is_string(), "{document}");
    }
    let list = json!({ "kind": "List", "items": documents }).to_string();
    assert_eq!(source::documents(&list).as_ref(), Ok(&documents), "the same as JSON");
}

/// What is left without the objects at fault has no fault, whatever announces.
fn configuration(text: &str) {
    let snapshot = match Snapshot::read([("file", text)], None) {
        Ok(snapshot) => snapshot,
        Err(error) => return assert!(error.starts_with("file: "), "{error:?}"),
    };
    for (_, invalid) in &snapshot.invalid {
        assert!(invalid.message.contains(' '), "{invalid:?}");
    }
    for mode in Mode::ALL {
        let faults = landfall_verdict::judge(&snapshot.configuration, *mode);
        let permanent: Vec<_> = faults.iter().filter(|fault| !fault.transient).collect();
        assert!(faults.iter().all(|fault| fault.message.contains(' ')), "{faults:?}");
        let rest = snapshot.configuration.clone().without(permanent.iter().copied());
        let left = landfall_verdict::judge(&rest, *mode);
        assert!(left.iter().all(|fault| fault.transient), "{left:?} after {permanent:?}");
    }
}

/// A file of manifests, and after a zero byte what a controller wrote about the Service `shop/web`.
pub(crate) fn manifests(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let put = |name: &str, content: &[u8]| {
        fs::write(directory.path().join(name), content).expect("files can be written there");
    };
    put("web.yaml", parts.next().unwrap_or_default());
    if let Some(status) = parts.next() {
        fs::create_dir(directory.path().join("status")).expect("folders can be made there");
        put("status/shop.web.json", status);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let seen = runtime.block_on(async {
        let mut source =
            source::files(source::Directory::new(directory.path())).expect("the directory is there");
        let mut seen = Vec::new();
        while let Some(observation) = source.next().await.filter(|one| *one != Observation::Synced) {
            seen.push(observation);
        }
        seen
    });
    let broken = seen.iter().any(|one| matches!(one, Observation::Invalid(name, _) if name.kind == "File"));
    for observation in &seen {
        check(observation);
        assert!(
            !broken || matches!(observation, Observation::Invalid(..)),
            "a broken file says nothing else"
        );
    }
}

fn check(observation: &Observation) {
    match observation {
        Observation::Service(key, view) => {
            named(&[&key.namespace, &key.name]);
            view.iter().for_each(|view| {
                assert_eq!(view.key, *key);
                service(view);
            });
        }
        Observation::Pool(name, pool) => {
            named(&[name]);
            pool.iter().for_each(|pool| self::pool(pool));
        }
        Observation::EndpointSlice(key, _) => named(&[&key.namespace, &key.name]),
        Observation::L2Advertisement(name, _)
        | Observation::Node(name, _)
        | Observation::Speaker(name, _)
        | Observation::Announcement(name, _) => {
            named(&[name]);
        }
        Observation::Bgp(_) => named(&[&observation.object().expect("it is about one").name]),
        Observation::Namespace(name, _) => named(&[name]),
        Observation::Invalid(name, why) => {
            let why = why.as_ref().expect("nothing was mended");
            assert!(!name.name.is_empty() && why.message.contains(' '), "{name}: {why:?}");
        }
        Observation::Synced => {}
    }
}

/// Names become names of files and labels: the API server lets only DNS names through, and so do files.
fn named(names: &[&str]) {
    for name in names {
        assert!(!name.is_empty() && name.len() <= 253, "{name:?}");
        assert!(
            name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.')),
            "{name:?}"
        );
        assert!(
            !name.split('.').any(|part| part.is_empty() || part.starts_with('-') || part.ends_with('-')),
            "{name:?}"
        );
    }
}
