//! One term of leadership: what is observed goes to the plan, what it asks for goes to AWS and the API server.

use std::{collections::BTreeSet, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::ListParams};
use landfall_aws_plan::{Answer, Failure, FailureKind, Job, World, Written as What};
use landfall_kubernetes::{
    clock::{Clock, until},
    lease::Leadership,
    write::{WriteError, describe},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Metrics, Settings,
    aws::{Aws, Clients, Place, Throttle},
    cluster::{self, Scribe, Watches, Written},
};

/// Observations taken at once before the plan is asked again.
const BATCH: usize = 1024;
/// Before region and VPC are looked for again.
const AGAIN: Duration = Duration::from_secs(30);
/// How long answers are waited for at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// Nodes that are asked for region and VPC.
const NODES: u32 = 10;

type Sent = BoxFuture<'static, (Job, Result<Answer, Failure>)>;

/// Serves cloud Services until leadership is lost or `shutdown`; what is under way then is waited for, for some seconds.
pub async fn lead(
    settings: &Settings,
    client: Client,
    mut leadership: Leadership,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) {
    let connected = tokio::select! {
        () = shutdown.cancelled() => return,
        () = leadership.lost() => return,
        connected = connect(settings, &client) => connected,
    };
    let (place, clients) = connected;
    let ended = CancellationToken::new();
    let throttle = Throttle::new(metrics.calls.clone(), Some(leadership.clone()), ended.clone());
    let aws = Aws::new(clients, throttle, place.vpc.clone());
    tracing::info!(
        op = "aws",
        region = place.region,
        vpc = place.vpc,
        "load balancers are made in this place"
    );
    metrics.connected.set(1);
    let mut plan = settings.plan.clone();
    plan.vpc = place.vpc;
    let mut term = Term {
        world: World::new(plan.clone(), settings.rhythm.clone()),
        plan,
        aws,
        watches: Watches::start(&client, settings.plan.namespace.as_deref()),
        scribe: Scribe::new(client, &settings.namespace, &settings.pod_name),
        sent: FuturesUnordered::new(),
        clock: Clock::start(),
        metrics,
        reasons: BTreeSet::new(),
    };
    term.run(&mut leadership, shutdown).await;
    ended.cancel();
    // What has no answer by then is found by tags, whoever leads next.
    if tokio::time::timeout(LAST_ANSWERS, term.drain()).await.is_err() {
        tracing::warn!(op = "aws", calls = term.sent.len(), "ending without the answers to some calls");
    }
    metrics.connected.set(0);
}

/// Finds region and VPC, and says what is missing for as long as something is.
async fn connect(settings: &Settings, client: &Client) -> (Place, Clients) {
    let mut said = String::new();
    loop {
        let parameters = ListParams::default().limit(NODES);
        let nodes = match Api::<Node>::all(client.clone()).list(&parameters).await {
            Ok(nodes) => nodes.items.iter().map(cluster::node).collect(),
            Err(error) => {
                tracing::debug!(op = "aws", error = describe(&error), "the nodes cannot be listed");
                Vec::new()
            }
        };
        match settings.options.connect(&nodes).await {
            Ok(connected) => return connected,
            Err(error) => {
                let text = error.to_string();
                if text != said {
                    tracing::error!(op = "aws", "no load balancer can be made: {text}");
                    said = text;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

struct Term<'a> {
    world: World,
    plan: landfall_aws_plan::Settings,
    aws: Aws,
    watches: Watches,
    scribe: Scribe,
    sent: FuturesUnordered<Sent>,
    clock: Clock,
    metrics: &'a Metrics,
    reasons: BTreeSet<&'static str>,
}

impl Term<'_> {
    /// Waits for what is under way.
    async fn drain(&mut self) {
        while let Some((job, result)) = self.sent.next().await {
            self.answered(job, result);
        }
        while let Some(written) = self.scribe.next().await {
            self.written(written);
        }
    }

    async fn run(&mut self, leadership: &mut Leadership, shutdown: &CancellationToken) {
        loop {
            let effects = self.world.plan(self.clock.now());
            if effects.writes.iter().any(|write| matches!(write.what, What::Status(_))) {
                self.metrics.services(&self.world.by_reason(), &mut self.reasons);
            }
            self.metrics.garbage.set(i64::try_from(self.world.garbage().count()).unwrap_or(i64::MAX));
            for kind in &effects.drifts {
                self.metrics.drift.with_label_values(&[kind.as_str()]).inc();
            }
            // The one place where writes and calls begin: a leader that slept through its lease stops here.
            if !leadership.is_current() {
                return;
            }
            if effects.relist {
                self.watches.relist_slices();
            }
            effects.jobs.into_iter().for_each(|job| self.send(job));
            effects.writes.into_iter().for_each(|write| self.scribe.add(write));
            self.scribe.start();
            let now = self.clock.now();
            let idle = self.scribe.is_idle();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = leadership.lost() => return,
                Some((job, result)) = self.sent.next(), if !self.sent.is_empty() => self.answered(job, result),
                Some(written) = self.scribe.next(), if !idle => self.written(written),
                observation = self.watches.next() => {
                    let Some(mut observation) = observation else { return };
                    for more in (0..BATCH).rev() {
                        self.world.observe(observation);
                        let Some(next) = (more > 0).then(|| self.watches.try_next()).flatten() else { break };
                        observation = next;
                    }
                }
                () = until(effects.recheck, now) => {}
            }
        }
    }

    fn send(&self, job: Job) {
        if let Job::Call(line, op) = &job {
            tracing::info!(op = "aws", action = op.kind().as_str(), line = %line, "calling");
        }
        let (aws, settings) = (self.aws.at(self.world.turn(&job)), self.plan.clone());
        let sent = async move {
            let result = aws.run(&job, &settings).await;
            (job, result)
        };
        self.sent.push(sent.boxed());
    }

    fn answered(&mut self, job: Job, result: Result<Answer, Failure>) {
        if let Err(failure) = &result {
            let Failure { kind, code, message } = failure;
            match kind {
                FailureKind::Busy | FailureKind::Throttled => {
                    tracing::debug!(op = "aws", job = ?job, code, "{message}");
                }
                FailureKind::Stale | FailureKind::Refused | FailureKind::Unavailable => {
                    tracing::warn!(op = "aws", job = name(&job), code, "{message}");
                }
            }
        }
        self.world.answered(job, result, self.clock.now());
    }

    fn written(&mut self, Written { write, result }: Written) {
        let kind = match &write.what {
            What::Finalizer(_) => "finalizer",
            What::Status(_) => "status",
            What::Event(..) => "event",
            What::Gate(_) => "gate",
            What::Ledger(_) => "ledger",
        };
        let word = result.as_ref().map_or_else(WriteError::kind, |()| "ok");
        self.metrics.writes.with_label_values(&[kind, word]).inc();
        if let Err(error) = &result {
            tracing::warn!(op = "aws", kind, service = %write.service, %error, "not written");
        }
        self.world.written(&write, result.map_err(|error| error.to_string()), self.clock.now());
    }
}

fn name(job: &Job) -> &'static str {
    match job {
        Job::List(_) => "the listing",
        Job::States(_) => "states of load balancers",
        Job::Describe(..) => "details",
        Job::Instances(_) => "interfaces of instances",
        Job::Call(_, op) => op.kind().as_str(),
    }
}
