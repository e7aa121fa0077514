//! The paths, which are MetalLB's, and what an answer costs: one round of lists, see [`configuration`]. About Pods it is answered
//! from memory.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::post,
};
use kube::{
    Client,
    core::{
        DynamicObject,
        admission::{AdmissionRequest, AdmissionResponse, AdmissionReview},
        conversion::{ConversionRequest, ConversionResponse, ConversionReview},
        response::Status,
    },
};
use landfall_aws_plan::Gates;
use landfall_kubernetes::{source::configuration, write::describe};
use landfall_probes::Meter;
use landfall_verdict::Mode;
use prometheus::IntCounterVec;
use tokio::{sync::watch, time::timeout};

use crate::{
    conversion::convert,
    pods,
    review::{Question, answer, elsewhere, question},
};

/// Each kind with its path.
pub(crate) const PATHS: &[(&str, &str)] = &[
    ("IPAddressPool", "/validate-metallb-io-v1beta1-ipaddresspool"),
    ("L2Advertisement", "/validate-metallb-io-v1beta1-l2advertisement"),
    ("BGPAdvertisement", "/validate-metallb-io-v1beta1-bgpadvertisement"),
    ("BGPPeer", "/validate-metallb-io-v1beta2-bgppeer"),
    ("BFDProfile", "/validate-metallb-io-v1beta1-bfdprofile"),
    ("Community", "/validate-metallb-io-v1beta1-community"),
];
/// For objects in namespaces where no install reads them.
pub(crate) const ELSEWHERE: &str = "/validate-namespace";
/// For new Pods.
pub(crate) const PODS: &str = "/mutate-v1-pod";
/// For versions of `BGPPeer`.
pub(crate) const CONVERT: &str = "/convert";

/// The largest question: an object has at most 1.5 MiB, and an update brings two.
const LARGEST: usize = 4 << 20;
/// How long the lists may take. An API server waits ten seconds for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a Pod may wait until the Services have been listed. Less than the API server waits.
const LISTED: Duration = Duration::from_secs(2);

/// Which Pods wait for what, `None` until the Services have been listed.
pub type PodGates = watch::Receiver<Option<Gates>>;

/// Who answers.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) bgp: Mode,
    /// Only where Pods wait for anything.
    pub(crate) gates: Option<PodGates>,
    pub(crate) asked: Asked,
}

/// Questions by kind and answer.
#[derive(Clone, Debug)]
pub struct Asked(IntCounterVec);

impl Asked {
    pub(crate) fn new(meter: &mut Meter) -> prometheus::Result<Self> {
        let help = "Questions of the API server to the webhooks, by the answer: allowed, refused, gated, converted or failed";
        meter.counters("landfall_webhook_requests_total", help, &["kind", "answer"]).map(Self)
    }

    fn count(&self, kind: &str, answer: &str) {
        self.0.with_label_values(&[kind, answer]).inc();
    }
}

pub(crate) fn routes(answers: Answers) -> Router {
    let mut routes = Router::new();
    for &(kind, path) in PATHS {
        let validate = move |State(answers): State<Arc<Answers>>,
                             Json(review): Json<AdmissionReview<DynamicObject>>| async move {
            Json(answers.validate(kind, review).await)
        };
        routes = routes.route(path, post(validate));
    }
    let namespace = |State(answers): State<Arc<Answers>>,
                     Json(review): Json<AdmissionReview<DynamicObject>>| async move {
        Json(answers.namespace(review))
    };
    let conversion = |State(answers): State<Arc<Answers>>, Json(review): Json<ConversionReview>| async move {
        Json(answers.convert(review))
    };
    if let Some(gates) = answers.gates.clone() {
        let pods = move |State(answers): State<Arc<Answers>>,
                         Json(review): Json<AdmissionReview<DynamicObject>>| {
            let gates = gates.clone();
            async move { Json(answers.pod(review, gates).await) }
        };
        routes = routes.route(PODS, post(pods));
    }
    routes
        .route(ELSEWHERE, post(namespace))
        .route(CONVERT, post(conversion))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(Arc::new(answers))
}

