//! What API servers are to be told of the webhooks, and what that lacks now. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
        ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{
        LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference,
    },
};
use landfall_kubernetes::names::{GROUP, label};
use serde_json::{Value, json};

use crate::{
    Settings, pods,
    review::REMOVED,
    server::{CONVERT, ELSEWHERE, PATHS, PODS},
};

/// MetalLB's configuration of its webhooks. Where one is left from it, and leads to this namespace, it is kept in use.
pub(crate) const METALLB: &str = "metallb-webhook-configuration";
/// MetalLB's Service, for which the certificate holds too.
const METALLB_SERVICE: &str = "metallb-webhook-service";
/// The one kind of two versions.
pub(crate) const PEERS: &str = "bgppeers.metallb.io";

/// What becomes of an object while no webhook answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// It is refused.
    #[default]
    Fail,
    /// It is taken as it is; the daemons still look at it.
    Ignore,
}

impl FailurePolicy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
        }
    }
}

/// The names that the certificate must be for.
pub(crate) fn names(settings: &Settings) -> Vec<String> {
    let namespace = &settings.namespace;
    let mut names = vec![format!("{}.{namespace}.svc", settings.service)];
    let metallb = format!("{METALLB_SERVICE}.{namespace}.svc");
    if !names.contains(&metallb) {
        names.push(metallb);
    }
    names
}

/// The configuration as it should be. `namespace` is the UID of the install's namespace, with which it goes.
pub(crate) fn configuration(
    settings: &Settings,
    authorities: &str,
    namespace: &str,
) -> ValidatingWebhookConfiguration {
    let own = LabelSelector {
        match_labels: Some(BTreeMap::from([(label::NAMESPACE_NAME.to_owned(), settings.namespace.clone())])),
        match_expressions: None,
    };
    let requirement = |key: &str, operator: &str, values: Option<Vec<String>>| LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values,
    };
    let other = LabelSelector {
        match_labels: None,
        match_expressions: Some(vec![
            requirement(label::INSTALL, "DoesNotExist", None),
            requirement(label::NAMESPACE_NAME, "NotIn", Some(vec![settings.namespace.clone()])),
        ]),
    };
    let webhook = |name: &str, path: &str, rules, selector, policy: FailurePolicy| ValidatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: leads_to(settings, authorities, path),
        failure_policy: Some(policy.as_str().to_owned()),
        match_conditions: None,
        match_policy: Some("Equivalent".to_owned()),
        name: format!("{name}.webhook.landfall.dev"),
        namespace_selector: Some(selector),
        object_selector: Some(LabelSelector::default()),
        rules: Some(rules),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(10),
    };
    let mut webhooks: Vec<ValidatingWebhook> = PATHS
        .iter()
        .map(|(kind, path)| {
            let rules = vec![rule(&[kind], &["CREATE", "UPDATE"])];
            webhook(&plural(kind), path, rules, own.clone(), settings.failure_policy)
        })
        .collect();
    // A namespace must be able to go, with all that is in it, when nobody answers any more.
    for (kind, path) in PATHS.iter().filter(|(kind, _)| *kind == REMOVED) {
        let rules = vec![rule(&[kind], &["DELETE"])];
        webhooks.push(webhook("removal", path, rules, own.clone(), FailurePolicy::Ignore));
    }
    let kinds: Vec<&str> = PATHS.iter().map(|(kind, _)| *kind).collect();
    let (peers, others): (Vec<&str>, Vec<&str>) = kinds.into_iter().partition(|kind| *kind == "BGPPeer");
    let rules = [others, peers].iter().map(|kinds| rule(kinds, &["CREATE"])).collect();
    webhooks.push(webhook("elsewhere", ELSEWHERE, rules, other, FailurePolicy::Ignore));
    ValidatingWebhookConfiguration { metadata: metadata(settings, namespace), webhooks: Some(webhooks) }
}

/// The same for new Pods. Each is let in when nobody answers, after a short time.
pub(crate) fn for_pods(
    settings: &Settings,
    authorities: &str,
    namespace: &str,
) -> MutatingWebhookConfiguration {
    let (key, value) = pods::LABEL;
    let owned = |text: &str| Some(vec![text.to_owned()]);
    let webhook = MutatingWebhook {
        admission_review_versions: vec!["v1".to_owned()],
        client_config: leads_to(settings, authorities, PODS),
        failure_policy: Some(FailurePolicy::Ignore.as_str().to_owned()),
        match_conditions: None,
        match_policy: Some("Equivalent".to_owned()),
        name: "pods.webhook.landfall.dev".to_owned(),
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            match_expressions: None,
        }),
        object_selector: Some(LabelSelector::default()),
        // Another webhook may add the labels by which a Service selects the Pod.
        reinvocation_policy: Some("IfNeeded".to_owned()),
        rules: Some(vec![RuleWithOperations {
            api_groups: owned(""),
            api_versions: owned("v1"),
            operations: owned("CREATE"),
            resources: owned("pods"),
            scope: Some("Namespaced".to_owned()),
        }]),
        side_effects: "None".to_owned(),
        timeout_seconds: Some(3),
    };
    MutatingWebhookConfiguration { metadata: metadata(settings, namespace), webhooks: Some(vec![webhook]) }
}

