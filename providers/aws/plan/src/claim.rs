//! Which Services are ours.

use crate::{Map, PREFIX, Problem, Service, ServiceType, Settings};

/// The finalizer that holds a Service until its AWS objects are gone; the same as the AWS Load Balancer Controller's, so
/// that either controller can end what the other began.
pub const FINALIZER: &str = "service.k8s.aws/resources";
/// The finalizer of the generic Service controller: its load balancer, if any, is not ours.
pub const FOREIGN_FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// What we have to do with a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It gets a load balancer.
    Ours,
    /// It carries our finalizer and is deleted, or no longer ours: everything of it goes, then the finalizer.
    Release,
    /// It would be ours, but another controller holds it. Nothing is touched.
    Refused(Problem),
    /// None of our business.
    NotOurs,
}

impl Claim {
    /// Judges a Service. The class wins over annotations, in both directions.
    #[must_use]
    pub fn of(service: &Service, settings: &Settings) -> Self {
        let held = service.finalizers.iter().any(|name| &**name == FINALIZER);
        if service.deleting || !wanted(service, settings) {
            return if held { Self::Release } else { Self::NotOurs };
        }
        if service.finalizers.iter().any(|name| &**name == FOREIGN_FINALIZER) {
            return Self::Refused(Problem::Foreign(format!(
                "Service {} carries finalizer {FOREIGN_FINALIZER}: another controller holds its load balancer. Delete and create \
                 the Service, or take its old load balancer over with annotation {}",
                service.key,
                crate::ADOPT
            )));
        }
        Self::Ours
    }
}

fn wanted(service: &Service, settings: &Settings) -> bool {
    let load_balancer = service.kind == ServiceType::LoadBalancer;
    if settings.load_balancer_type_only && !load_balancer {
        return false;
    }
    if let Some(class) = &service.class {
        return **class == *settings.class;
    }
    annotated(&service.annotations).unwrap_or(settings.claim_classless && load_balancer)
}

/// Whether annotations claim a Service without a class for AWS, in the way from before there were classes; `None` where they
/// say nothing.
#[must_use]
pub fn annotated(annotations: &Map) -> Option<bool> {
    let annotation = |name: &str| annotations.get(&format!("{PREFIX}{name}")).map(String::as_str);
    Some(match annotation("aws-load-balancer-type")? {
        "nlb-ip" => true,
        "external" => matches!(annotation("aws-load-balancer-nlb-target-type"), Some("ip" | "instance")),
        _ => false,
    })
}