impl Answers {
    async fn validate(
        &self,
        kind: &str,
        review: AdmissionReview<DynamicObject>,
    ) -> AdmissionReview<DynamicObject> {
        let request: AdmissionRequest<DynamicObject> = match review.try_into() {
            Ok(request) => request,
            Err(error) => return AdmissionResponse::invalid(error).into_review(),
        };
        let response = match question(&request, kind, &self.namespace) {
            Question::Answered(response) => *response,
            Question::Depends(asked) => match self.others().await {
                Ok(others) => answer(&request, asked.as_deref(), &others, self.bgp),
                Err(error) => {
                    tracing::warn!(
                        op = "admit",
                        kind,
                        object = request.name,
                        error,
                        "a question was not answered"
                    );
                    self.asked.count(kind, "failed");
                    let why = format!("the other objects cannot be read, so try again: {error}");
                    return AdmissionResponse::from(&request).deny(why).into_review();
                }
            },
        };
        self.told(kind, &request, response)
    }

    fn namespace(&self, review: AdmissionReview<DynamicObject>) -> AdmissionReview<DynamicObject> {
        let asked: Result<AdmissionRequest<DynamicObject>, _> = review.try_into();
        match asked {
            Ok(request) => {
                let kind = PATHS.iter().map(|(kind, _)| *kind).find(|kind| *kind == request.kind.kind);
                self.told(kind.unwrap_or("other"), &request, elsewhere(&request, &self.namespace))
            }
            Err(error) => AdmissionResponse::invalid(error).into_review(),
        }
    }

    /// A Pod is let in, whatever happens.
    async fn pod(
        &self,
        review: AdmissionReview<DynamicObject>,
        mut gates: PodGates,
    ) -> AdmissionReview<DynamicObject> {
        let request: AdmissionRequest<DynamicObject> = match review.try_into() {
            Ok(request) => request,
            Err(error) => return AdmissionResponse::invalid(error).into_review(),
        };
        let (response, answer) = match timeout(LISTED, gates.wait_for(Option::is_some)).await {
            Ok(Ok(known)) => match known.as_ref().map(|known| pods::gated(&request, known)) {
                Some((response, true)) => (response, "gated"),
                Some((response, false)) => (response, "allowed"),
                None => (AdmissionResponse::from(&request), "failed"),
            },
            Ok(Err(_)) | Err(_) => (AdmissionResponse::from(&request), "failed"),
        };
        if answer == "failed" {
            let namespace = request.namespace.as_deref().unwrap_or_default();
            tracing::warn!(
                op = "admit",
                namespace,
                "the Services are not known yet, so a Pod waits for no target group"
            );
        }
        self.asked.count("Pod", answer);
        response.into_review()
    }

    fn told(
        &self,
        kind: &str,
        request: &AdmissionRequest<DynamicObject>,
        response: AdmissionResponse,
    ) -> AdmissionReview<DynamicObject> {
        if !response.allowed {
            let (object, message) = (&request.name, &response.result.message);
            tracing::info!(op = "admit", kind, object, "refused: {message}");
        }
        self.asked.count(kind, if response.allowed { "allowed" } else { "refused" });
        response.into_review()
    }

    fn convert(&self, review: ConversionReview) -> ConversionReview {
        let Ok(request) = ConversionRequest::from_review(review) else {
            self.asked.count("BGPPeer", "failed");
            let status = Status::failure("the ConversionReview has no request", "BadRequest");
            return ConversionResponse::invalid(status).into_review();
        };
        let response = convert(request);
        let done = response.result.is_success();
        if !done {
            tracing::warn!(op = "convert", "{}", response.result.message);
        }
        self.asked.count("BGPPeer", if done { "converted" } else { "failed" });
        response.into_review()
    }

    async fn others(&self) -> Result<landfall_verdict::Objects, String> {
        match timeout(PATIENCE, configuration(&self.client, &self.namespace)).await {
            Ok(listed) => listed.map_err(|error| describe(&error)),
            Err(_) => Err("the API server takes too long".to_owned()),
        }
    }
}
