//! Services, their addresses, and what is said of them.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;

use super::{ASSIGNED, Cluster};
use crate::history;
use crate::manifests::SHOP;
use crate::wait::until;

impl Cluster {
    /// A Service in [`SHOP`], as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn service(&self, name: &str) -> Result<Service> {
        let api: Api<Service> = Api::namespaced(self.bed().client(), SHOP);
        self.wait_for(api.get(name)).with_context(|| format!("read the Service {name}"))
    }

    /// The addresses of a Service in [`SHOP`]; waits until there are `count`.
    ///
    /// # Errors
    /// When there are not, in time.
    pub fn addresses(&self, name: &str, count: usize) -> Result<Vec<IpAddr>> {
        until(format!("{count} addresses of {name}"), ASSIGNED, || {
            let service = self.service(name)?;
            let addresses = history::addresses(&service);
            ensure!(addresses.len() == count, "{addresses:?}, {}", conditions(&service));
            addresses.iter().map(|text| text.parse().with_context(|| format!("{text:?}"))).collect()
        })
    }

    /// The one address of a Service in [`SHOP`].
    ///
    /// # Errors
    /// When there is none in time.
    pub fn address(&self, name: &str) -> Result<IpAddr> {
        Ok(self.addresses(name, 1)?[0])
    }

    /// Waits until a Service has no address and a condition of ours says why; answers its reason.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn refused(&self, name: &str) -> Result<String> {
        until(format!("a reason why {name} has no address"), ASSIGNED, || {
            let service = self.service(name)?;
            let addresses = history::addresses(&service);
            ensure!(addresses.is_empty(), "it has {addresses:?}");
            let status = service.status.unwrap_or_default();
            let ours = status.conditions.into_iter().flatten().find(|c| c.type_ == "landfall.dev/Allocated");
            let ours = ours.context("no condition landfall.dev/Allocated")?;
            ensure!(ours.status == "False", "the condition is {} ({})", ours.status, ours.reason);
            Ok(ours.reason)
        })
    }

    /// Removes Services of [`SHOP`] and waits until they are gone.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn delete_services(&self, names: &[&str]) -> Result<()> {
        self.kubectl(
            ["delete", "service", "-n", SHOP, "--timeout=30s"].into_iter().chain(names.iter().copied()),
        )
        .map(drop)
    }
}

/// Addresses of both families, in the order of the status.
///
/// # Errors
/// When there is not one of each.
pub fn both_families(addresses: &[IpAddr]) -> Result<(IpAddr, IpAddr)> {
    match addresses {
        [v4, v6] if v4.is_ipv4() && v6.is_ipv6() => Ok((*v4, *v6)),
        other => Err(anyhow!("{other:?} is not an IPv4 and then an IPv6 address")),
    }
}

/// The conditions of a Service, for a message.
#[must_use]
pub fn conditions(service: &Service) -> String {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
    let one = |c: &Condition| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message);
    let all: Vec<String> = conditions.into_iter().flatten().map(one).collect();
    if all.is_empty() { "no condition".to_owned() } else { all.join("; ") }
}
