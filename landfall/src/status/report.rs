//! What `landfall status` says, as a function of what was read. The JSON and YAML output is [`Report`] itself;
//! its shape is versioned by `apiVersion` and only grows.

use std::collections::BTreeMap;

use landfall_model::{Classes, Verdict as Found, Verification};
use serde::Serialize;

/// What was read from the cluster, reduced to what the report needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Which Services the install handles.
    pub(crate) handled: Handled,
    pub(crate) components: Vec<Component>,
    pub(crate) pools: Vec<Pool>,
    /// Why pools are not in force, a sentence each.
    pub(crate) pool_faults: Vec<String>,
    pub(crate) services: Vec<ServiceFacts>,
    /// Owners as the speakers report them, by (namespace, name).
    pub(crate) owners: BTreeMap<(String, String), Vec<Owner>>,
}

/// Which Services an install handles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handled {
    /// Its controllers do not say.
    #[default]
    Unknown,
    /// These.
    Services(Classes),
}

impl Handled {
    /// Whether another install of Landfall handles the Service: it carries our condition, and its class is not that of
    /// this install.
    fn elsewhere(&self, service: &ServiceFacts) -> bool {
        match self {
            Self::Unknown => false,
            Self::Services(classes) => {
                !classes.handles(service.class.as_deref()) && service.allocated.is_some()
            }
        }
    }
}

/// A node that announces a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) node: String,
    /// The interfaces that announce, and why these, such as `eth0 (Subnet)`. `None` when MetalLB wrote the report.
    pub(crate) link: Option<String>,
    /// What was found on the wire. `None` when MetalLB or an older version wrote the report.
    pub(crate) verification: Option<Verification>,
}

/// One Service of type LoadBalancer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceFacts {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) class: Option<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) pool: Option<String>,
    /// The node that the annotation `landfall.dev/preferred-node` names.
    pub(crate) preferred_node: Option<String>,
    /// Status, reason and message of the condition `landfall.dev/Allocated`.
    pub(crate) allocated: Option<(bool, String, String)>,
    /// The same of the condition `landfall.dev/Provisioned`: its load balancer is a cloud's.
    pub(crate) provisioned: Option<(bool, String, String)>,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) problems: Vec<String>,
    pub(crate) components: Vec<Component>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) services: Vec<ServiceRow>,
}

/// The first line of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    /// Everything is served.
    Ok,
    /// Something is not.
    Degraded,
    /// No controller or no speaker is ready.
    Down,
}

/// One pod of Landfall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Component {
    pub(crate) component: String,
    pub(crate) pod: String,
    pub(crate) node: String,
    pub(crate) version: String,
    pub(crate) ready: bool,
}

/// One pool; sizes in addresses of both families.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) size: i64,
    pub(crate) used: i64,
    pub(crate) free: i64,
}

/// One Service of type LoadBalancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceRow {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) class: Option<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) pool: Option<String>,
    pub(crate) owner: Option<String>,
    /// The node that should announce it, if it asks for one.
    pub(crate) preferred_node: Option<String>,
    /// The interfaces of the owner that announce it, and why these, such as `eth0 (Subnet)`.
    pub(crate) link: Option<String>,
    /// What was found on the wire; of several owners, by the one that was verified.
    pub(crate) verification: Option<Verification>,
    /// The same three, one by one: for a moment, while an address moves, there are several owners.
    #[serde(skip)]
    pub(crate) owners: Vec<Owner>,
    /// Whether it has an address and, where the address is ours, a node that announces it.
    pub(crate) served: bool,
    /// Why it is not served; `None` when it is.
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<String>,
}

