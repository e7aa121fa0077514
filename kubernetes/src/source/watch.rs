//! Watches of the API server: one task per kind, none of which ever gives up.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event, watcher},
};
use tokio::task::JoinSet;

use super::{
    Outlet, Source,
    backoff::{Backoff, random},
    kind::{
        Announcements, BfdProfiles, BgpAdvertisements, BgpPeers, CommunityNames, EndpointSlices, Kind,
        L2Advertisements, Namespaces, Nodes, Pools, Services, Speakers,
    },
    seen::Seen,
    tracker::Tracker,
};
use crate::{names::label, write::describe};

/// How long one watch request lasts; a connection that died in silence is noticed a little later.
pub(crate) const WATCH_SECONDS: u32 = 180;
/// Objects per page of a list.
pub(crate) const PAGE: u32 = 500;

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interests {
    /// The namespace of pools, advertisements and speakers; those elsewhere are not seen.
    pub namespace: String,
    /// Services of all namespaces and classes.
    pub services: bool,
    /// `IPAddressPool` objects.
    pub pools: bool,
    /// `L2Advertisement` objects.
    pub advertisements: bool,
    /// `BGPAdvertisement`, `BGPPeer`, `BFDProfile` and `Community` objects. They are not
    /// waited for.
    pub bgp: bool,
    /// `ServiceL2Status` objects. They are not waited for.
    pub announcements: bool,
    /// Nodes.
    pub nodes: bool,
    /// EndpointSlices of all namespaces that belong to a Service.
    pub endpoint_slices: bool,
    /// Namespaces.
    pub namespaces: bool,
    /// The Pods of speakers, by this label selector.
    pub speakers: Option<String>,
}

impl Interests {
    /// What the controller reads.
    #[must_use]
    pub fn controller(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            services: true,
            pools: true,
            // No address that a node has is handed out.
            nodes: true,
            namespaces: true,
            announcements: true,
            ..Self::default()
        }
    }

    /// What a speaker reads; `speakers` selects the Pods of all speakers by label.
    #[must_use]
    pub fn speaker(namespace: &str, speakers: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            services: true,
            pools: true,
            advertisements: true,
            bgp: true,
            announcements: false,
            nodes: true,
            endpoint_slices: true,
            namespaces: false,
            speakers: Some(speakers.to_owned()),
        }
    }
}

/// Watches everything that `interests` names, in tasks of the current tokio runtime.
///
/// The first list of every kind comes first, then [`landfall_model::Observation::Synced`] once, then changes. A
/// failed request changes nothing: it is repeated with growing pauses, and what the next list lacks is reported as
/// deleted. A kind that the API server does not know yet is asked for until it does. Only those about BGP are not waited for:
/// addresses must not wait for a definition, a right or a conversion webhook that they do not need.
#[must_use]
pub fn watch(client: Client, interests: &Interests) -> Source {
    let mut wanted = Wanted::default();
    let namespace = &interests.namespace;
    if interests.services {
        wanted.add::<Services>(Api::all(client.clone()), all());
    }
    if interests.pools {
        wanted.add::<Pools>(Api::namespaced(client.clone(), namespace), all());
    }
    if interests.advertisements {
        wanted.add::<L2Advertisements>(Api::namespaced(client.clone(), namespace), all());
    }
    if interests.bgp {
        wanted.add::<BgpAdvertisements>(Api::namespaced(client.clone(), namespace), all());
        wanted.add::<BgpPeers>(Api::namespaced(client.clone(), namespace), all());
        wanted.add::<BfdProfiles>(Api::namespaced(client.clone(), namespace), all());
        wanted.add::<CommunityNames>(Api::namespaced(client.clone(), namespace), all());
    }
    if interests.announcements {
        wanted.add::<Announcements>(Api::namespaced(client.clone(), namespace), all());
    }
    if interests.nodes {
        wanted.add::<Nodes>(Api::all(client.clone()), all());
    }
    if interests.endpoint_slices {
        wanted.add::<EndpointSlices>(Api::all(client.clone()), all().labels(label::SERVICE_NAME));
    }
    if interests.namespaces {
        wanted.add::<Namespaces>(Api::all(client.clone()), all());
    }
    if let Some(selector) = &interests.speakers {
        wanted.add::<Speakers>(Api::namespaced(client, namespace), all().labels(selector));
    }
    let (outlet, observations) = Outlet::new(&wanted.kinds);
    let mut tasks = JoinSet::new();
    for start in wanted.starts {
        start(&mut tasks, outlet.clone());
    }
    let health = outlet.health.clone();
    if wanted.kinds.is_empty() {
        tasks.spawn(async move {
            // Nobody else will: the barrier of nothing is open at once.
            outlet.send([landfall_model::Observation::Synced]).await;
        });
    }
    Source { observations, health, _tasks: tasks }
}

