//! Who sees the metrics: whoever asks by plain HTTP, unless that is shut; by HTTPS, who has a token that may.

use std::{fmt, path::PathBuf, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::IncomingStream,
};
use futures::future::BoxFuture;

use crate::{
    Gate,
    tls::{Identity, TlsListener, Version, follow},
};

/// Who sees `/metrics`, and how. The default is everybody, by HTTP and by HTTPS with a certificate that nobody vouches for.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Only HTTPS, and only with a token.
    pub token_only: bool,
    /// A directory with `tls.crt` and `tls.key`; without it a certificate is made at each start.
    pub certificate: Option<PathBuf>,
    /// The oldest version of TLS that is spoken.
    pub oldest: Version,
    /// Who knows which tokens may read metrics. Without one, HTTPS asks for none.
    pub reviewer: Option<Reviewer>,
}

/// Says whether the bearer of a token may read metrics.
#[derive(Clone)]
pub struct Reviewer(Arc<dyn Fn(String) -> BoxFuture<'static, Answer> + Send + Sync>);

/// What a [`Reviewer`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The token is good, and may.
    Allowed,
    /// The token is good, and may not.
    Forbidden,
    /// The token is not known.
    Unauthorized,
    /// It cannot be told now.
    Unknown,
}

impl Reviewer {
    /// From a function of the token.
    pub fn new(review: impl Fn(String) -> BoxFuture<'static, Answer> + Send + Sync + 'static) -> Self {
        Self(Arc::new(review))
    }
}

impl fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reviewer")
    }
}

/// Whether a request came by HTTPS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encrypted(bool);

impl Connected<IncomingStream<'_, TlsListener>> for Encrypted {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(stream.io().is_tls())
    }
}

impl Access {
    /// Keeps a certificate in use. Runs for ever.
    pub(crate) async fn certify(self, identity: Identity) {
        if let Some(directory) = self.certificate {
            return follow(directory, identity, Gate::new("a certificate for the metrics")).await;
        }
        let made =
            rcgen::generate_simple_self_signed(["landfall".to_owned()]).map_err(|error| error.to_string());
        let set = made.and_then(|made| {
            let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
            identity.set(chain.as_bytes(), key.as_bytes()).map_err(|error| error.to_string())
        });
        if let Err(error) = set {
            tracing::error!(op = "certificate", error, "metrics are not shown by HTTPS");
        }
    }
}

/// Lets a request through, or says why not.
pub(crate) async fn admit(
    State(access): State<Access>,
    ConnectInfo(Encrypted(encrypted)): ConnectInfo<Encrypted>,
    request: Request,
    next: Next,
) -> Response {
    let refused = |status: StatusCode, why: &'static str| (status, why).into_response();
    let reviewer = match &access.reviewer {
        Some(reviewer) if encrypted => reviewer,
        None if access.token_only => {
            return refused(
                StatusCode::FORBIDDEN,
                "metrics are shown to who has a token, and nobody knows tokens here",
            );
        }
        Some(_) | None => return next.run(request).await,
    };
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned) else {
        return refused(StatusCode::UNAUTHORIZED, "metrics are shown by HTTPS to who has a bearer token");
    };
    match (reviewer.0)(token).await {
        Answer::Allowed => next.run(request).await,
        Answer::Forbidden => refused(
            StatusCode::FORBIDDEN,
            "this token may not get /metrics; bind it to a ClusterRole with that nonResourceURL",
        ),
        Answer::Unauthorized => refused(StatusCode::UNAUTHORIZED, "the API server does not know this token"),
        Answer::Unknown => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "the API server does not answer; try again")
        }
    }
}
