//! What a speaker must ask the API server about itself before it can begin.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client};

/// Longest pause between two questions to an API server that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Who a speaker is.
pub(super) struct Identity {
    /// UID of the namespace `kube-system`: no two clusters have the same.
    pub(super) cluster_id: String,
    /// Its Pod, unless it runs outside of one.
    pub(super) pod: Option<OwnPod>,
}

/// The Pod that a speaker runs in.
pub(super) struct OwnPod {
    pub(super) name: String,
    pub(super) uid: String,
    /// `status.podIP`, which is the node's, since the Pod uses the host network.
    pub(super) address: Option<IpAddr>,
}

/// Asks until there are answers; says so in the log while there are none.
pub(super) async fn identity(client: &Client, namespace: &str, pod: Option<&str>) -> Identity {
    let mut pause = Duration::from_millis(200);
    loop {
        match ask(client, namespace, pod).await {
            Ok(identity) => return identity,
            Err(error) => {
                tracing::warn!(op = "start", %error, "the API server does not say who we are; asking again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn ask(client: &Client, namespace: &str, pod: Option<&str>) -> kube::Result<Identity> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let cluster_id = namespaces.get("kube-system").await?.metadata.uid.unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = match pod {
        Some(name) => pods.get_opt(name).await?,
        None => None,
    };
    let pod = found.and_then(|pod| {
        let address = pod.status.and_then(|status| status.pod_ip);
        Some(OwnPod {
            name: pod.metadata.name?,
            uid: pod.metadata.uid?,
            address: address.and_then(|address| address.parse().ok()),
        })
    });
    Ok(Identity { cluster_id, pod })
}
