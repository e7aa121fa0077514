//! What a controller without webhooks does about the configuration of an earlier one.

use std::{fmt, time::Duration};

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams},
};
use landfall_kubernetes::write::WriteError;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::knock::knock;

/// So often in a row nobody must answer: replicas come and go in an update.
const MISSES: u32 = 3;
/// So often in a row there must be none: replicas that are about to go may write it again.
const ABSENCES: u32 = 4;
/// Between two looks while nobody answers.
const LOOK: Duration = Duration::from_secs(2);
/// Between two looks otherwise.
const LOOK_LATER: Duration = Duration::from_secs(10);

/// What a look at the configuration shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// There is none.
    Absent,
    /// There is one, and its Service leads to somebody.
    Answered,
    /// There is one, and nobody answers.
    Silent,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Look again after this time.
    Wait(Duration),
    /// Take it away, and look again.
    Remove,
    /// All is done.
    End,
}

/// How often in a row the same was seen.
#[derive(Default)]
struct Looks {
    absences: u32,
    misses: u32,
}

impl Looks {
    const fn next(&mut self, seen: Seen) -> Next {
        match seen {
            Seen::Absent => {
                (self.absences, self.misses) = (self.absences + 1, 0);
                if self.absences < ABSENCES { Next::Wait(LOOK_LATER) } else { Next::End }
            }
            Seen::Answered => {
                (self.absences, self.misses) = (0, 0);
                Next::Wait(LOOK_LATER)
            }
            Seen::Silent => {
                (self.absences, self.misses) = (0, self.misses + 1);
                if self.misses < MISSES { Next::Wait(LOOK) } else { Next::Remove }
            }
        }
    }
}

/// Takes the configurations `name` of an install away once nobody answers at the Service that it names: the API server
/// would wait in vain. As long as somebody does, such as replicas that serve webhooks only, it stays. Ends when there is
/// none for a while, or without the right to see or delete one.
pub async fn withdraw(client: Client, name: String, shutdown: CancellationToken) {
    let validating =
        |one: ValidatingWebhookConfiguration| Some(one.webhooks?.into_iter().next()?.client_config);
    let mutating = |one: MutatingWebhookConfiguration| Some(one.webhooks?.into_iter().next()?.client_config);
    tokio::join!(take(&client, &name, &shutdown, validating), take(&client, &name, &shutdown, mutating),);
}

/// Takes away what the API server was told of Pods, by a controller that serves webhooks and has none for them.
pub(crate) async fn withdraw_gates(client: Client, name: String, shutdown: CancellationToken) {
    take(&client, &name, &shutdown, |_: MutatingWebhookConfiguration| None).await;
}

/// `whom` says who might answer still; if that is nobody, the configuration goes at once.
async fn take<K>(
    client: &Client,
    name: &str,
    shutdown: &CancellationToken,
    whom: impl Fn(K) -> Option<WebhookClientConfig>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
{
    let mut looks = Looks::default();
    loop {
        let seen = look(client, name, &whom).await;
        let done = match seen.map(|seen| looks.next(seen)) {
            Ok(Next::Wait(pause)) => Ok(pause),
            Ok(Next::Remove) => remove::<K>(client, name).await.map(|removed| {
                if removed {
                    tracing::info!(
                        op = "webhooks",
                        kind = &*K::kind(&()),
                        "nobody serves these webhooks, so the API server asks none any more"
                    );
                }
                LOOK_LATER
            }),
            Ok(Next::End) => return,
            Err(error) => Err(error),
        };
        let pause = match done {
            Ok(pause) => pause,
            // Who may not do that has not written one either.
            Err(WriteError::Rejected { .. }) => return,
            Err(error) => {
                tracing::debug!(op = "webhooks", %error, "it is not known whether the API server asks webhooks");
                LOOK_LATER
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn look<K>(
    client: &Client,
    name: &str,
    whom: impl Fn(K) -> Option<WebhookClientConfig>,
) -> Result<Seen, WriteError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    let Some(configuration) = api.list(&named).await?.items.pop() else {
        return Ok(Seen::Absent);
    };
    let Some(config) = whom(configuration) else { return Ok(Seen::Silent) };
    let answered = match config.service {
        Some(service) => {
            let ByteString(bundle) = config.ca_bundle.unwrap_or_default();
            timeout(LOOK, knock(client, &service.namespace, &service.name, &bundle))
                .await
                .is_ok_and(|answer| answer.is_ok())
        }
        None => false,
    };
    Ok(if answered { Seen::Answered } else { Seen::Silent })
}

/// Takes the configuration away; says whether there was one.
async fn remove<K>(client: &Client, name: &str) -> Result<bool, WriteError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    match api.delete(name, &DeleteParams::default()).await.map_err(WriteError::from) {
        Ok(_) => Ok(true),
        Err(WriteError::Gone { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_serves_is_taken_away_and_what_comes_back_again_too() {
        use Seen::{Absent, Answered, Silent};
        let (soon, later) = (Next::Wait(LOOK), Next::Wait(LOOK_LATER));
        let mut looks = Looks::default();
        for (row, (seen, next)) in [
            // An update: the old replicas answer still, and one look misses by chance.
            (Answered, later),
            (Silent, soon),
            (Answered, later),
            (Silent, soon),
            (Silent, soon),
            (Silent, Next::Remove),
            (Absent, later),
            // One that was about to go has written it again.
            (Silent, soon),
            (Silent, soon),
            (Silent, Next::Remove),
            (Absent, later),
            (Absent, later),
            (Absent, later),
            (Absent, Next::End),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(looks.next(seen), next, "look {row}");
        }
    }
}
