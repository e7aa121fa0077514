//! The speaker's metrics: MetalLB's names and labels, and a few of ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use landfall_engine::{
    links::Usable,
    membership::{Cause, DropReason, Member, MemberState},
    responder::RefreshCounters,
    speaker::Speaker,
};
use landfall_model::{Reason, ServiceKey};
use landfall_probes::{ClientMetrics, Description, Meter, WatchAge};
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::sockets::{FrameKind, FrameSocket};

/// Close together where the profiles of `--detection` differ.
const TAKEOVER_BOUNDS: [f64; 12] = [0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The machine, and what it last said that it announces, and on which interfaces. The driver holds the lock while it
/// hands something in, never while it waits; the collector while it reads.
pub(crate) struct Machine {
    pub(crate) speaker: Speaker,
    pub(crate) announced: BTreeMap<ServiceKey, BTreeSet<Usable>>,
}

/// Shares a [`Machine`] between driver and metrics.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Machine>>);

impl Shared {
    pub(crate) fn new(speaker: Speaker) -> Self {
        Self(Arc::new(Mutex::new(Machine { speaker, announced: BTreeMap::new() })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Machine> {
        // A panic inside the machine ends the process anyway; reading it once more does no harm.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the driver itself counts.
pub(crate) struct Metrics {
    pub(crate) client: ClientMetrics,
    pub(crate) events_dropped: IntCounter,
    pub(crate) datagrams_unsent: IntCounter,
    pub(crate) cut_off: IntGauge,
    frames_unsent: IntCounterVec,
    owner_changes: IntCounterVec,
    takeovers: HistogramVec,
    detections: Histogram,
    writes: IntCounterVec,
    pub(crate) watch_age: WatchAge,
}

/// Every metric of a speaker.
pub(crate) fn descriptions() -> prometheus::Result<Vec<Description>> {
    let mut meter = Meter::default();
    meter.collector(Families::new()?)?;
    Metrics::new(&mut meter)?;
    meter.process()?;
    Ok(meter.descriptions().to_vec())
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is registered already.
    pub(crate) fn new(meter: &mut Meter) -> prometheus::Result<Self> {
        let client = meter.client()?;
        client.config_loaded.set(false);
        client.config_stale.set(false);
        Ok(Self {
            client,
            watch_age: meter.watch_age()?,
            events_dropped: meter.counter(
                "landfall_speaker_events_dropped_total",
                "Events given up because too many waited",
            )?,
            datagrams_unsent: meter.counter(
                "landfall_speaker_datagrams_unsent_total",
                "Heartbeats that the kernel refused to send",
            )?,
            cut_off: meter.gauge(
                "landfall_speaker_cut_off",
                "1 while this node is cut off from the others and answers for nothing",
            )?,
            frames_unsent: meter.counters(
                "landfall_speaker_frames_unsent_total",
                "Frames that the kernel refused to send, by kind",
                &["kind"],
            )?,
            owner_changes: meter.counters(
                "landfall_speaker_owner_changes_total",
                "Changes of an address's owner that this node saw, by reason",
                &["reason"],
            )?,
            takeovers: meter.histograms(
                "landfall_speaker_takeover_seconds",
                "Time from the last heartbeat of an address's owner to its first announcement by this node, by reason",
                &["reason"],
                &TAKEOVER_BOUNDS,
            )?,
            detections: meter.histogram(
                "landfall_speaker_detection_seconds",
                "Time from the last packet of another speaker until this one counted it as dead; those that left do not count",
                &TAKEOVER_BOUNDS,
            )?,
            writes: meter.counters(
                "landfall_speaker_writes_total",
                "Writes to the API server by kind and result",
                &["kind", "result"],
            )?,
        })
    }

    /// Counts a frame that could not be sent.
    pub(crate) fn frame_unsent(&self, kind: &str) {
        self.frames_unsent.with_label_values(&[kind]).inc();
    }

    /// Counts a change of an owner.
    pub(crate) fn owner_changed(&self, reason: Reason) {
        self.owner_changes.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts an address that was taken over, so long after its owner was heard.
    pub(crate) fn took_over(&self, reason: Reason, after: Duration) {
        self.takeovers.with_label_values(&[reason.as_str()]).observe(after.as_secs_f64());
    }

    /// Counts a speaker that counts as dead, so long after it was heard.
    pub(crate) fn lost(&self, after: Duration) {
        self.detections.observe(after.as_secs_f64());
    }

    /// Counts a write by its kind and its result (`ok`, or the kind of the error).
    pub(crate) fn written(&self, kind: &str, result: &str) {
        self.writes.with_label_values(&[kind, result]).inc();
        if result != "ok" {
            self.client.update_errors.inc();
        }
    }
}

/// What is read when somebody asks, so that nothing stale can stay.
pub(crate) struct Read {
    pub(crate) machine: Shared,
    pub(crate) sockets: [(FrameKind, Arc<FrameSocket>); 2],
}

/// The metrics of the machine, as they are now.
pub(crate) struct Now {
    node: Box<str>,
    read: Read,
    families: Families,
}

/// Empty metrics that describe themselves; each answer fills new ones.
struct Families {
    all: Vec<Box<dyn Collector>>,
    announced: IntGaugeVec,
    layer2: [IntCounterVec; 3],
    members: IntGaugeVec,
    ignored: IntCounterVec,
    unread: IntCounterVec,
    dropped: IntCounterVec,
    stalls: IntCounter,
    suspicions: IntCounterVec,
    verdicts: IntCounterVec,
    questions: IntCounterVec,
    probes: IntCounterVec,
    verifications: IntCounterVec,
    unverified: IntGauge,
    contested: IntGauge,
    claims: IntCounter,
    defences: IntCounter,
    refreshes: IntCounterVec,
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let mut made = Made::default();
        Ok(Self {
            announced: made.gauges(
                "metallb_speaker_announced",
                "Services that this node announces",
                &["service", "protocol", "node", "ip"],
            )?,
            layer2: [
                made.counters("metallb_layer2_requests_received", "Requests that were answered", &["ip"])?,
                made.counters("metallb_layer2_responses_sent", "Answers to requests", &["ip"])?,
                made.counters("metallb_layer2_gratuitous_sent", "Announcement frames", &["ip"])?,
            ],
            members: made.gauges("landfall_speaker_members", "The other speakers, by state", &["state"])?,
            ignored: made.counters(
                "landfall_speaker_frames_ignored_total",
                "Frames not answered, by reason",
                &["reason"],
            )?,
            unread: made.counters(
                "landfall_speaker_frames_unread_total",
                "Frames that the kernel dropped before this process read them, by kind",
                &["kind"],
            )?,
            dropped: made.counters(
                "landfall_speaker_datagrams_dropped_total",
                "Datagrams thrown away, by reason",
                &["reason"],
            )?,
            stalls: made.counter(
                "landfall_speaker_stalls_total",
                "Times that this process was late and began to listen anew",
            )?,
            suspicions: made.counters(
                "landfall_speaker_suspicions_total",
                "Speakers that this one alone did not hear, by what became of it",
                &["result"],
            )?,
            verdicts: made.counters(
                "landfall_speaker_verdicts_total",
                "Speakers that counted as dead, by cause",
                &["cause"],
            )?,
            questions: made.counters(
                "landfall_speaker_kernel_questions_total",
                "Questions to the kernels of nodes whose heartbeats were missing, by what became of them",
                &["result"],
            )?,
            probes: made.counters(
                "landfall_speaker_probes_total",
                "Addresses that were asked for before they were announced, by what became of it",
                &["result"],
            )?,
            verifications: made.counters(
                "landfall_speaker_verifications_total",
                "What peers found when they asked on the wire for addresses that this node announces, by result",
                &["result"],
            )?,
            unverified: made.gauge(
                "landfall_speaker_addresses_not_heard",
                "Addresses that this node announces and that peers do not find there, time and again",
            )?,
            contested: made.gauge(
                "landfall_speaker_addresses_contested",
                "Addresses that this node does not announce because a host that is no node has them",
            )?,
            claims: made.counter(
                "landfall_speaker_foreign_claims_total",
                "Claims of hosts that are no nodes to addresses that this node announces",
            )?,
            defences: made.counter(
                "landfall_speaker_defences_total",
                "Announcements because of such claims",
            )?,
            refreshes: made.counters(
                "landfall_speaker_refreshes_total",
                "Announcements that refresh what others know, by whom they told: the segment, a gateway, or one that asked",
                &["told"],
            )?,
            all: made.0,
        })
    }
}

/// What was made so far, to be described and collected together.
#[derive(Default)]
struct Made(Vec<Box<dyn Collector>>);

impl Made {
    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        IntCounterVec::new(Opts::new(name, help), labels).inspect(|made| self.keep(made))
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        IntGaugeVec::new(Opts::new(name, help), labels).inspect(|made| self.keep(made))
    }

    fn counter(&mut self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        IntCounter::new(name, help).inspect(|made| self.keep(made))
    }

    fn gauge(&mut self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        IntGauge::new(name, help).inspect(|made| self.keep(made))
    }

    fn keep(&mut self, made: &(impl Collector + Clone + 'static)) {
        self.0.push(Box::new(made.clone()));
    }
}

impl Now {
    pub(crate) fn new(node: &str, read: Read) -> prometheus::Result<Self> {
        Ok(Self { node: node.into(), read, families: Families::new()? })
    }

    fn fill(&self, families: &Families) {
        let machine = self.read.machine.lock();
        let Machine { speaker, announced } = &*machine;
        for service in announced.keys() {
            for address in speaker.addresses(service) {
                let labels = [&*service.to_string(), "layer2", &self.node, &address.to_string()];
                families.announced.with_label_values(&labels).set(1);
            }
        }
        for (address, counters) in speaker.responder().counters() {
            let values = [counters.requests_received, counters.responses_sent, counters.gratuitous_sent];
            for (family, value) in families.layer2.iter().zip(values) {
                family.with_label_values(&[address.to_string()]).inc_by(value);
            }
        }
        let mut ignored = BTreeMap::<_, u64>::new();
        for (reason, count) in speaker.responder().ignored() {
            *ignored.entry(reason.as_str()).or_default() += count;
        }
        for (reason, count) in ignored {
            families.ignored.with_label_values(&[reason]).inc_by(count);
        }
        for member in speaker.membership().members() {
            let state = match member {
                Member { suspected: true, .. } => "suspected",
                Member { flapping: true, .. } => "flapping",
                Member { state, .. } => state_name(state),
            };
            families.members.with_label_values(&[state]).inc();
        }
        let counters = speaker.membership().counters();
        for reason in DropReason::ALL {
            families.dropped.with_label_values(&[reason.as_str()]).inc_by(counters.dropped(reason));
        }
        families.stalls.inc_by(counters.stalls);
        for (result, count) in [("told", counters.suspicions), ("taken_back", counters.taken_back)] {
            families.suspicions.with_label_values(&[result]).inc_by(count);
        }
        for cause in Cause::ALL {
            families.verdicts.with_label_values(&[cause.as_str()]).inc_by(counters.verdicts(cause));
        }
        for (result, count) in [("asked", counters.questions), ("answered", counters.answers)] {
            families.questions.with_label_values(&[result]).inc_by(count);
        }
        let conflicts = speaker.responder().conflicts();
        for (result, count) in [("clear", conflicts.clear), ("conflict", conflicts.yielded)] {
            families.probes.with_label_values(&[result]).inc_by(count);
        }
        let found = speaker.checks().counters();
        for (result, count) in
            [("confirmed", found.confirmed), ("wrong", found.wrong), ("silent", found.silent)]
        {
            families.verifications.with_label_values(&[result]).inc_by(count);
        }
        families.unverified.set(i64::try_from(speaker.checks().wrong()).unwrap_or(i64::MAX));
        families.contested.set(i64::try_from(speaker.responder().contested()).unwrap_or(i64::MAX));
        families.claims.inc_by(conflicts.claims);
        families.defences.inc_by(conflicts.defences);
        let RefreshCounters { segments, gateways, askers } = speaker.responder().refreshed();
        for (told, count) in [("segment", segments), ("gateway", gateways), ("asker", askers)] {
            families.refreshes.with_label_values(&[told]).inc_by(count);
        }
        for (kind, socket) in &self.read.sockets {
            families.unread.with_label_values(&[kind.as_str()]).inc_by(socket.dropped());
        }
    }
}

impl Collector for Families {
    fn desc(&self) -> Vec<&Desc> {
        self.all.iter().flat_map(|made| made.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.all.iter().flat_map(|made| made.collect()).collect()
    }
}

impl Collector for Now {
    fn desc(&self) -> Vec<&Desc> {
        self.families.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(families) = Families::new() else { return Vec::new() };
        self.fill(&families);
        families.collect()
    }
}

const fn state_name(state: MemberState) -> &'static str {
    match state {
        MemberState::Unknown => "unknown",
        MemberState::Alive { settled: true } => "alive",
        MemberState::Alive { settled: false } => "settling",
        MemberState::Degraded => "degraded",
        MemberState::Held { .. } => "held",
        MemberState::Dead => "dead",
        MemberState::Leaving => "leaving",
        MemberState::Gone => "gone",
    }
}
