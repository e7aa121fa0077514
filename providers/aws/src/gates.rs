//! Keeps what the webhook for new Pods answers from. Every replica does, whether it leads or not.

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, ResourceExt as _, runtime::watcher::Event};
use landfall_aws_plan::{Gates, Map, Settings};
use landfall_kubernetes::source;
use landfall_model::ServiceKey;
use tokio::sync::watch;

use crate::cluster;

/// The gates of new Pods, `None` until the Services have been listed, and the task that keeps them.
pub fn gates(
    client: &Client,
    settings: &crate::Settings,
) -> (watch::Receiver<Option<Gates>>, BoxFuture<'static, ()>) {
    let (sender, receiver) = watch::channel(None);
    let services = cluster::scoped(client, settings.plan.namespace.as_deref());
    (receiver, keep(services, settings.plan.clone(), sender).boxed())
}

/// Runs until nobody reads any more.
async fn keep(services: Api<Service>, settings: Settings, told: watch::Sender<Option<Gates>>) {
    let mut events = source::events(services, "Service", None);
    // While they are listed anew, what is known goes on holding.
    let mut listed = Gates::default();
    while let Some(event) = events.next().await {
        match event {
            Event::Init => listed = Gates::default(),
            Event::InitApply(service) => observe(&mut listed, &service, true, &settings),
            Event::InitDone => drop(told.send_replace(Some(std::mem::take(&mut listed)))),
            Event::Apply(service) => change(&told, &service, true, &settings),
            Event::Delete(service) => change(&told, &service, false, &settings),
        }
        if told.is_closed() {
            return;
        }
    }
}

fn change(told: &watch::Sender<Option<Gates>>, service: &Service, there: bool, settings: &Settings) {
    told.send_modify(|gates| observe(gates.get_or_insert_default(), service, there, settings));
}

fn observe(gates: &mut Gates, object: &Service, there: bool, settings: &Settings) {
    let key = ServiceKey::new(&object.namespace().unwrap_or_default(), &object.name_any());
    let none = Map::new();
    let selector = object.spec.as_ref().and_then(|spec| spec.selector.as_ref()).unwrap_or(&none);
    let service = there.then(|| cluster::service(&key, object));
    gates.observe(&key, service.as_ref().map(|service| (service, selector)), settings);
}
