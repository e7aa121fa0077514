//! MetalLB's definitions are there with objects of every kind; ours are put over them, and theirs over ours again. No
//! object is lost, none loses a field, and each can be changed in between.

use std::{fs, path::Path, time::Duration};

use k8s_openapi::{
    ByteString, api::core::v1::Namespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use landfall_kubernetes::api;
use landfall_testbed::{TestBed, guide};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    name,
    objects::{self, Full, NAMESPACE},
    probes::probes,
    theirs,
};

const PATIENCE: Duration = Duration::from_secs(30);
const PEERS: &str = "bgppeers.metallb.io";
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Theirs,
    Ours,
}

/// How `kubectl apply` works.
#[derive(Clone, Copy)]
enum Way {
    Client,
    Server,
}

struct Site {
    bed: TestBed,
    client: Client,
}

impl Site {
    /// A bed without nodes, with MetalLB's namespace.
    async fn new() -> Self {
        let bed = TestBed::builder().nodes(0).clients(0).start().await.expect("the bed comes up");
        let client = bed.client();
        let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        Self { bed, client }
    }

    async fn apply(&self, way: Way, definitions: &[Value]) -> Result<String, String> {
        let stream: Vec<String> = definitions.iter().map(Value::to_string).collect();
        let path = self.bed.logs().join("definitions.yaml");
        fs::write(&path, stream.join("\n---\n")).unwrap();
        self.kubectl(way, "-f", &path).await
    }

    async fn apply_ours(&self, way: Way) -> Result<String, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
        self.kubectl(way, "-k", &folder).await
    }

    async fn kubectl(&self, way: Way, flag: &str, path: &Path) -> Result<String, String> {
        let path = path.to_str().expect("the path is text");
        let server = match way {
            Way::Client => &[][..],
            Way::Server => &["--server-side", "--force-conflicts"],
        };
        self.bed
            .kubectl([&["apply"], server, &[flag, path]].concat())
            .await
            .map_err(|error| format!("{error:#}"))
    }

    /// MetalLB's definitions by other hands than kubectl's, such as Helm's.
    async fn create(&self, definitions: &[Value]) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let parameters = PostParams { field_manager: Some("helm".to_owned()), ..PostParams::default() };
        for crd in definitions {
            crds.create(&parameters, &serde_json::from_value(crd.clone()).unwrap()).await.unwrap();
        }
    }

    /// What MetalLB's controller does when it starts: it puts the certificate of its webhook into the definition.
    async fn certify(&self) {
        let certificate = fs::read(self.bed.control_plane().authority().certificate()).unwrap();
        let config = json!({ "caBundle": ByteString(certificate) });
        let patch =
            Patch::Merge(json!({ "spec": { "conversion": { "webhook": { "clientConfig": config } } } }));
        let parameters =
            PatchParams { field_manager: Some("controller".to_owned()), ..PatchParams::default() };
        self.crds().patch(PEERS, &parameters, &patch).await.unwrap();
    }

    fn crds(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client.clone())
    }

    async fn peers(&self) -> Value {
        json!(self.crds().get(PEERS).await.unwrap())
    }

    /// Objects of a kind, by its name, its plural and a version.
    fn objects(&self, kind: &str, plural: &str, version: &str) -> (Api<DynamicObject>, ApiResource) {
        let kind = GroupVersionKind::gvk("metallb.io", version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        (Api::namespaced_with(self.client.clone(), NAMESPACE, &resource), resource)
    }

    fn all(&self, full: &Full) -> Api<DynamicObject> {
        self.objects(full.kind, full.plural, full.version).0
    }

    /// Waits until the API server judges by these definitions, which it begins some moments after they were applied. The
    /// words of the rules tell; kubectl applies the definition of reports last.
    async fn judged_by(&self, whose: Whose) {
        let (peer_rule, report_rule) = match whose {
            Whose::Theirs => ("connect time should", "Value is immutable"),
            Whose::Ours => ("the connect time must", "the node cannot change"),
        };
        self.until(|| async {
            let peer =
                self.try_out("BGPPeer", "bgppeers", json!({ "spec": { "connectTime": "0s", "myASN": 1 } }));
            peer.await.is_err_and(|why| why.contains(peer_rule))
        })
        .await;
        let reports = self.objects("ServiceL2Status", "servicel2statuses", "v1beta1").0;
        let elsewhere = Patch::Merge(json!({ "status": { "node": "elsewhere" } }));
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        self.until(|| async {
            let refused = reports.patch_status("full", &dry, &elsewhere).await;
            refused.is_err_and(|why| why.to_string().contains(report_rule))
        })
        .await;
    }

    async fn until<F: Future<Output = bool>>(&self, holds: impl Fn() -> F) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the definitions come into force");
    }

    /// What the API server says to an object with these fields, which it does not keep.
    async fn try_out(&self, kind: &str, plural: &str, data: Value) -> Result<(), String> {
        let version = if kind == "BGPPeer" { "v1beta2" } else { "v1beta1" };
        let (objects, resource) = self.objects(kind, plural, version);
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        let object = DynamicObject::new("tried", &resource).data(data);
        objects.create(&parameters, &object).await.map(drop).map_err(|error| error.to_string())
    }

    async fn put(&self, full: &Full) {
        let objects = self.all(full);
        let object: DynamicObject = serde_json::from_value(full.manifest()).unwrap();
        // The kind may have been defined a moment ago.
        self.until(|| async {
            match objects.create(&PostParams::default(), &object).await {
                Ok(_) => true,
                Err(kube::Error::Api(status)) if status.code == 404 => false,
                Err(other) => panic!("{}: {other}", full.kind),
            }
        })
        .await;
        if let Some(status) = full.data.get("status") {
            let patch = Patch::Merge(json!({ "status": status }));
            objects.patch_status("full", &PatchParams::default(), &patch).await.unwrap();
        }
    }

    /// The object as the API server has it, but for who wrote which field.
    async fn read(&self, full: &Full) -> Value {
        let mut object =
            self.all(full).get("full").await.unwrap_or_else(|error| panic!("{}: {error}", full.kind));
        object.metadata.managed_fields = None;
        json!(object)
    }

    async fn read_all(&self, all: &[Full]) -> Vec<Value> {
        futures::future::join_all(all.iter().map(|full| self.read(full))).await
    }
}