fn all() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE)
}

/// The watches to start, which must be counted before the first of them runs.
#[derive(Default)]
struct Wanted {
    kinds: Vec<&'static str>,
    starts: Vec<Box<Start>>,
}

type Start = dyn FnOnce(&mut JoinSet<()>, Outlet);

impl Wanted {
    fn add<K: Kind>(&mut self, api: Api<Seen<K>>, config: watcher::Config) {
        self.kinds.push(K::KIND);
        self.starts.push(Box::new(|tasks, outlet| {
            tasks.spawn(follow::<K>(api, config, outlet));
        }));
    }
}

async fn follow<K: Kind>(api: Api<Seen<K>>, config: watcher::Config, outlet: Outlet) {
    let mut tracker = Tracker::<K>::new();
    let mut backoff = Backoff::default();
    let mut first = true;
    let mut events = std::pin::pin!(watcher(api, config));
    while let Some(event) = events.next().await {
        let alive = match event {
            Err(error) => {
                let none = !K::WAITED_FOR && std::mem::take(&mut first);
                let alive = !none || outlet.listed().await;
                report::<K>(&error, &mut backoff, &outlet).await;
                alive
            }
            // Comes before the request of a list, so it says nothing about success.
            Ok(Event::Init) => {
                tracker.begin();
                true
            }
            Ok(Event::InitApply(seen)) => {
                let key = seen.key();
                outlet.send(tracker.apply(key, seen.outcome)).await
            }
            Ok(Event::Apply(seen)) => {
                backoff.reset();
                outlet.health.set_failing(K::KIND, false);
                let key = seen.key();
                outlet.send(tracker.apply(key, seen.outcome)).await
            }
            Ok(Event::Delete(seen)) => outlet.send(tracker.delete(&seen.key())).await,
            Ok(Event::InitDone) => {
                if backoff.failing(Instant::now()) {
                    tracing::info!(kind = K::KIND, "the list is complete again");
                }
                backoff.reset();
                outlet.health.set_failing(K::KIND, false);
                let mut alive = outlet.send(tracker.finish()).await;
                if std::mem::take(&mut first) {
                    alive = alive && outlet.listed().await;
                }
                alive
            }
        };
        if !alive {
            return;
        }
    }
}

async fn report<K: Kind>(error: &watcher::Error, backoff: &mut Backoff, outlet: &Outlet) {
    outlet.health.set_failing(K::KIND, !expired(error));
    paused(K::KIND, error, backoff).await;
}

/// Logs a failure, loudly only when it is the first one since a success, and pauses.
pub(crate) async fn paused(kind: &'static str, error: &watcher::Error, backoff: &mut Backoff) {
    let text = describe(error);
    if expired(error) {
        tracing::debug!(kind, error = text, "the watch is too old; listing again");
    } else if backoff.failing(Instant::now()) {
        tracing::debug!(kind, error = text, "still failing");
    } else if missing(error) {
        tracing::warn!(kind, "the API server does not know this kind; install the custom resources");
    } else {
        tracing::warn!(kind, error = text, "the watch failed; what is known stays in force");
    }
    let pause = backoff.next(random(), Instant::now());
    // As a busy server asks, with the jitter on top, since it asks everybody.
    tokio::time::sleep(asked_to_wait(error).map_or(pause, |asked| asked + pause)).await;
}

/// The server has forgotten the version that the watch was at, which is normal after a pause.
fn expired(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn asked_to_wait(error: &watcher::Error) -> Option<Duration> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))
    | watcher::Error::WatchFailed(kube::Error::Api(status))
    | watcher::Error::WatchError(status)) = error
    else {
        return None;
    };
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
}

/// There is no such kind.
fn missing(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
        return false;
    };
    matches!(cause, kube::Error::Api(status) if status.code == 404)
}