impl Report {
    /// Judges what was read. Order: components by name and node, pools by name, Services by namespace and name.
    pub(crate) fn of(facts: Facts) -> Self {
        let Facts { handled, mut components, mut pools, pool_faults, mut services, owners } = facts;
        services.retain(|service| !handled.elsewhere(service));
        components.sort_by(|a, b| (&a.component, &a.node, &a.pod).cmp(&(&b.component, &b.node, &b.pod)));
        pools.sort_by(|a, b| a.name.cmp(&b.name));
        let mut rows: Vec<ServiceRow> = services.into_iter().map(|service| row(service, &owners)).collect();
        rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));

        let mut problems: Vec<String> = components
            .iter()
            .filter(|c| !c.ready)
            .map(|c| format!("{} {} on {} is not ready", c.component, c.pod, c.node))
            .collect();
        problems.extend(skew(&components));
        problems.extend(pool_faults);
        problems.extend(rows.iter().filter(|row| !row.served).map(|row| {
            format!(
                "Service {}/{} is not served: {}",
                row.namespace,
                row.name,
                row.reason.as_deref().unwrap_or("Unknown")
            )
        }));
        let ready = |name: &str| components.iter().any(|c| c.component == name && c.ready);
        let verdict = if !ready("controller") || !ready("speaker") {
            for name in ["controller", "speaker"] {
                if !ready(name) {
                    problems.insert(0, format!("no {name} is ready"));
                }
            }
            Verdict::Down
        } else if problems.is_empty() {
            Verdict::Ok
        } else {
            Verdict::Degraded
        };
        Self {
            api_version: "landfall.dev/v1",
            kind: "Status",
            verdict,
            problems,
            components,
            pools,
            services: rows,
        }
    }

    /// What the first line says.
    pub(crate) fn headline(&self) -> String {
        match (self.verdict, self.problems.len()) {
            (Verdict::Ok, _) => "OK".to_owned(),
            (Verdict::Degraded, 1) => "DEGRADED: 1 problem".to_owned(),
            (Verdict::Degraded, n) => format!("DEGRADED: {n} problems"),
            (Verdict::Down, _) => "DOWN".to_owned(),
        }
    }
}

