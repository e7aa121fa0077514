//! The whole controller over a directory of manifests: source, plan, writers and shutdown.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use landfall_controller::{Cluster, Settings, run};
use landfall_kubernetes::source::Directory;
use landfall_probes::Addresses;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

/// The new content arrives in one step.
fn put(directory: &Path, name: &str, text: &str) {
    let draft = directory.join(format!(".{name}"));
    fs::write(&draft, text).unwrap();
    fs::rename(draft, directory.join(name)).unwrap();
}

fn service(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop, annotations: {{ {annotations} }} }}\n\
         spec: {{ type: LoadBalancer, ports: [{{ port: 80, nodePort: 30080 }}] }}\n"
    )
}

/// What the status file of a Service shows.
fn addresses(directory: &Path, name: &str) -> Vec<IpAddr> {
    let text = fs::read(directory.join(format!("status/shop.{name}.json"))).unwrap_or_default();
    let value: Value = serde_json::from_slice(&text).unwrap_or_default();
    let ingress = value["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    ingress.iter().map(|entry| entry["ip"].as_str().unwrap().parse().unwrap()).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{what}");
}

#[tokio::test]
async fn services_in_files_are_served_and_follow_their_manifests() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    put(
        at,
        "pool.yaml",
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
         metadata: { name: lan, namespace: landfall-system }\nspec: { addresses: [192.0.2.0/30] }\n",
    );
    for index in 0..4 {
        put(at, &format!("s{index}.yaml"), &service(&format!("s{index}"), ""));
    }
    let settings = Settings {
        namespace: "landfall-system".to_owned(),
        pod_name: "test".to_owned(),
        pools: true,
        leaves_aws: false,
        cloud: None,
        classes: landfall_model::Classes::default(),
        secret_name: "memberlist".to_owned(),
        webhooks: None,
        withdraws: None,
        competes: true,
        makes_namespace: false,
        addresses: Addresses::default(),
    };
    let shutdown = CancellationToken::new();
    let controller = tokio::spawn(run(settings, Cluster::Files(Directory::new(at), None), shutdown.clone()));
    until("all are served", || (0..4).all(|index| addresses(at, &format!("s{index}")).len() == 1)).await;
    let first = addresses(at, "s0");

    put(at, "late.yaml", &service("late", ""));
    put(at, "s1.yaml", &service("s1", "\"metallb.io/loadBalancerIPs\": 203.0.113.1"));
    until("what one loses another gets", || addresses(at, "late").len() == 1).await;
    until("nobody shows it twice", || addresses(at, "s1").is_empty()).await;
    assert_eq!(addresses(at, "s0"), first);

    fs::remove_file(at.join("late.yaml")).unwrap();
    put(at, "s1.yaml", &service("s1", ""));
    until("and back", || addresses(at, "s1").len() == 1).await;
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, controller).await.expect("it ends").unwrap().unwrap();
}
