//! What the API server makes of objects of our kinds: defaults, refusals, and fields that cannot change.

use std::fmt::Debug;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use landfall_kubernetes::api;
use serde_json::{Value, json};

use super::{NAMESPACE, cluster};

/// Objects of the kind `K`, in any shape.
struct Objects {
    resource: ApiResource,
    api: Api<DynamicObject>,
}

impl Objects {
    fn new<K: Resource<DynamicType = ()>>(client: &Client) -> Self {
        let resource = ApiResource::erase::<K>(&());
        Self { api: Api::namespaced_with(client.clone(), NAMESPACE, &resource), resource }
    }

    /// What becomes of an object with these fields, which is not kept unless `keep`.
    async fn create(&self, name: &str, fields: Value, keep: bool) -> Result<Value, String> {
        let object = DynamicObject::new(name, &self.resource).data(fields);
        let parameters = PostParams { dry_run: !keep, ..PostParams::default() };
        match self.api.create(&parameters, &object).await {
            Ok(created) => Ok(created.data),
            Err(kube::Error::Api(refused)) if refused.code == 422 => Err(refused.message),
            Err(other) => panic!("{}: {other}", self.resource.kind),
        }
    }

    async fn accepts(&self, fields: Value) -> Value {
        self.create("tried", fields.clone(), false).await.unwrap_or_else(|why| panic!("{fields}: {why}"))
    }

    /// The refusal must speak of `reason`.
    async fn refuses(&self, fields: Value, reason: &str) {
        refused(self.create("tried", fields.clone(), false).await, reason);
    }

    /// Changes the object `kept`, in its status if the change is of that.
    async fn change(&self, change: Value) -> Result<DynamicObject, kube::Error> {
        let parameters = PatchParams::default();
        let of_status = change.get("status").is_some();
        let patch = Patch::Merge(change);
        if of_status {
            self.api.patch_status("kept", &parameters, &patch).await
        } else {
            self.api.patch("kept", &parameters, &patch).await
        }
    }
}

fn refused<T: Debug, E: ToString>(result: Result<T, E>, reason: &str) {
    let why = result.map_err(|error| error.to_string()).expect_err(reason);
    assert!(why.contains(reason), "expected {reason} in: {why}");
}

#[tokio::test]
#[ignore = "needs root and the control plane; make test runs it"]
async fn kinds_for_bgp_are_held_to_their_rules() {
    let (_bed, client) = cluster().await;
    advertisements(&Objects::new::<api::BGPAdvertisement>(&client)).await;
    peers(&Objects::new::<api::BGPPeer>(&client)).await;
    old_peers(&client).await;
    small_kinds(&client).await;
    reports(&client).await;
}

async fn advertisements(objects: &Objects) {
    let lengths = json!({ "aggregationLength": 32, "aggregationLengthV6": 128 });
    assert_eq!(objects.accepts(json!({ "spec": {} })).await["spec"], lengths);
    let nulls = json!({ "spec": { "aggregationLength": null, "aggregationLengthV6": null, "peers": null } });
    assert_eq!(objects.accepts(nulls).await["spec"], lengths, "null is the same as nothing");
    assert_eq!(objects.accepts(json!({})).await.get("spec"), None);
    let chosen = json!([{ "matchLabels": { "app": "web" } }]);
    objects.accepts(json!({ "spec": { "serviceSelectors": chosen } })).await;
    objects.accepts(json!({ "spec": { "serviceSelectors": [], "aggregationLength": 24 } })).await;
    objects.accepts(json!({ "spec": { "localPref": 4_294_967_295_u32 } })).await;
    for length in [json!({ "aggregationLength": 24 }), json!({ "aggregationLengthV6": 64 })] {
        let mut spec = length;
        spec["serviceSelectors"] = chosen.clone();
        objects.refuses(json!({ "spec": spec }), "serviceSelectors need single addresses").await;
    }
    objects.refuses(json!({ "spec": { "aggregationLength": 0 } }), "spec.aggregationLength").await;
}

