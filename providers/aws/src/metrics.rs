//! What the provider counts.

use std::collections::{BTreeMap, BTreeSet};

use landfall_probes::Meter;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use crate::aws::Calls;

/// All metrics of the provider.
pub struct Metrics {
    pub(crate) calls: Calls,
    pub(crate) writes: IntCounterVec,
    services: IntGaugeVec,
    pub(crate) garbage: IntGauge,
    pub(crate) drift: IntCounterVec,
    pub(crate) connected: IntGauge,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When a name is registered already.
    pub fn new(meter: &mut Meter) -> prometheus::Result<Self> {
        Ok(Self {
            calls: Calls::new(meter)?,
            writes: meter.counters(
                "landfall_aws_writes_total",
                "Writes to the API server about cloud Services, by kind and result",
                &["kind", "result"],
            )?,
            services: meter.gauges(
                "landfall_aws_services",
                "Services with a load balancer of AWS, by the reason of their condition",
                &["reason"],
            )?,
            garbage: meter.gauge(
                "landfall_aws_garbage",
                "Services that are gone and of which something is left in AWS",
            )?,
            drift: meter.counters(
                "landfall_aws_drift_total",
                "Objects in AWS that were found changed by somebody else and are put back, by kind",
                &["kind"],
            )?,
            connected: meter.gauge("landfall_aws_connected_bool", "1 once region and VPC are known")?,
        })
    }

    /// Shows how many Services have which reason.
    pub(crate) fn services(
        &self,
        counts: &BTreeMap<&'static str, usize>,
        shown: &mut BTreeSet<&'static str>,
    ) {
        for reason in shown.iter().filter(|reason| !counts.contains_key(*reason)) {
            self.services.with_label_values(&[reason]).set(0);
        }
        for (reason, count) in counts {
            self.services.with_label_values(&[reason]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        *shown = counts.keys().copied().collect();
    }
}
