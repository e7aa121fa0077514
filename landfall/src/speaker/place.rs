//! Where a speaker reads and writes, and what it finds out about itself there.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use futures::future::{BoxFuture, FutureExt as _, pending};
use kube::Client;
use landfall_kubernetes::{
    names,
    source::{self, Directory, Interests, Source},
    write::{FileWriter, OwnerPod, Store, Writer, WriterIdentity, describe},
};
use landfall_speaker::memory::{self, Memory, MemoryError, remembered};
use tokio::{sync::SetOnce, time::sleep};

use super::identity::{Identity, identity};

/// Which speaker this is.
pub(super) struct Member<'a> {
    pub(super) node: &'a str,
    pub(super) namespace: &'a str,
    pub(super) pod: Option<&'a str>,
    pub(super) labels: &'a str,
}

/// Where a speaker reads and writes, and what it learned there about itself.
pub(super) struct Place {
    pub(super) source: Source,
    pub(super) store: Store,
    pub(super) cluster_id: String,
    pub(super) address: Option<IpAddr>,
    /// Ends, with the reason, when what was learned from memory turns out to be wrong.
    pub(super) mistaken: BoxFuture<'static, anyhow::Error>,
}

impl Member<'_> {
    /// A speaker without a cluster. All that share the directory are of one cluster.
    pub(super) fn in_files(&self, directory: &Path) -> anyhow::Result<Place> {
        let directory = Directory::new(directory);
        let store = Store::Files(FileWriter::new(&directory.statuses));
        let source = source::files(directory).context("the manifests cannot be read")?;
        let mistaken = pending().boxed();
        Ok(Place { source, store, cluster_id: "files".to_owned(), address: None, mistaken })
    }

    /// A speaker of a cluster. The API server alone knows which one; while it does not answer, the memory does, and
    /// without one this waits.
    pub(super) async fn in_cluster(&self, client: Client, memory: Option<Memory>) -> Place {
        let owner: Arc<SetOnce<Option<OwnerPod>>> = Arc::default();
        let source = source::watch(client.clone(), &Interests::speaker(self.namespace, self.labels));
        let writer = WriterIdentity {
            namespace: self.namespace.to_owned(),
            manager: names::manager::SPEAKER,
            component: names::event::SPEAKER,
            instance: self.pod.unwrap_or(self.node).to_owned(),
            owner: Arc::clone(&owner),
        };
        let store = Store::Api(Writer::new(client.clone(), writer));
        let (namespace, pod) = (self.namespace.to_owned(), self.pod.map(str::to_owned));
        let question = Question { client, namespace, pod, owner };
        let Some(memory) = memory else {
            let memory::Place { cluster_id, address } = question.answer().await;
            return Place { source, store, cluster_id, address, mistaken: pending().boxed() };
        };
        let (place, patience, mistaken) = tokio::select! {
            place = question.answer() => {
                keep(&memory, &place);
                (place, memory::PATIENCE, pending().boxed())
            }
            place = after(memory::PATIENCE, known(&memory)) => {
                tracing::warn!(op = "start", "the API server does not answer; this node goes by what it remembers");
                let mistaken = question.differs(memory.clone(), place.cluster_id.clone()).boxed();
                (place, Duration::ZERO, mistaken)
            }
        };
        let memory::Place { cluster_id, address } = place;
        Place { source: remembered(source, memory, patience), store, cluster_id, address, mistaken }
    }
}

/// What a speaker asks the API server about itself.
#[derive(Clone)]
struct Question {
    client: Client,
    namespace: String,
    pod: Option<String>,
    /// Gets the Pod, or that there is none, when there is an answer.
    owner: Arc<SetOnce<Option<OwnerPod>>>,
}

impl Question {
    /// Asks until there is an answer.
    async fn answer(&self) -> memory::Place {
        let Identity { cluster_id, pod } = identity(&self.client, &self.namespace, self.pod.as_deref()).await;
        let address = pod.as_ref().and_then(|pod| pod.address);
        // A question that was asked twice has the same answer.
        drop(self.owner.set(pod.map(|pod| OwnerPod { name: pod.name, uid: pod.uid })));
        memory::Place { cluster_id, address }
    }

    /// Asks on, and ends only when the answer is another cluster.
    async fn differs(self, memory: Memory, cluster_id: String) -> anyhow::Error {
        let place = self.answer().await;
        keep(&memory, &place);
        if place.cluster_id == cluster_id {
            return pending().await;
        }
        anyhow!("this node remembered another cluster, which is forgotten now; start again")
    }
}

async fn after(patience: Duration, known: Option<memory::Place>) -> memory::Place {
    match known {
        Some(place) => {
            sleep(patience).await;
            place
        }
        None => pending().await,
    }
}

fn known(memory: &Memory) -> Option<memory::Place> {
    memory.place().inspect_err(unusable).ok().flatten()
}

fn keep(memory: &Memory, place: &memory::Place) {
    drop(memory.set_place(place).inspect_err(unusable));
}

fn unusable(error: &MemoryError) {
    let error = describe(error);
    tracing::warn!(op = "remember", error, "where this node is cannot be remembered");
}
