//! Events of `events.k8s.io/v1`. The name is made of what is said, so that the same event again meets the first
//! one, from whichever replica, and raises its count.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{EventWrite, WriteError, Writer, api::answered};
use crate::names::digest;

/// The API server refuses a longer `note`.
const NOTE_BYTES: usize = 1024;
/// How many counts are remembered. When there are more, all are forgotten: counting starts anew.
const REMEMBERED: usize = 4096;

pub(super) async fn write(writer: &Writer, event: &EventWrite) -> Result<(), WriteError> {
    let api: Api<Event> = Api::namespaced(writer.client.clone(), &event.service.namespace);
    let name = name(event, writer.identity.component);
    if known(writer, &name) {
        match raise(writer, &api, &name).await {
            Err(WriteError::Gone { .. }) => {}
            outcome => return outcome,
        }
    }
    let object = object(event, &name, writer);
    match answered(api.create(&PostParams::default(), &object)).await {
        Ok(_) => {
            remember(writer, name, 1);
            Ok(())
        }
        Err(WriteError::Conflict { .. }) => raise(writer, &api, &name).await,
        Err(error) => Err(error),
    }
}

/// Raises the count of an event that exists.
async fn raise(writer: &Writer, api: &Api<Event>, name: &str) -> Result<(), WriteError> {
    let count = lock(writer).get(name).copied().unwrap_or(1).saturating_add(1);
    let series = json!({ "series": { "count": count, "lastObservedTime": MicroTime(Timestamp::now()) } });
    answered(api.patch(name, &PatchParams::default(), &Patch::Merge(series))).await?;
    remember(writer, name.to_owned(), count);
    Ok(())
}

fn known(writer: &Writer, name: &str) -> bool {
    lock(writer).contains_key(name)
}

fn remember(writer: &Writer, name: String, count: i32) {
    let mut events = lock(writer);
    if events.len() >= REMEMBERED {
        events.clear();
    }
    events.insert(name, count);
}

fn lock(writer: &Writer) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<String, i32>> {
    writer.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn name(event: &EventWrite, component: &str) -> String {
    let digest = digest(&[&event.uid, event.severity.as_str(), event.reason, &event.message, component]);
    format!("{}.{digest}", event.service.name)
}

fn object(event: &EventWrite, name: &str, writer: &Writer) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(event.service.namespace.to_string()),
            ..ObjectMeta::default()
        },
        action: Some(event.action.to_owned()),
        reason: Some(event.reason.to_owned()),
        type_: Some(event.severity.as_str().to_owned()),
        note: Some(shortened(&event.message).to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(event.service.namespace.to_string()),
            name: Some(event.service.name.to_string()),
            uid: Some(event.uid.to_string()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(writer.identity.component.to_owned()),
        reporting_instance: Some(writer.identity.instance.clone()),
        ..Event::default()
    }
}

/// The longest beginning that the API server takes.
fn shortened(message: &str) -> &str {
    let mut end = message.len().min(NOTE_BYTES);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let long = "ä".repeat(NOTE_BYTES);
        assert_eq!(shortened(&long).len(), NOTE_BYTES);
        let odd = format!("x{long}");
        assert_eq!(shortened(&odd).len(), NOTE_BYTES - 1);
        assert_eq!(shortened("short"), "short");
    }
}
