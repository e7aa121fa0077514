//! Keeps a certificate that is made and shared through a Secret.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use landfall_kubernetes::{
    names::manager,
    source::follow,
    write::{WriteError, describe},
};
use landfall_probes::{Gate, tls::Identity};
use tokio::{sync::watch, time::sleep};

use crate::certificate::{Bundle, Step};

/// The clock may be set while one waits, so one does not wait longer.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How long to wait after something failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Makes and renews the certificate in a Secret. Whichever replica comes first writes; the others take what is there.
pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) secret: String,
    /// What the certificate must be for.
    pub(crate) names: Vec<String>,
    pub(crate) identity: Identity,
    pub(crate) gate: Gate,
    /// The authorities that API servers must trust.
    pub(crate) trusted: watch::Sender<Option<String>>,
}

impl Keeper {
    /// Runs for ever.
    pub(crate) async fn run(self) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut changes = follow(api.clone(), "Secret", &self.secret);
        // The stream never ends.
        let Some(mut stored) = changes.next().await else { return };
        loop {
            let bundle = stored.as_ref().and_then(bundle).unwrap_or_default();
            let now = Timestamp::now().as_second();
            let step = bundle.step(&self.names, now);
            if step != Step::Everything {
                self.serve(&bundle);
            }
            let pause = match step {
                Step::Nothing { until } => {
                    Duration::from_secs(u64::try_from(until - now).unwrap_or(0)).min(LOOK_AGAIN)
                }
                Step::Everything | Step::Authority | Step::Certificate => {
                    match self.renew(&api, stored.as_ref(), &bundle, step, now).await {
                        Some(written) => {
                            stored = Some(written);
                            continue;
                        }
                        None => PAUSE,
                    }
                }
            };
            tokio::select! {
                Some(changed) = changes.next() => stored = changed,
                () = sleep(pause) => {}
            }
        }
    }

    fn serve(&self, bundle: &Bundle) {
        if let Err(error) = self.identity.set(bundle.certificate.as_bytes(), bundle.key.as_bytes()) {
            let secret = &self.secret;
            tracing::error!(op = "certificate", secret, %error, "the webhooks' certificate cannot be used; delete the Secret");
            return;
        }
        self.gate.set(true);
        self.trusted.send_if_modified(|trusted| {
            let changed = trusted.as_deref() != Some(&bundle.authorities);
            *trusted = Some(bundle.authorities.clone());
            changed
        });
    }

    /// Makes and stores what the step says; `None` if that failed, or if another replica was faster.
    async fn renew(
        &self,
        api: &Api<Secret>,
        stored: Option<&Secret>,
        bundle: &Bundle,
        step: Step,
        now: i64,
    ) -> Option<Secret> {
        let secret = &self.secret;
        let made = match bundle.make(step, &self.names, now) {
            Ok(made) => made,
            Err(error) => {
                tracing::error!(
                    op = "certificate",
                    secret,
                    error = describe(&error),
                    "no certificate for the webhooks"
                );
                return None;
            }
        };
        let mut next = stored.cloned().unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(secret.clone()), ..ObjectMeta::default() },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        });
        let entries = made.entries().into_iter();
        let entries = entries.map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())));
        next.data.get_or_insert_default().extend(entries);
        let ours =
            PostParams { field_manager: Some(manager::CONTROLLER.to_owned()), ..PostParams::default() };
        let written = match stored {
            Some(_) => api.replace(secret, &ours, &next).await,
            None => api.create(&ours, &next).await,
        };
        match written.map_err(WriteError::from) {
            Ok(written) => {
                tracing::info!(op = "certificate", secret, step = ?step, "the webhooks' certificate was renewed");
                Some(written)
            }
            // The other one's comes with the watch.
            Err(WriteError::Conflict { .. }) => None,
            Err(error) => {
                tracing::warn!(op = "certificate", secret, %error, "the webhooks' certificate was not stored; it is tried again");
                None
            }
        }
    }
}

fn bundle(secret: &Secret) -> Option<Bundle> {
    let data = secret.data.as_ref()?;
    Bundle::read(|key| data.get(key).map(|bytes| bytes.0.clone()))
}
