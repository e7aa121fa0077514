//! Admission and conversion webhooks: what an API server asks before it takes an object of the configuration. An IO
//! crate; what it answers is decided in `landfall-verdict`, and what is wrong with one object alone by the `convert` of
//! `landfall-kubernetes`.
//!
//! ```text
//! API server ── HTTPS ──▶ server ──▶ review ◀── lists, read for each question ── API server
//!                           ▲ certificate
//!                        keeper ◀──▶ Secret: made by whichever replica comes first, shared by all
//!                           │ authorities
//!                           ▼
//!                        registrar ──▶ ValidatingWebhookConfiguration, conversion of BGPPeer,
//!                                      MutatingWebhookConfiguration for readiness gates of Pods
//! ```
//!
//! Every replica serves, whether it leads or not.

mod certificate;
mod conversion;
mod keeper;
mod knock;
mod pods;
mod registrar;
mod review;
mod server;
mod wanted;
mod withdrawal;

use std::{net::SocketAddr, path::PathBuf};

use futures::FutureExt as _;
use kube::Client;
use landfall_probes::{
    BindError, Gate, Meter,
    tls::{Identity, TlsListener, Version, follow},
};
use landfall_verdict::Mode;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::{server::PodGates, wanted::FailurePolicy, withdrawal::withdraw};

use self::{
    keeper::Keeper,
    registrar::Registrar,
    server::{Answers, Asked},
};

/// What webhooks need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the install, where the configuration lies.
    pub namespace: String,
    /// What announces by BGP, which decides about the settings that it can have.
    pub bgp: Mode,
    /// Where to listen.
    pub address: SocketAddr,
    /// The oldest version of TLS that is spoken.
    pub oldest: Version,
    /// The Service that leads to the webhooks.
    pub service: String,
    /// The `ValidatingWebhookConfiguration` to keep, and the `MutatingWebhookConfiguration` where Pods wait for target groups.
    pub configuration: String,
    /// What becomes of objects while no webhook answers.
    pub failure_policy: FailurePolicy,
    /// Where the certificate comes from.
    pub certificate: Certificate,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// It is made, renewed and shared through this Secret, and API servers are told to trust it.
    Secret(String),
    /// Somebody else keeps `tls.crt` and `tls.key` in this directory, and tells API servers of the webhooks.
    Directory(PathBuf),
}

/// The webhooks, listening.
pub struct Webhooks {
    settings: Settings,
    listener: TlsListener,
    identity: Identity,
    asked: Asked,
    gate: Gate,
}

impl Webhooks {
    /// Opens the socket. The gate opens when there is a certificate to show.
    ///
    /// # Errors
    /// When the address is taken, or not this machine's.
    pub async fn bind(settings: Settings, asked: Asked, gate: Gate) -> Result<Self, BindError> {
        let identity = Identity::default();
        let listener =
            TlsListener::bind(settings.address, "webhooks", identity.clone(), settings.oldest, false).await?;
        Ok(Self { settings, listener, identity, asked, gate })
    }

    /// Answers until `shutdown`. Pods are asked about if there are `gates`, else what an earlier controller told the API server
    /// of them is taken back.
    pub async fn serve(self, client: Client, gates: Option<PodGates>, shutdown: CancellationToken) {
        let Self { settings, listener, identity, asked, gate } = self;
        let (trusted, authorities) = watch::channel(None);
        let _tasks = match &settings.certificate {
            Certificate::Directory(directory) => {
                vec![follow(directory.clone(), identity, gate).boxed()]
            }
            Certificate::Secret(secret) => {
                let keeper = Keeper {
                    client: client.clone(),
                    namespace: settings.namespace.clone(),
                    secret: secret.clone(),
                    names: wanted::names(&settings),
                    identity,
                    gate,
                    trusted,
                };
                let gating = gates.is_some();
                let registrar =
                    Registrar { client: client.clone(), settings: settings.clone(), gating, authorities };
                let mut tasks = vec![keeper.run().boxed(), registrar.run().boxed()];
                if !gating {
                    let (client, name) = (client.clone(), settings.configuration.clone());
                    tasks.push(withdrawal::withdraw_gates(client, name, shutdown.clone()).boxed());
                }
                tasks
            }
        }
        .into_iter()
        .map(|task| AbortOnDropHandle::new(tokio::spawn(task)))
        .collect::<Vec<_>>();
        let answers = Answers { client, namespace: settings.namespace, bgp: settings.bgp, gates, asked };
        let served =
            axum::serve(listener, server::routes(answers)).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(op = "webhooks", %error, "the webhooks ended");
        }
    }
}

/// The counters of questions, registered.
///
/// # Errors
/// When there are such counters already.
pub fn counters(meter: &mut Meter) -> prometheus::Result<Asked> {
    Asked::new(meter)
}
