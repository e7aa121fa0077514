//! From `<pending>` to an answered request: installation, addresses, families, protocols, policies, pools, and what a
//! person sees of it.

mod lifecycle;
mod metallb;
mod operation;
mod others;
mod placement;
mod state;
mod traffic;

use landfall_e2e::Sections;
use landfall_e2e::manifests::{advertisement, list, pool};
use serde_json::{Value, json};

use crate::others::Others;

#[test]
#[ignore = "needs root and the control plane; make test runs it"]
fn services_are_served() {
    let mut others = Others::default();
    let mut sections = Sections::on_new_cluster(|cluster| {
        // Before Landfall, so that it finds them there.
        others = others::prepare(cluster)?;
        cluster.install()?;
        cluster.apply(&lan())
    });
    sections.run("an address is assigned, seen on a watch", traffic::assigned_on_a_watch);
    sections.run("curl is answered by every backend", traffic::curl_reaches_every_backend);
    sections.run("IPv4, IPv6 and dual stack", traffic::families);
    sections.run("TCP, UDP and several ports", traffic::protocols_and_ports);
    sections.run("policy Local keeps the client's address", traffic::policy_local);
    sections.run("forwarding node-port beside the real kube-proxy", traffic::node_port);
    sections.run("an address is released when its Service is deleted", lifecycle::released_on_deletion);
    sections.run("an address is released when its Service changes type", lifecycle::released_on_type_change);
    sections.run("a pool is added, edited and removed", lifecycle::pool_changes);
    sections.run("advertisements and labels choose the owner", placement::chosen_owner);
    sections.run("landfall status", operation::status);
    sections.run("both daemons say whether the configuration is valid", state::told);
    sections.run("Services of others are untouched", |cluster| others::untouched(cluster, &others));
    sections.run("the rights are enough", others::rights);
    sections.run("rules outlive the process, and cleanup removes them", operation::cleanup);
    sections.run("MetalLB's environment alone starts both daemons", metallb::environment);
    sections.finish();
}

/// What everybody may use: addresses beside the hosts of the LAN.
fn lan() -> Value {
    let addresses = ["10.77.0.200-10.77.0.239", "fd77::c8:0/120"];
    list([pool("lan", &addresses, json!({})), advertisement("lan", &["lan", "one", "later"])])
}
