use kube::ResourceExt as _;
use landfall_model::{Announcement, ServiceKey};

use crate::{
    api::ServiceL2Status,
    names::{annotation, label},
};

/// What a speaker says. `None` while the object does not say of which Service and node. An annotation that cannot be read is none:
/// it is not for people to write.
#[must_use]
pub fn announcement(object: &ServiceL2Status) -> Option<Announcement> {
    let status = object.status.clone().unwrap_or_default();
    let labels = object.labels();
    let either = |field: Option<String>, name: &str| {
        field.or_else(|| labels.get(name).cloned()).filter(|text| !text.is_empty())
    };
    let namespace = either(status.service_namespace, label::STATUS_NAMESPACE)?;
    let service = either(status.service_name, label::STATUS_SERVICE)?;
    let node = either(status.node, label::STATUS_NODE)?;
    let verification = object.annotations().get(annotation::VERIFIED);
    Some(Announcement {
        service: ServiceKey::new(&namespace, &service),
        node: node.into(),
        verification: verification.and_then(|text| serde_json::from_str(text).ok()),
    })
}

#[cfg(test)]
mod tests {
    use landfall_model::{Verdict, Verification};
    use serde_json::json;

    use super::*;

    fn read(verified: Option<&str>, status: &serde_json::Value) -> Option<Announcement> {
        let mut object = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status",
            "metadata": { "name": "l2-1", "labels": { "metallb.io/node": "n1" } },
            "spec": {}, "status": status,
        });
        if let Some(text) = verified {
            object["metadata"]["annotations"] = json!({ "landfall.dev/verified": text });
        }
        announcement(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn it_says_what_was_written_and_nothing_that_cannot_be_read() {
        let status = json!({ "serviceName": "web", "serviceNamespace": "shop" });
        let verification = Verification {
            result: Verdict::Verified,
            since: Some("2026-11-27T15:00:00Z".into()),
            by: Some("n2".into()),
            other: None,
            gap_ms: Some(170),
        };
        let text = r#"{"result":"Verified","since":"2026-11-27T15:00:00Z","by":"n2","gapMs":170}"#;
        assert_eq!(serde_json::to_string(&verification).unwrap(), text, "names that never change");
        let said = |verification| {
            let service = ServiceKey::new("shop", "web");
            Some(Announcement { service, node: "n1".into(), verification })
        };
        assert_eq!(read(Some(text), &status), said(Some(verification)));
        assert_eq!(read(None, &status), said(None), "MetalLB's, or an older version's");
        assert_eq!(read(Some(r#"{"result":"Dreamt"}"#), &status), said(None), "a newer version's");
        assert_eq!(read(Some(text), &json!({ "serviceName": "web" })), None);
    }
}
