//! `BGPPeer` from one version to the other. Pure.

use kube::core::{
    Status,
    conversion::{ConversionRequest, ConversionResponse},
};
use landfall_kubernetes::{
    api::{BGPPeer, BGPPeerV1Beta1},
    convert::{bgp_peer_from_v1beta1, bgp_peer_to_v1beta1},
};
use serde_json::{Value, from_value, to_value};

const OLD: &str = "metallb.io/v1beta1";
const NEW: &str = "metallb.io/v1beta2";

/// All objects in the version that is asked for, or why one of them cannot be had in it.
pub(crate) fn convert(request: ConversionRequest) -> ConversionResponse {
    let wanted = request.desired_api_version.clone();
    let objects = request.objects.clone();
    let response = ConversionResponse::for_request(request);
    match objects.into_iter().map(|object| one(object, &wanted)).collect() {
        Ok(converted) => response.success(converted),
        Err(message) => response.failure(Status::failure(&message, "Invalid")),
    }
}

fn one(object: Value, wanted: &str) -> Result<Value, String> {
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let unreadable =
        |error: serde_json::Error| format!("BGPPeer {name:?} is no object of {version}: {error}");
    if object["kind"] != "BGPPeer" {
        return Err(format!("{} {name:?} is not converted here, only BGPPeers are", object["kind"]));
    }
    match (version.as_str(), wanted) {
        (OLD, NEW) => {
            let old: BGPPeerV1Beta1 = from_value(object).map_err(unreadable)?;
            to_value(bgp_peer_from_v1beta1(&old)).map_err(unreadable)
        }
        (NEW, OLD) => {
            let new: BGPPeer = from_value(object).map_err(unreadable)?;
            to_value(bgp_peer_to_v1beta1(&new)).map_err(unreadable)
        }
        (from, to) if from == to => Ok(object),
        _ => Err(format!("BGPPeer {name:?} cannot go from {version} to {wanted}; there are {OLD} and {NEW}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn peer(version: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": version, "kind": "BGPPeer", "spec": spec,
            "metadata": {
                "name": "tor", "namespace": "lb", "uid": "7d3f", "labels": { "rack": "1" },
                "managedFields": [{ "manager": "kubectl", "operation": "Apply", "fieldsV1": { "f:spec": {} } }],
            },
        })
    }

    fn converted(objects: Vec<Value>, wanted: &str) -> ConversionResponse {
        convert(ConversionRequest {
            types: None,
            uid: "one".to_owned(),
            desired_api_version: wanted.to_owned(),
            objects,
        })
    }

    #[test]
    fn what_both_versions_know_goes_there_and_back() {
        let shared = json!({
            "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1", "peerPort": 180, "holdTime": "90s",
            "keepaliveTime": "30s", "sourceAddress": "192.0.2.2", "routerID": "192.0.2.3", "password": "hidden",
            "bfdProfile": "fast", "ebgpMultiHop": true,
            "nodeSelectors": [{
                "matchLabels": { "rack": "1" },
                "matchExpressions": [{ "key": "z", "operator": "In", "values": ["a"] }],
            }],
        });
        let old = peer(OLD, &shared);
        let new = converted(vec![old.clone()], NEW).converted_objects;
        let mut expected = peer(NEW, &shared);
        expected["spec"]["disableMP"] = false.into();
        expected["spec"]["dualStackAddressFamily"] = false.into();
        assert_eq!(new, [expected]);
        assert_eq!(converted(new, OLD).converted_objects, [old]);
    }

    #[test]
    fn what_the_old_version_lacks_is_left_out() {
        let new = peer(
            NEW,
            &json!({
                "myASN": 64512, "dynamicASN": "external", "interface": "eth1", "vrf": "red", "peerPort": 179,
                "connectTime": "5s", "passwordSecret": { "name": "tor" }, "enableGracefulRestart": true,
            }),
        );
        let old = converted(vec![new.clone(), new], OLD).converted_objects;
        let expected =
            peer(OLD, &json!({ "myASN": 64512, "peerASN": 0, "peerAddress": "", "peerPort": 179 }));
        assert_eq!(old, [expected.clone(), expected]);
    }

    #[test]
    fn one_that_cannot_be_converted_is_named() {
        let broken = peer(OLD, &json!({ "myASN": "many" }));
        for (objects, wanted, words) in [
            (vec![broken], NEW, "BGPPeer \"tor\" is no object of metallb.io/v1beta1: "),
            (
                vec![peer(NEW, &json!({}))],
                "metallb.io/v1",
                "BGPPeer \"tor\" cannot go from metallb.io/v1beta2",
            ),
            (
                vec![json!({ "kind": "Pod", "metadata": { "name": "p" } })],
                NEW,
                "\"Pod\" \"p\" is not converted here",
            ),
        ] {
            let response = converted(objects, wanted);
            assert!(response.converted_objects.is_empty() && response.uid == "one");
            assert!(response.result.message.starts_with(words), "{}", response.result.message);
        }
        assert!(converted(vec![], NEW).result.is_success(), "nothing to convert");
    }
}
