//! A container's environment and arguments: literal values, references, and `$(NAME)`. Pure, except for its lookups.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Container, EnvVar, ObjectFieldSelector, Pod};

/// What containers find when they do not set it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The contents of Secrets and ConfigMaps that a Pod's environment refers to, by name; absent ones have no entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, String>>,
}

/// The names of the Secrets and ConfigMaps that a container's environment refers to.
pub(crate) fn references(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut secrets, mut maps) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        secrets.extend(from.secret_ref.as_ref().map(|reference| reference.name.clone()));
        maps.extend(from.config_map_ref.as_ref().map(|reference| reference.name.clone()));
    }
    for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        secrets.extend(from.secret_key_ref.as_ref().map(|reference| reference.name.clone()));
        maps.extend(from.config_map_key_ref.as_ref().map(|reference| reference.name.clone()));
    }
    (secrets, maps)
}

/// The whole environment of a container, in order.
///
/// # Errors
/// When a reference that is not optional leads nowhere.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    api: (&str, u16),
    sources: &Sources,
) -> Result<Vec<(String, String)>> {
    let mut values: Vec<(String, String)> = vec![
        ("PATH".into(), PATH.into()),
        ("HOSTNAME".into(), pod.metadata.name.clone().unwrap_or_default()),
        ("KUBERNETES_SERVICE_HOST".into(), api.0.into()),
        ("KUBERNETES_SERVICE_PORT".into(), api.1.to_string()),
        ("KUBERNETES_SERVICE_PORT_HTTPS".into(), api.1.to_string()),
    ];
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let (what, known, name, optional) = match (&from.config_map_ref, &from.secret_ref) {
            (Some(map), _) => ("ConfigMap", &sources.config_maps, &map.name, map.optional),
            (None, Some(secret)) => ("Secret", &sources.secrets, &secret.name, secret.optional),
            (None, None) => continue,
        };
        match known.get(name) {
            Some(data) => {
                data.iter()
                    .for_each(|(key, value)| set(&mut values, format!("{prefix}{key}"), value.clone()));
            }
            None if optional == Some(true) => {}
            None => bail!("the {what} {name:?} does not exist"),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(pod, variable, &values, sources)? {
            set(&mut values, variable.name.clone(), value);
        }
    }
    Ok(values)
}

/// Replaces `$(NAME)` by the variable's value; unknown names stay, `$$` is one dollar sign (Kubernetes: `Container.args`).
pub(crate) fn expand(text: &str, values: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let name = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some(literal) = after.strip_prefix('$') {
            out.push('$');
            rest = literal;
        } else if let Some((name, tail)) = name {
            match values.iter().find(|(known, _)| known == name) {
                Some((_, value)) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

/// The value of a field of the Pod (Kubernetes: downward API).
///
/// # Errors
/// When the field is not one of those.
pub(crate) fn field(pod: &Pod, selector: &ObjectFieldSelector) -> Result<String> {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let meta = &pod.metadata;
    let path = selector.field_path.as_str();
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => bail!("fieldRef {path:?} is not a field of a Pod that can be referred to"),
        };
        return Ok(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let value = match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.podIP" => status.and_then(|status| status.pod_ip.clone()),
        "status.hostIP" => status.and_then(|status| status.host_ip.clone()),
        "status.podIPs" => {
            let ips = status.and_then(|status| status.pod_ips.as_ref());
            ips.map(|ips| ips.iter().map(|ip| ip.ip.clone()).collect::<Vec<_>>().join(","))
        }
        "status.hostIPs" => {
            let ips = status.and_then(|status| status.host_ips.as_ref());
            ips.map(|ips| ips.iter().map(|ip| ip.ip.clone()).collect::<Vec<_>>().join(","))
        }
        _ => bail!("fieldRef {path:?} is not a field of a Pod that can be referred to"),
    };
    Ok(value.unwrap_or_default())
}

fn value_of(
    pod: &Pod,
    variable: &EnvVar,
    so_far: &[(String, String)],
    sources: &Sources,
) -> Result<Option<String>> {
    let Some(from) = &variable.value_from else {
        return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), so_far)));
    };
    if let Some(selector) = &from.field_ref {
        return field(pod, selector).map(Some);
    }
    let (what, known, name, key, optional) = match (&from.secret_key_ref, &from.config_map_key_ref) {
        (Some(at), _) => ("Secret", &sources.secrets, &at.name, &at.key, at.optional),
        (None, Some(at)) => ("ConfigMap", &sources.config_maps, &at.name, &at.key, at.optional),
        (None, None) => bail!("env {:?}: the test bed does not know this kind of reference", variable.name),
    };
    match known.get(name).and_then(|data| data.get(key)) {
        Some(value) => Ok(Some(value.clone())),
        None if optional == Some(true) => Ok(None),
        None => Err(anyhow::anyhow!("the {what} {name:?} has no key {key:?}"))
            .with_context(|| format!("env {:?}", variable.name)),
    }
}

fn set(values: &mut Vec<(String, String)>, name: String, value: String) {
    values.retain(|(known, _)| *known != name);
    values.push((name, value));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"podIP": "10.244.1.2", "hostIP": "10.77.0.11"},
        }))
        .unwrap()
    }

    fn values(container: serde_json::Value, sources: &Sources) -> Result<BTreeMap<String, String>> {
        let container: Container = serde_json::from_value(container).unwrap();
        Ok(environment(&pod(), &container, ("10.96.0.1", 443), sources)?.into_iter().collect())
    }

    #[test]
    fn references_are_resolved_and_later_values_see_earlier_ones() {
        let sources = Sources {
            secrets: [("key".to_owned(), [("secret".to_owned(), "s3".to_owned())].into())].into(),
            config_maps: [("map".to_owned(), [("A".to_owned(), "1".to_owned())].into())].into(),
        };
        let env = values(
            json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "map"}}], "env": [
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "BOTH", "value": "$(NODE)/$(APP)/$$(NODE)/$(NONE)/5$"},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "key", "key": "secret"}}},
                {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "no", "key": "x", "optional": true}}},
            ]}),
            &sources,
        )
        .unwrap();
        assert_eq!(env["BOTH"], "n1/web/$(NODE)/$(NONE)/5$");
        assert_eq!(env["P_A"], "1");
        assert_eq!(env["KEY"], "s3");
        assert_eq!(env["KUBERNETES_SERVICE_HOST"], "10.96.0.1");
        assert!(!env.contains_key("ABSENT"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = json!({"name": "c", "env": [
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "key", "key": "secret"}}}]});
        let error = values(missing, &Sources::default()).unwrap_err();
        assert!(format!("{error:#}").contains("Secret \"key\""), "{error:#}");
        let unknown = json!({"name": "c", "env": [
            {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}}]});
        assert!(values(unknown, &Sources::default()).unwrap_err().to_string().contains("spec.nothing"));
    }
}