async fn peers(objects: &Objects) {
    let with = |field: &str, value: Value| {
        let mut spec = json!({ "myASN": 64500, "peerASN": 4_200_000_000_u32, "peerAddress": "192.0.2.1" });
        spec[field] = value;
        json!({ "spec": spec })
    };
    let spec = objects.accepts(with("vrf", json!("red"))).await["spec"].take();
    let filled = (&spec["peerPort"], &spec["disableMP"], &spec["dualStackAddressFamily"]);
    assert_eq!(filled, (&json!(179), &json!(false), &json!(false)));
    assert_eq!((&spec["enableGracefulRestart"], &spec["vrf"]), (&Value::Null, &json!("red")));
    for time in ["1s", "65535s", "2m"] {
        objects.accepts(with("connectTime", json!(time))).await;
    }
    for time in ["0s", "999ms", "65536s", "-5s"] {
        objects.refuses(with("connectTime", json!(time)), "must lie between 1s and 65535s").await;
    }
    objects.refuses(with("connectTime", json!("1500ms")), "a whole number of seconds").await;
    objects.refuses(with("connectTime", json!("soon")), "spec.connectTime").await;
    objects.accepts(with("dynamicASN", Value::Null)).await;
    objects.refuses(with("dynamicASN", json!("any")), "spec.dynamicASN").await;
    objects.refuses(with("localASN", json!(0)), "spec.localASN").await;
    objects.refuses(with("peerPort", json!(16385)), "spec.peerPort").await;
    objects.refuses(json!({ "spec": { "peerASN": 64501 } }), "spec.myASN").await;
    objects.refuses(json!({ "spec": {} }), "spec.myASN").await;
    objects.accepts(json!({})).await;

    objects.create("kept", with("vrf", json!("red")), true).await.unwrap();
    let graceful = |value: bool| json!({ "spec": { "enableGracefulRestart": value } });
    objects.change(graceful(true)).await.expect("it was not set before");
    refused(objects.change(graceful(false)).await, "enableGracefulRestart cannot change");
}

/// The old version is served, and nobody is asked to convert before a controller has said that it does.
async fn old_peers(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let conversion = crds.get("bgppeers.metallb.io").await.unwrap().spec.conversion.expect("it is said");
    assert_eq!((&*conversion.strategy, conversion.webhook), ("None", None));
    let old: Api<api::BGPPeerV1Beta1> = Api::namespaced(client.clone(), NAMESPACE);
    let listed = old.list(&ListParams::default()).await.expect("the old version is served");
    let spec = listed.items.into_iter().next().expect("the peer that was kept").spec;
    assert_eq!((spec.my_asn, spec.peer_asn), (64500, 4_200_000_000));
}

async fn small_kinds(client: &Client) {
    let profiles = Objects::new::<api::BFDProfile>(client);
    let full = json!({ "spec": { "receiveInterval": 10, "transmitInterval": 60000, "detectMultiplier": 255,
        "echoInterval": 50, "echoMode": true, "passiveMode": false, "minimumTtl": 254 } });
    assert_eq!(profiles.accepts(full.clone()).await["spec"], full["spec"]);
    profiles.accepts(json!({})).await;
    for (field, value) in [("receiveInterval", 9), ("detectMultiplier", 1), ("minimumTtl", 255)] {
        profiles.refuses(json!({ "spec": { field: value } }), &format!("spec.{field}")).await;
    }
    let communities = Objects::new::<api::Community>(client);
    let named = json!({ "spec": { "communities": [{ "name": "blackhole", "value": "65535:666" }] } });
    assert_eq!(communities.accepts(named.clone()).await["spec"], named["spec"]);
    communities.accepts(json!({})).await;
    let number = json!({ "spec": { "communities": [{ "name": "blackhole", "value": 666 }] } });
    communities.refuses(number, "spec.communities[0].value").await;
}

async fn reports(client: &Client) {
    let statuses = Objects::new::<api::ServiceBGPStatus>(client);
    let created = statuses.create("kept", json!({}), true).await.unwrap();
    assert_eq!(created["spec"], json!({}));
    let told = |node: &str| {
        json!({ "status": { "node": node, "serviceName": "web", "serviceNamespace": "shop",
        "peers": ["tor"] } })
    };
    statuses.change(told("n1")).await.unwrap();
    refused(statuses.change(told("n2")).await, "the node cannot change once it is set");
    let read: api::ServiceBGPStatus =
        Api::namespaced(client.clone(), NAMESPACE).get("kept").await.expect("the type fits");
    assert_eq!(json!(read.status), told("n1")["status"]);

    let states = Objects::new::<api::ConfigurationState>(client);
    let created = states.create("kept", json!({ "spec": { "type": "Controller" } }), true).await.unwrap();
    assert_eq!(created.get("spec"), None, "the kind has none");
    let condition = |status: &str, reason: &str| {
        json!({ "type": "poolReconcilerValid", "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z" })
    };
    let said =
        |result: &str, conditions: Value| json!({ "status": { "result": result, "conditions": conditions } });
    let good = json!([condition("True", "Reconciled")]);
    states.change(said("Valid", good.clone())).await.unwrap();
    refused(states.change(said("Good", good.clone())).await, "status.result");
    refused(
        states.change(said("Valid", json!([condition("yes", "Reconciled")]))).await,
        "status.conditions[0].status",
    );
    refused(
        states.change(said("Valid", json!([condition("True", "no reason")]))).await,
        "status.conditions[0].reason",
    );
    let twice = json!([condition("True", "Reconciled"), condition("False", "UnknownError")]);
    refused(states.change(said("Unknown", twice)).await, "Duplicate value");
    let read: api::ConfigurationState =
        Api::namespaced(client.clone(), NAMESPACE).get("kept").await.expect("the type fits");
    assert_eq!(json!(read.status), said("Valid", good)["status"]);
}
