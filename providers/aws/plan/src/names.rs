//! Generated names, equal to the byte to those of the AWS Load Balancer Controller, so that a create which is repeated by
//! either controller finds the object that is there.

use landfall_model::ServiceKey;
use sha2::{Digest, Sha256};

use crate::{HealthCheck, ListenerProtocol, Scheme, Service, TargetType};

/// `k8s-<namespace>-<name>-<hash>` for a load balancer.
pub(crate) fn load_balancer(cluster: &str, service: &Service, scheme: Scheme) -> String {
    name(&service.key, &[cluster, &service.uid, scheme.as_str()])
}

/// What a target group's name is made of, beside the Service.
pub(crate) struct TargetGroupName<'a> {
    pub(crate) port: u16,
    pub(crate) service_port: u16,
    pub(crate) target_type: TargetType,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) health_check: &'a HealthCheck,
    /// The Service with the load balancer, where that is another one.
    pub(crate) base: Option<&'a Service>,
}

/// The same form for a target group.
pub(crate) fn target_group(cluster: &str, service: &Service, of: &TargetGroupName<'_>) -> String {
    name(
        &service.key,
        &[
            cluster,
            of.base.map_or("", |base| &*base.uid),
            &service.uid,
            &of.port.to_string(),
            &of.service_port.to_string(),
            of.target_type.as_str(),
            of.protocol.as_str(),
            of.health_check.protocol.as_str(),
            &of.health_check.interval.to_string(),
        ],
    )
}

/// The same form for the front-end group.
pub(crate) fn security_group(cluster: &str, service: &Service) -> String {
    name(&service.key, &[cluster, &service.key.name, &service.key.namespace, &service.uid])
}

/// `k8s-traffic-<cluster>-<hash>` for the shared back-end group.
pub(crate) fn backend_group(cluster: &str) -> String {
    let short: String = cluster.chars().filter(char::is_ascii_alphanumeric).take(232).collect();
    format!("k8s-traffic-{short}-{}", hash(&[cluster]))
}

/// The name for a successor while its predecessor still has `name`.
pub(crate) fn successor(name: &str) -> String {
    let stem: String = name.chars().take(21).collect();
    format!("{}-{}", stem.trim_end_matches('-'), hash(&[name, "successor"]))
}

fn name(key: &ServiceKey, input: &[&str]) -> String {
    format!("k8s-{}-{}-{}", short(&key.namespace), short(&key.name), hash(input))
}

fn short(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}

fn hash(input: &[&str]) -> String {
    digest(&input.concat())[..10].to_owned()
}

/// Hex SHA-256.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