/// MetalLB's definition with the webhook that its manifests add.
fn with_webhook(mut definitions: Vec<Value>) -> Vec<Value> {
    let service = json!({ "name": "metallb-webhook-service", "namespace": NAMESPACE, "path": "/convert" });
    let peers = definitions.iter_mut().find(|crd| name(crd) == PEERS).expect("there is one for peers");
    peers["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1beta1", "v1beta2"],
            "clientConfig": { "service": service },
        },
    });
    definitions
}

fn only_peers(definitions: Vec<Value>) -> Vec<Value> {
    definitions.into_iter().filter(|crd| name(crd) == PEERS).collect()
}

/// `spec` and `status`.
fn data(object: &Value) -> Value {
    let mut data = json!({});
    for part in ["spec", "status"] {
        if let Some(value) = object.get(part) {
            data[part] = value.clone();
        }
    }
    data
}

/// A merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    for (field, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("only objects are patched").remove(field);
        } else {
            merge(&mut target[field], value);
        }
    }
}

/// The object read as the type that our programs use, and written again.
fn through_our_type(kind: &str, object: &Value) -> Value {
    fn through<K: Serialize + DeserializeOwned>(object: &Value) -> Value {
        json!(serde_json::from_value::<K>(object.clone()).unwrap())
    }
    match kind {
        "BFDProfile" => through::<api::BFDProfile>(object),
        "BGPAdvertisement" => through::<api::BGPAdvertisement>(object),
        "BGPPeer" => through::<api::BGPPeer>(object),
        "Community" => through::<api::Community>(object),
        "ConfigurationState" => through::<api::ConfigurationState>(object),
        "IPAddressPool" => through::<api::IPAddressPool>(object),
        "L2Advertisement" => through::<api::L2Advertisement>(object),
        "ServiceBGPStatus" => through::<api::ServiceBGPStatus>(object),
        "ServiceL2Status" => through::<api::ServiceL2Status>(object),
        other => panic!("no type for {other}"),
    }
}

