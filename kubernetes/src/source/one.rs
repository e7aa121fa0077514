//! Objects as they are, for those who need more of them than the model holds: all of a kind, or one by its name, which may
//! be all that one has the right to watch.

use std::{fmt, pin::Pin};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;

use super::{PAGE, WATCH_SECONDS, backoff::Backoff, paused};

/// What happens to the objects of one kind, or to those that `labels` select. Failures are told in the log, and followed by a
/// pause.
pub fn events<K>(
    api: Api<K>,
    kind: &'static str,
    labels: Option<&str>,
) -> Pin<Box<dyn Stream<Item = Event<K>> + Send>>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let all = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    patiently(api, kind, labels.map_or_else(|| all.clone(), |labels| all.clone().labels(labels)))
}

/// What happens to the one object of this name. Failures are told in the log, and followed by a pause.
pub(crate) fn events_of<K>(
    api: Api<K>,
    kind: &'static str,
    name: &str,
) -> Pin<Box<dyn Stream<Item = Event<K>> + Send>>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let only = watcher::Config::default().timeout(WATCH_SECONDS).fields(&format!("metadata.name={name}"));
    patiently(api, kind, only)
}

fn patiently<K>(
    api: Api<K>,
    kind: &'static str,
    config: watcher::Config,
) -> Pin<Box<dyn Stream<Item = Event<K>> + Send>>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let events = Box::pin(watcher(api, config));
    Box::pin(stream::unfold((events, Backoff::default()), move |(mut events, mut backoff)| async move {
        loop {
            match events.next().await? {
                Ok(event) => {
                    // The beginning of a list comes before its request, so it says nothing about success.
                    if !matches!(event, Event::Init) {
                        backoff.reset();
                    }
                    return Some((event, (events, backoff)));
                }
                Err(error) => paused(kind, &error, &mut backoff).await,
            }
        }
    }))
}

/// What the object of this name is, `None` while there is none: first when that is known, then whenever it is told anew.
/// Failures are told in the log, and followed by a pause.
pub fn follow<K>(api: Api<K>, kind: &'static str, name: &str) -> Pin<Box<dyn Stream<Item = Option<K>> + Send>>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let events = events_of(api, kind, name);
    Box::pin(stream::unfold((events, None), |(mut events, mut listed)| async move {
        loop {
            match events.next().await? {
                Event::Init => listed = None,
                Event::InitApply(object) => listed = Some(object),
                Event::InitDone => return Some((listed.take(), (events, None))),
                Event::Apply(object) => return Some((Some(object), (events, None))),
                Event::Delete(_) => return Some((None, (events, None))),
            }
        }
    }))
}
