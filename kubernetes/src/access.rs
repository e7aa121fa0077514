//! Whether the bearer of a token may read something of ours: the API server knows tokens and rights.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

/// How long an answer is used again: Prometheus asks every half a minute, somebody who guesses more often.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many answers are remembered.
const MOST: usize = 1024;
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API server says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It may.
    Granted,
    /// It is known, and may not.
    Denied,
    /// It is not known.
    NoToken,
}

/// Asks the API server about tokens. Clones share what it said. The tokens themselves are not kept.
#[derive(Clone)]
pub struct Rights {
    client: Client,
    path: &'static str,
    known: Arc<Mutex<Known>>,
}

/// What was said, and when, by the SHA-256 of the token.
type Known = BTreeMap<[u8; 32], (Instant, Right)>;

impl Rights {
    /// About the right to `get` this path (a nonResourceURL).
    #[must_use]
    pub fn new(client: Client, path: &'static str) -> Self {
        Self { client, path, known: Arc::default() }
    }

    /// Whether the bearer of `token` has it, by what the API server says now or said a few seconds ago.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn of(&self, token: &str) -> Result<Right, kube::Error> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = Instant::now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).copied();
        if let Some((_, right)) = known.filter(|(at, _)| now.saturating_duration_since(*at) < REMEMBERED) {
            return Ok(right);
        }
        let right = match timeout(PATIENCE, self.ask(token)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(kube::Error::Service("the API server takes too long".into())),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (at, _)| now.saturating_duration_since(*at) < REMEMBERED);
        }
        if known.len() < MOST {
            known.insert(digest, (now, right));
        }
        Ok(right)
    }

    async fn ask(&self, token: &str) -> Result<Right, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Right::NoToken);
        };
        let path = NonResourceAttributes { path: Some(self.path.to_owned()), verb: Some("get".to_owned()) };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                groups: user.groups,
                uid: user.uid,
                extra: user.extra,
                non_resource_attributes: Some(path),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let allowed =
            api.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed);
        Ok(if allowed { Right::Granted } else { Right::Denied })
    }
}