/// Theirs, ours, theirs.
async fn there_and_back(site: &Site, way: Way, their_definitions: &[Value]) {
    let all = objects::all();
    for full in &all {
        site.put(full).await;
    }
    site.judged_by(Whose::Theirs).await;
    let before = site.read_all(&all).await;
    for (full, object) in all.iter().zip(&before) {
        assert_eq!(data(object), full.data, "{} is stored with every field", full.kind);
    }
    let their_verdicts = verdicts(site).await;

    site.apply_ours(way).await.unwrap();
    site.judged_by(Whose::Ours).await;
    assert_eq!(site.read_all(&all).await, before, "ours over theirs");
    assert_eq!(site.peers().await["spec"]["conversion"], json!({ "strategy": "None" }));
    let our_verdicts = verdicts(site).await;
    for (probe, (theirs, ours)) in probes().iter().zip(their_verdicts.iter().zip(&our_verdicts)) {
        // Kubernetes 1.37 checks formats, 1.34 does not. MetalLB's definitions say int32 where its programs read 32 bits
        // without a sign, so such numbers are no measure there; ours name no format.
        if theirs.as_ref().is_err_and(|error| error.contains("with format int32")) {
            continue;
        }
        let same = theirs.is_ok() == ours.is_ok();
        assert_eq!(same, probe.same, "{} {}: {theirs:?}, {ours:?}", probe.kind, probe.data);
    }
    let mut changed = Vec::new();
    for (full, object) in all.iter().zip(&before) {
        let objects = site.all(full);
        let (patch, parameters) = (Patch::Merge(full.change.clone()), PatchParams::default());
        let written = if full.change.get("status").is_some() {
            objects.patch_status("full", &parameters, &patch).await
        } else {
            objects.patch("full", &parameters, &patch).await
        };
        written.unwrap_or_else(|error| panic!("{}: {error}", full.kind));
        let mut expected = data(object);
        merge(&mut expected, &full.change);
        let now = site.read(full).await;
        assert_eq!(data(&now), expected, "{} is changed", full.kind);
        assert_eq!(data(&through_our_type(full.kind, &now)), expected, "{} fits our type", full.kind);
        changed.push(now);
    }

    site.apply(way, their_definitions).await.unwrap();
    site.judged_by(Whose::Theirs).await;
    assert_eq!(site.read_all(&all).await, changed, "theirs over ours");
}

async fn verdicts(site: &Site) -> Vec<Result<(), String>> {
    let probes = probes();
    let asked = probes.iter().map(|probe| site.try_out(probe.kind, probe.plural, probe.data.clone()));
    futures::future::join_all(asked).await
}

#[tokio::test]
#[ignore = "needs root, the control plane and MetalLB's definitions; make test runs it"]
async fn nothing_is_lost_either_way_by_apply_on_the_clients_side() {
    let site = Site::new().await;
    let definitions = with_webhook(theirs());
    site.apply(Way::Client, &definitions).await.unwrap();
    site.certify().await;
    there_and_back(&site, Way::Client, &definitions).await;
    assert_eq!(site.peers().await["spec"]["conversion"]["strategy"], "Webhook", "as they have it");
    site.apply_ours(Way::Client).await.unwrap();
    site.apply(Way::Client, &theirs()).await.unwrap();
    assert_eq!(site.peers().await["spec"]["conversion"], json!({ "strategy": "None" }), "they say nothing");
}

#[tokio::test]
#[ignore = "needs root, the control plane and MetalLB's definitions; make test runs it"]
async fn nothing_is_lost_either_way_by_apply_on_the_servers_side() {
    let site = Site::new().await;
    let definitions = theirs();
    site.apply(Way::Server, &definitions).await.unwrap();
    there_and_back(&site, Way::Server, &definitions).await;
    assert_eq!(site.peers().await["spec"]["conversion"], json!({ "strategy": "None" }));
}

