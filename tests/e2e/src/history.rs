//! Every address that any Service has ever had, as somebody sees it who watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::lock;

/// What a Service's status held, and since when we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the watch said so.
    pub at: Instant,
    /// The addresses and host names of `status.loadBalancer.ingress`.
    pub addresses: Vec<String>,
}

/// Follows all Services until it is dropped.
#[derive(Debug)]
pub struct History {
    seen: Arc<Mutex<BTreeMap<String, Vec<Entry>>>>,
    task: JoinHandle<()>,
}

impl History {
    /// Starts watching.
    #[must_use]
    pub fn follow(client: kube::Client, runtime: &Handle) -> Self {
        let seen: Arc<Mutex<BTreeMap<String, Vec<Entry>>>> = Arc::default();
        let inside = Arc::clone(&seen);
        let task = runtime.spawn(async move {
            let mut events =
                watcher(Api::<Service>::all(client), watcher::Config::default()).default_backoff().boxed();
            loop {
                match events.try_next().await {
                    Ok(Some(watcher::Event::Apply(service) | watcher::Event::InitApply(service))) => {
                        note(&mut lock(&inside), &service);
                    }
                    // A deleted Service has no addresses any more.
                    Ok(Some(watcher::Event::Delete(mut service))) => {
                        service.status = None;
                        note(&mut lock(&inside), &service);
                    }
                    Ok(Some(watcher::Event::Init | watcher::Event::InitDone)) => {}
                    Ok(None) => return,
                    // The API server may be stopped by a test; the watcher begins again.
                    Err(_) => {}
                }
            }
        });
        Self { seen, task }
    }

    /// All that a Service's status has held, in order, without repetitions. `key` is `namespace/name`.
    #[must_use]
    pub fn of(&self, key: &str) -> Vec<Entry> {
        lock(&self.seen).get(key).cloned().unwrap_or_default()
    }

    /// What all Services hold now that have anything.
    #[must_use]
    pub fn now(&self) -> BTreeMap<String, Vec<String>> {
        let seen = lock(&self.seen);
        let latest =
            seen.iter().filter_map(|(key, entries)| Some((key.clone(), entries.last()?.addresses.clone())));
        latest.filter(|(_, addresses)| !addresses.is_empty()).collect()
    }

    /// Checks that the addresses of a Service have never changed since then.
    ///
    /// # Errors
    /// When they have; with everything that was seen.
    pub fn ensure_unchanged_since(&self, key: &str, since: Instant) -> Result<()> {
        let entries = self.of(key);
        let later: Vec<&Entry> = entries.iter().filter(|entry| entry.at > since).collect();
        ensure!(later.is_empty(), "the addresses of {key} have changed: {}", told(&entries, since));
        Ok(())
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(seen: &mut BTreeMap<String, Vec<Entry>>, service: &Service) {
    let key = format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any());
    let addresses = addresses(service);
    let entries = seen.entry(key).or_default();
    if entries.last().is_none_or(|last| last.addresses != addresses) {
        entries.push(Entry { at: Instant::now(), addresses });
    }
}

/// What a Service's status holds.
#[must_use]
pub fn addresses(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    ingress.into_iter().flatten().filter_map(|entry| entry.ip.clone().or(entry.hostname.clone())).collect()
}

fn told(entries: &[Entry], since: Instant) -> String {
    let one = |entry: &Entry| {
        let when = match entry.at.checked_duration_since(since) {
            Some(after) => format!("{:.2} s later", after.as_secs_f64()),
            None => "before".to_owned(),
        };
        format!("[{}] {when}", entry.addresses.join(", "))
    };
    entries.iter().map(one).collect::<Vec<_>>().join(", ")
}
