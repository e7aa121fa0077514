//! Health checks: what is asked for over the defaults of the traffic policy and the target type.

use landfall_model::TrafficPolicy;

use crate::{
    HealthCheck, HealthPort, HealthProtocol, Problem, Request, Service, ServiceType, Settings, TargetPort,
    TargetType,
};

/// The one health check of all target groups of a Service.
pub(super) fn resolve(
    service: &Service,
    request: &Request,
    settings: &Settings,
) -> Result<HealthCheck, Problem> {
    let asked = &request.health_check;
    // kube-proxy answers on this port whether the node has an endpoint of its own.
    let local = service.health_check_node_port.filter(|_| {
        service.traffic_policy == TrafficPolicy::Local
            && request.target_type == TargetType::Instance
            && service.kind == ServiceType::LoadBalancer
    });
    let default = if local.is_some() { HealthProtocol::Http } else { HealthProtocol::Tcp };
    let protocol = asked.protocol.unwrap_or(default);
    let http = protocol != HealthProtocol::Tcp;
    let path = if local.is_some() { "/healthz" } else { "/" };
    let threshold = if local.is_some() { 2 } else { 3 };
    let codes = asked.success_codes.as_deref().unwrap_or("200-399");
    let timeout = asked.timeout.unwrap_or(if local.is_some() { 6 } else { 10 });
    Ok(HealthCheck {
        protocol,
        port: match &asked.port {
            None => local.map(|port| port.0),
            Some(HealthPort::Traffic) => None,
            Some(HealthPort::Number(port)) => Some(*port),
            Some(HealthPort::Name(name)) => Some(named(service, request, name)?),
        },
        path: http.then(|| asked.path.as_deref().unwrap_or(path).to_owned()),
        matcher: (http && settings.advanced_health_checks).then(|| codes.to_owned()),
        interval: asked.interval.unwrap_or(10),
        timeout: settings.advanced_health_checks.then_some(timeout),
        healthy_threshold: asked.healthy_threshold.unwrap_or(threshold),
        unhealthy_threshold: asked.unhealthy_threshold.unwrap_or(threshold),
    })
}

fn named(service: &Service, request: &Request, name: &str) -> Result<u16, Problem> {
    let refuse = |allowed: &str| Problem::Annotation {
        annotation: "aws-load-balancer-healthcheck-port".to_owned(),
        value: name.to_owned(),
        allowed: format!("failed to resolve healthCheckPort; {allowed}"),
    };
    let port = service.ports.iter().find(|port| &*port.name == name);
    let port = port.ok_or_else(|| refuse("the Service has no port of this name"))?;
    match (request.target_type, &port.target) {
        (TargetType::Instance, _) => {
            port.node_port.map(|port| port.0).ok_or_else(|| refuse("this port has no nodePort"))
        }
        (TargetType::Ip, TargetPort::Number(number)) => Ok(*number),
        (TargetType::Ip, TargetPort::Name(_)) => Err(refuse("its targetPort is a name; use a number")),
    }
}