fn leads_to(settings: &Settings, authorities: &str, path: &str) -> WebhookClientConfig {
    WebhookClientConfig {
        ca_bundle: Some(ByteString(authorities.as_bytes().to_vec())),
        service: Some(ServiceReference {
            name: settings.service.clone(),
            namespace: settings.namespace.clone(),
            path: Some(path.to_owned()),
            port: Some(443),
        }),
        url: None,
    }
}

fn metadata(settings: &Settings, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(settings.configuration.clone()),
        labels: Some(BTreeMap::from([("app".to_owned(), "landfall".to_owned())])),
        owner_references: Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            name: settings.namespace.clone(),
            uid: namespace.to_owned(),
            ..OwnerReference::default()
        }]),
        ..ObjectMeta::default()
    }
}

/// Of kinds with the same version.
fn rule(kinds: &[&str], operations: &[&str]) -> RuleWithOperations {
    let version = if kinds == ["BGPPeer"] { "v1beta2" } else { "v1beta1" };
    let owned = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    RuleWithOperations {
        api_groups: owned(&[GROUP]),
        api_versions: owned(&[version]),
        operations: owned(operations),
        resources: Some(kinds.iter().map(|kind| plural(kind)).collect()),
        scope: Some("Namespaced".to_owned()),
    }
}

fn plural(kind: &str) -> String {
    let name = kind.to_lowercase();
    name.strip_suffix('y').map_or_else(|| format!("{name}s"), |stem| format!("{stem}ies"))
}

/// Whether `shown` is what `wanted` says, whatever else others added to it.
pub(crate) fn is_as_wanted<W: PartialEq>(shown: (&ObjectMeta, &W), wanted: (&ObjectMeta, &W)) -> bool {
    shown.1 == wanted.1 && shown.0.owner_references == wanted.0.owner_references
}

/// The Service of this namespace that MetalLB's configuration leads to; then it is the one to be kept in use.
pub(crate) fn leads_here<'a>(
    configuration: &'a ValidatingWebhookConfiguration,
    namespace: &str,
) -> Option<&'a str> {
    let webhooks = configuration.webhooks.iter().flatten();
    let mut services = webhooks.filter_map(|webhook| webhook.client_config.service.as_ref());
    services.find(|service| service.namespace == namespace).map(|service| &*service.name)
}

/// The strategic merge patch that gives MetalLB's configuration these authorities; `None` if it has them.
pub(crate) fn injection(
    configuration: &ValidatingWebhookConfiguration,
    namespace: &str,
    authorities: &str,
) -> Option<Value> {
    let bundle = ByteString(authorities.as_bytes().to_vec());
    let webhooks = configuration.webhooks.as_deref().unwrap_or_default().iter();
    let lacking = webhooks.filter(|webhook| {
        is_here(&webhook.client_config, namespace)
            && webhook.client_config.ca_bundle.as_ref() != Some(&bundle)
    });
    let patches: Vec<Value> =
        lacking.map(|one| json!({ "name": one.name, "clientConfig": { "caBundle": bundle } })).collect();
    (!patches.is_empty()).then(|| json!({ "webhooks": patches }))
}

fn is_here(config: &WebhookClientConfig, namespace: &str) -> bool {
    config.service.as_ref().is_some_and(|service| service.namespace == namespace)
}

/// The merge patch that gives the definition of `BGPPeer` these authorities; `None` if it has them, or if its conversion
/// leads to another install, or to nobody.
pub(crate) fn conversion(
    definition: &CustomResourceDefinition,
    namespace: &str,
    authorities: &str,
) -> Option<Value> {
    let config = definition.spec.conversion.as_ref()?.webhook.as_ref()?.client_config.as_ref()?;
    let service = config.service.as_ref().filter(|service| service.namespace == namespace)?;
    let bundle = ByteString(authorities.as_bytes().to_vec());
    let has_path = service.path.as_deref() == Some(CONVERT);
    if has_path && config.ca_bundle.as_ref() == Some(&bundle) {
        return None;
    }
    let client_config = json!({ "caBundle": bundle, "service": { "path": CONVERT } });
    Some(json!({ "spec": { "conversion": { "webhook": { "clientConfig": client_config } } } }))
}

#[cfg(test)]
mod tests;
