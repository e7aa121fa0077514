//! Which Service is meant, and whose annotation counts. Pure.

use std::{convert::Infallible, net::IpAddr, str::FromStr};

use anyhow::{Context as _, ensure};
use landfall_model::{ServiceKey, ServiceView};

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(IpAddr),
    Service { namespace: Option<String>, name: String },
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text.parse(), text.split_once('/')) {
            (Ok(address), _) => Self::Address(address),
            (Err(_), Some((namespace, name))) => {
                Self::Service { namespace: Some(namespace.to_owned()), name: name.to_owned() }
            }
            (Err(_), None) => Self::Service { namespace: None, name: text.to_owned() },
        })
    }
}

/// The Service, and what is to be written where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The Service that was named.
    pub(super) named: ServiceKey,
    /// The Service whose annotation counts for it: of those that use addresses together, the oldest with one.
    pub(super) counts: ServiceKey,
    /// All of those, the oldest first.
    pub(super) together: Vec<ServiceKey>,
    /// Its load balancer class.
    pub(super) class: Option<Box<str>>,
    /// The node that is preferred so far.
    pub(super) preferred: Option<Box<str>>,
}

/// The one of all Services that is meant.
pub(super) fn choose(services: &[ServiceView], target: &Target, namespace: &str) -> anyhow::Result<Chosen> {
    let mut services: Vec<&ServiceView> = services.iter().collect();
    services.sort_by(|one, other| (one.created, &one.key).cmp(&(other.created, &other.key)));
    let named = match target {
        Target::Address(address) => {
            let has = |service: &&&ServiceView| service.addresses().any(|its| its == *address);
            services.iter().find(has).with_context(|| {
                format!(
                    "no Service has the address {address}; `landfall status -A` shows those that are in use"
                )
            })?
        }
        Target::Service { namespace: own, name } => {
            let key = ServiceKey::new(own.as_deref().unwrap_or(namespace), name);
            services.iter().find(|service| service.key == key).with_context(|| {
                format!(
                    "there is no Service {key} of type LoadBalancer; `landfall status -A` shows all of them"
                )
            })?
        }
    };
    ensure!(
        named.addresses().next().is_some(),
        "Service {} has no address that a node could announce; `landfall status -n {}` says why",
        named.key,
        named.key.namespace
    );
    let together = together(&services, named);
    let counts = together.iter().find(|one| one.requests.preferred_node.is_some());
    Ok(Chosen {
        named: named.key.clone(),
        counts: counts.unwrap_or(named).key.clone(),
        together: together.iter().map(|one| one.key.clone()).collect(),
        class: named.class.clone(),
        preferred: counts
            .and_then(|service| service.requests.preferred_node.as_ref())
            .map(|preferred| preferred.node.clone()),
    })
}

/// The Services that are announced by one node because they use addresses together, in their order.
fn together<'a>(services: &[&'a ServiceView], one: &ServiceView) -> Vec<&'a ServiceView> {
    let mut addresses: Vec<IpAddr> = one.addresses().collect();
    let mut inside = vec![false; services.len()];
    loop {
        let before = addresses.len();
        for (service, inside) in services.iter().zip(&mut inside) {
            if !*inside && service.addresses().any(|address| addresses.contains(&address)) {
                *inside = true;
                addresses.extend(service.addresses());
            }
        }
        if addresses.len() == before {
            return services.iter().zip(inside).filter(|(_, inside)| *inside).map(|(one, _)| *one).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use landfall_kubernetes::convert;

    use super::*;

    fn service(name: &str, day: u32, addresses: &[&str], preferred: Option<&str>) -> ServiceView {
        let ingress: Vec<_> = addresses.iter().map(|ip| serde_json::json!({ "ip": ip })).collect();
        let annotations: serde_json::Map<_, _> = preferred
            .map(|node| ("landfall.dev/preferred-node".to_owned(), node.into()))
            .into_iter()
            .collect();
        let object = serde_json::json!({
            "metadata": {
                "namespace": "shop", "name": name, "annotations": annotations,
                "creationTimestamp": format!("2026-01-0{day}T00:00:00Z"),
            },
            "spec": { "type": "LoadBalancer" },
            "status": { "loadBalancer": { "ingress": ingress } },
        });
        convert::service(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("shop", name)
    }

    #[test]
    fn a_service_is_named_by_itself_or_by_an_address() {
        let services = [
            service("young", 3, &["192.0.2.1"], None),
            service("old", 1, &["192.0.2.1", "2001:db8::1"], None),
            service("none", 2, &[], None),
        ];
        for (typed, namespace, expected) in [
            ("shop/young", "default", Ok("young")),
            ("young", "shop", Ok("young")),
            ("192.0.2.1", "default", Ok("old")),
            ("2001:DB8::1", "default", Ok("old")),
            ("young", "default", Err("no Service default/young")),
            ("shop/nothing", "shop", Err("no Service shop/nothing")),
            ("192.0.2.9", "shop", Err("192.0.2.9")),
            ("shop/none", "shop", Err("landfall status -n shop")),
        ] {
            let found = choose(&services, &typed.parse().unwrap(), namespace);
            match (found, expected) {
                (Ok(chosen), Ok(name)) => {
                    assert_eq!((&chosen.named, &chosen.counts), (&key(name), &key(name)))
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{typed}: {error}"),
                (found, _) => panic!("{typed}: {found:?}"),
            }
        }
    }

    #[test]
    fn the_oldest_that_asks_already_counts_for_all_that_share() {
        let services = [
            service("a", 4, &["192.0.2.1"], Some("n1")),
            service("b", 3, &["192.0.2.1", "192.0.2.2"], Some("n2")),
            service("c", 2, &["192.0.2.2", "192.0.2.3"], None),
            service("d", 1, &["192.0.2.4"], Some("n4")),
            service("e", 5, &["192.0.2.3"], None),
        ];
        for name in ["a", "b", "c", "e"] {
            let chosen = choose(&services, &format!("shop/{name}").parse().unwrap(), "").unwrap();
            assert_eq!((chosen.named, chosen.counts), (key(name), key("b")));
            assert_eq!(chosen.preferred.as_deref(), Some("n2"));
        }
    }
}