fn skew(components: &[Component]) -> Option<String> {
    let mut versions: Vec<&str> = components.iter().map(|c| c.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    (versions.len() > 1).then(|| format!("several versions run side by side: {}", versions.join(", ")))
}

fn row(service: ServiceFacts, owners: &BTreeMap<(String, String), Vec<Owner>>) -> ServiceRow {
    let ServiceFacts { namespace, name, class, addresses, pool, preferred_node, allocated, provisioned } =
        service;
    let owners = owners.get(&(namespace.clone(), name.clone())).map(Vec::as_slice).unwrap_or_default();
    let joined = |texts: Vec<&str>, between: &str| (!texts.is_empty()).then(|| texts.join(between));
    let owner = joined(owners.iter().map(|owner| &*owner.node).collect(), ",");
    let link = joined(owners.iter().filter_map(|owner| owner.link.as_deref()).collect(), ", ");
    // What a cloud's load balancer lacks is told by its provider, and nobody announces it here.
    let verifications = || owners.iter().filter_map(|owner| owner.verification.as_ref());
    let verified = verifications().find(|one| one.result == Found::Verified);
    let verification = verified.or_else(|| verifications().next()).cloned();
    let (served, reason, message) = match provisioned {
        Some((true, ..)) => (true, None, None),
        Some((false, reason, message)) => (false, Some(reason), Some(message)),
        None => match on_the_lan(allocated, addresses.is_empty(), owner.is_some()) {
            (true, ..) => {
                let fault = verification.as_ref().and_then(Verification::fault);
                let message = verification.as_ref().filter(|_| fault.is_some()).map(ToString::to_string);
                (fault.is_none(), fault.map(|fault| fault.to_string()), message)
            }
            unserved => unserved,
        },
    };
    ServiceRow {
        namespace,
        name,
        class,
        addresses,
        pool,
        owner,
        preferred_node,
        link,
        verification,
        owners: owners.to_vec(),
        served,
        reason,
        message,
    }
}

/// Whether an address on the LAN is served, else reason and message.
fn on_the_lan(
    allocated: Option<(bool, String, String)>,
    empty: bool,
    announced: bool,
) -> (bool, Option<String>, Option<String>) {
    let not = |reason: &str, message: &str| (false, Some(reason.to_owned()), Some(message.to_owned()));
    match (allocated, empty, announced) {
        (Some((false, reason, message)), ..) => not(&reason, &message),
        (None, true, _) => {
            not("NotHandled", "no controller has looked at it; is one running that handles this class?")
        }
        (Some((true, ..)), true, _) => not("NoAddress", "the status holds no address"),
        (Some((true, ..)), false, false) => not(
            "NotAnnounced",
            "no speaker announces it: no advertisement, no endpoint, no eligible node, or another host has the address \
                 (see the Service's events)",
        ),
        // Another provider's address: that it is there is all that can be said.
        (None, false, _) | (Some((true, ..)), false, true) => (true, None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(component: &str, ready: bool, version: &str) -> Component {
        let text = |t: &str| t.to_owned();
        Component {
            component: text(component),
            pod: format!("{component}-1"),
            node: text("n1"),
            version: text(version),
            ready,
        }
    }

    fn healthy() -> Facts {
        Facts {
            components: vec![component("speaker", true, "v1"), component("controller", true, "v1")],
            ..Facts::default()
        }
    }

    fn service(allocated: Option<(bool, &str)>, address: Option<&str>) -> ServiceFacts {
        ServiceFacts {
            namespace: "shop".into(),
            name: "web".into(),
            addresses: address.map(str::to_owned).into_iter().collect(),
            allocated: allocated.map(|(ok, reason)| (ok, reason.to_owned(), String::new())),
            ..ServiceFacts::default()
        }
    }

    fn owner(node: &str, link: Option<&str>) -> Owner {
        Owner { node: node.into(), link: link.map(str::to_owned), verification: None }
    }

    #[test]
    fn the_owner_has_its_link_beside_it() {
        for (owners, name, link) in [
            (vec![], None, None),
            (vec![owner("n1", None)], Some("n1"), None),
            (
                vec![owner("n1", Some("eth0,eth1 (DefaultRoute)"))],
                Some("n1"),
                Some("eth0,eth1 (DefaultRoute)"),
            ),
            // For a moment while an address moves.
            (
                vec![owner("n1", Some("eth0 (Subnet)")), owner("n2", Some("eth1 (Only)"))],
                Some("n1,n2"),
                Some("eth0 (Subnet), eth1 (Only)"),
            ),
        ] {
            let mut all = healthy();
            all.services.push(service(Some((true, "Allocated")), Some("192.0.2.1")));
            if !owners.is_empty() {
                all.owners.insert(("shop".into(), "web".into()), owners);
            }
            let json = serde_json::to_value(Report::of(all)).unwrap();
            let row = &json["services"][0];
            assert_eq!((row["owner"].as_str(), row["link"].as_str()), (name, link), "{row}");
            assert!(row.as_object().unwrap().contains_key("link"), "null, not missing");
        }
    }

    #[test]
    fn what_is_not_heard_on_the_wire_is_not_served() {
        let found = |result| Verification {
            result,
            since: None,
            by: Some("n2".into()),
            other: Some("02:00:00:00:00:09".into()),
            gap_ms: Some(170),
        };
        for (result, reason) in [
            (Found::Verified, None),
            (Found::Pending, None),
            (Found::Unable, None),
            (Found::Silent, Some("NotHeard")),
            (Found::Wrong, Some("OtherHostAnswers")),
        ] {
            let mut all = healthy();
            all.services.push(service(Some((true, "Allocated")), Some("192.0.2.1")));
            let owner = Owner { verification: Some(found(result)), ..owner("n1", None) };
            all.owners.insert(("shop".into(), "web".into()), vec![owner]);
            let report = Report::of(all);
            let row = &report.services[0];
            assert_eq!((row.served, row.reason.as_deref()), (reason.is_none(), reason));
            let json = serde_json::to_value(row).unwrap();
            assert_eq!(json["verification"]["gapMs"], 170, "{json}");
            let message = row.message.as_deref().unwrap_or_default();
            assert!(reason.is_none() || message.contains("by node \"n2\""), "{message}");
        }
    }

    #[test]
    fn a_cluster_without_faults_is_ok() {
        let report = Report::of(healthy());
        assert_eq!((report.verdict, report.headline().as_str()), (Verdict::Ok, "OK"));
    }

    #[test]
    fn without_a_ready_controller_or_speaker_it_is_down() {
        for name in ["controller", "speaker"] {
            let mut facts = healthy();
            facts.components.iter_mut().filter(|c| c.component == name).for_each(|c| c.ready = false);
            let report = Report::of(facts);
            assert_eq!(report.verdict, Verdict::Down);
            assert_eq!(report.problems[0], format!("no {name} is ready"));
        }
    }

    #[test]
    fn two_versions_side_by_side_degrade() {
        let mut facts = healthy();
        facts.components.push(component("speaker", true, "v2"));
        assert_eq!(Report::of(facts).verdict, Verdict::Degraded);
    }

    #[test]
    fn services_of_another_install_are_left_out() {
        let classes = |handled: &Handled| {
            let mut all = Facts { handled: handled.clone(), ..healthy() };
            for (class, allocated) in [
                (None, Some((true, "Allocated"))),
                (Some("ours"), Some((false, "NoPools"))),
                (Some("theirs"), Some((true, "Allocated"))),
                // Nobody has looked at it: somebody should know.
                (Some("nobodys"), None),
            ] {
                all.services
                    .push(ServiceFacts { class: class.map(str::to_owned), ..service(allocated, None) });
            }
            let rows = Report::of(all).services;
            rows.into_iter().map(|row| row.class.unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(classes(&Handled::Unknown), ["", "ours", "theirs", "nobodys"]);
        assert_eq!(classes(&Handled::Services(Classes::default())), ["", "nobodys"]);
        assert_eq!(classes(&Handled::Services(Classes::only("ours"))), ["ours", "nobodys"]);
    }

    #[test]
    fn a_load_balancer_of_a_cloud_has_no_owner() {
        for (ready, reason) in [(true, "Active"), (false, "Provisioning")] {
            let mut all = healthy();
            let provisioned = Some((ready, reason.to_owned(), String::new()));
            all.services.push(ServiceFacts { provisioned, ..service(None, Some("x.elb.amazonaws.com")) });
            let report = Report::of(all);
            assert_eq!((report.services[0].served, report.verdict == Verdict::Ok), (ready, ready));
            assert_eq!(report.services[0].reason.as_deref(), (!ready).then_some(reason));
        }
    }

    #[test]
    fn the_reason_of_a_service_follows_the_table() {
        for (facts, owned, reason) in [
            (service(None, None), false, Some("NotHandled")),
            (service(Some((false, "NoPools")), None), false, Some("NoPools")),
            (service(Some((true, "Allocated")), None), false, Some("NoAddress")),
            (service(Some((true, "Allocated")), Some("192.0.2.1")), false, Some("NotAnnounced")),
            (service(Some((true, "Allocated")), Some("192.0.2.1")), true, None),
            (service(None, Some("198.51.100.9")), false, None),
            (service(Some((false, "ForeignStatus")), Some("198.51.100.9")), false, Some("ForeignStatus")),
        ] {
            let mut all = healthy();
            all.services.push(facts.clone());
            if owned {
                all.owners.insert(("shop".into(), "web".into()), vec![owner("n1", None)]);
            }
            let report = Report::of(all);
            assert_eq!(report.services[0].reason.as_deref(), reason, "{facts:?}");
            assert_eq!(report.services[0].served, reason.is_none());
            assert_eq!(report.verdict == Verdict::Ok, reason.is_none());
        }
    }
}