/// `kubectl apply` takes MetalLB's webhook out, whoever has put it in. With `--server-side` it cannot: the webhook has
/// another owner, who must be told apart. The commands are those of the page.
#[tokio::test]
#[ignore = "needs root, the control plane and MetalLB's definitions; make test runs it"]
async fn the_webhook_of_another_owner_goes() {
    let commands = guide::commands("docs/metallb-kinds.md", "## Ours over MetalLB's").unwrap();
    let [on_the_clients_side, on_the_servers_side @ ..] = commands.as_slice() else { panic!("no commands") };
    let site = Site::new().await;
    let definitions = only_peers(with_webhook(theirs()));
    site.create(&definitions).await;
    site.certify().await;
    let refused = site.apply_ours(Way::Server).await.expect_err("the webhook is not ours");
    assert!(refused.contains("should not be set when strategy is not set to Webhook"), "{refused}");
    site.bed.shell(on_the_clients_side).await.unwrap();
    assert_eq!(site.peers().await["spec"]["conversion"], json!({ "strategy": "None" }));

    site.crds().delete(PEERS, &Default::default()).await.unwrap();
    site.until(|| async { site.crds().get_opt(PEERS).await.unwrap().is_none() }).await;
    site.create(&definitions).await;
    site.certify().await;
    for line in on_the_servers_side {
        site.bed.shell(line).await.unwrap();
    }
    assert_eq!(site.peers().await["spec"]["conversion"], json!({ "strategy": "None" }));
}

/// A cluster that has had MetalLB since it stored peers as `v1beta1` still has such objects. While the webhook is named
/// and nobody answers there, no peer can be read at all. Under our definition each is read as `v1beta2`.
#[tokio::test]
#[ignore = "needs root, the control plane and MetalLB's definitions; make test runs it"]
async fn peers_that_were_stored_in_the_old_version_are_read() {
    let site = Site::new().await;
    let mut long_ago = only_peers(theirs());
    for version in long_ago[0]["spec"]["versions"].as_array_mut().unwrap() {
        version["storage"] = json!(version["name"] == "v1beta1");
    }
    site.apply(Way::Client, &long_ago).await.unwrap();
    let spec = json!({
        "myASN": 64500, "peerASN": 4_200_000_000_u32, "peerAddress": "192.0.2.1", "sourceAddress": "192.0.2.7",
        "peerPort": 1179, "holdTime": "90s", "keepaliveTime": "30s", "routerID": "192.0.2.7", "password": "secret",
        "bfdProfile": "fast", "ebgpMultiHop": true,
        "nodeSelectors": [{
            "matchLabels": { "zone": "a" },
            "matchExpressions": [{ "key": "rack", "operator": "In", "values": ["1"] }],
        }],
    });
    let old = Full {
        kind: "BGPPeer",
        plural: "bgppeers",
        version: "v1beta1",
        data: json!({ "spec": spec }),
        change: Value::Null,
    };
    site.put(&old).await;
    let definitions = only_peers(with_webhook(theirs()));
    site.apply(Way::Client, &definitions).await.unwrap();
    site.certify().await;
    let new = Full { version: "v1beta2", ..old };
    site.until(|| async {
        let unread = site.all(&new).get("full").await;
        unread.is_err_and(|why| why.to_string().contains("conversion webhook"))
    })
    .await;

    site.apply_ours(Way::Client).await.unwrap();
    site.until(|| async { site.all(&new).get("full").await.is_ok() }).await;
    assert_eq!(site.peers().await["status"]["storedVersions"], json!(["v1beta1", "v1beta2"]));
    let object = site.read(&new).await;
    assert_eq!(data(&object), new.data, "as it is stored");
    // The API server fills in the defaults of the new version when it writes; our type, when it reads.
    let mut expected = new.data.clone();
    merge(&mut expected, &json!({ "spec": { "disableMP": false, "dualStackAddressFamily": false } }));
    assert_eq!(data(&through_our_type("BGPPeer", &object)), expected);
    // What the page says to do.
    let listed = site.bed.kubectl(["get", "bgppeers.v1beta2.metallb.io", "-A", "-o", "json"]).await.unwrap();
    let path = site.bed.logs().join("peers.json");
    fs::write(&path, listed).unwrap();
    site.bed.kubectl(["replace", "-f", path.to_str().expect("the path is text")]).await.unwrap();
    assert_eq!(data(&site.read(&new).await), expected);
    // It is stored in the new version now, so that MetalLB's definition cannot make it unreadable again.
    site.apply(Way::Client, &definitions).await.unwrap();
    site.until(|| async { site.peers().await["spec"]["conversion"]["strategy"] == "Webhook" }).await;
    assert_eq!(data(&site.read(&new).await), expected);
}
