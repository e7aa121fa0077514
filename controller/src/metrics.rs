//! The controller's metrics: MetalLB's names and labels, and a few of ours.

use std::collections::BTreeMap;

use landfall_model::Reason;
use landfall_pool::Counts;
use landfall_probes::{ClientMetrics, Meter, WatchAge};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// All metrics of one controller.
pub(crate) struct Metrics {
    capacity: [IntGaugeVec; 3],
    in_use: [IntGaugeVec; 3],
    pub(crate) client: ClientMetrics,
    pub(crate) leader: IntGauge,
    writes: IntCounterVec,
    pub(crate) events_dropped: IntCounter,
    waiting: IntGaugeVec,
    pub(crate) planned: Histogram,
    pub(crate) watch_age: WatchAge,
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    /// When a name is registered already.
    pub(crate) fn new(meter: &mut Meter) -> prometheus::Result<Self> {
        let mut gauges = |what: &str, help: &str| -> prometheus::Result<[IntGaugeVec; 3]> {
            let mut gauge = |family: &str| {
                meter.gauges(&format!("metallb_allocator_{family}addresses_{what}"), help, &["pool"])
            };
            Ok([gauge("")?, gauge("ipv4_")?, gauge("ipv6_")?])
        };
        Ok(Self {
            capacity: gauges("total", "Addresses of a pool")?,
            in_use: gauges("in_use_total", "Addresses of a pool that are in use")?,
            client: meter.client()?,
            leader: meter.gauge("landfall_controller_leader_bool", "1 while this replica leads")?,
            writes: meter.counters(
                "landfall_controller_writes_total",
                "Writes to the API server by kind and result",
                &["kind", "result"],
            )?,
            events_dropped: meter.counter(
                "landfall_controller_events_dropped_total",
                "Events given up because too many waited",
            )?,
            waiting: meter.gauges(
                "landfall_services_waiting",
                "Services without the address they should have, by reason",
                &["reason"],
            )?,
            planned: meter.histogram(
                "landfall_plan_seconds",
                "Time to decide about what changed, once for all that changed together",
                &[0.0001, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
            )?,
            watch_age: meter.watch_age()?,
        })
    }

    /// Shows the counters of a pool.
    pub(crate) fn pool(&self, pool: &str, counts: Counts) {
        let Counts { assigned_v4, assigned_v6, available_v4, available_v6 } = counts;
        let set = |gauges: &[IntGaugeVec; 3], v4: i64, v6: i64| {
            for (gauge, value) in gauges.iter().zip([v4.saturating_add(v6), v4, v6]) {
                gauge.with_label_values(&[pool]).set(value);
            }
        };
        set(&self.in_use, assigned_v4, assigned_v6);
        set(
            &self.capacity,
            assigned_v4.saturating_add(available_v4),
            assigned_v6.saturating_add(available_v6),
        );
    }

    /// Forgets a pool that is gone.
    pub(crate) fn pool_gone(&self, pool: &str) {
        for gauge in self.in_use.iter().chain(&self.capacity) {
            // An error says that the pool was never shown, which is as good.
            drop(gauge.remove_label_values(&[pool]));
        }
    }

    /// Forgets what only the leader knows.
    pub(crate) fn leads_no_longer(&self) {
        self.leader.set(0);
        self.client.config_loaded.forget();
        self.client.config_stale.forget();
        self.watch_age.forget();
        self.waiting.reset();
        for gauge in self.in_use.iter().chain(&self.capacity) {
            gauge.reset();
        }
    }

    /// Counts a write by its kind and its result (`ok`, or the kind of the error).
    pub(crate) fn written(&self, kind: &str, result: &str) {
        self.writes.with_label_values(&[kind, result]).inc();
        if result != "ok" {
            self.client.update_errors.inc();
        }
    }

    /// Shows how many Services wait for what.
    pub(crate) fn waiting(&self, counts: &BTreeMap<Reason, usize>) {
        self.waiting.reset();
        for (reason, count) in counts {
            self.waiting.with_label_values(&[reason.as_str()]).set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_metallb() {
        let mut meter = Meter::default();
        let metrics = Metrics::new(&mut meter).unwrap();
        let registry = meter.into_registry();
        metrics.pool("lan", Counts { assigned_v4: 3, assigned_v6: 1, available_v4: 7, available_v6: 9 });
        let value = |name: &str| {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == name);
            family.map(|family| family.get_metric()[0].get_gauge().get_value())
        };
        for (name, expected) in [
            ("metallb_allocator_addresses_total", 20.0),
            ("metallb_allocator_ipv4_addresses_total", 10.0),
            ("metallb_allocator_ipv6_addresses_total", 10.0),
            ("metallb_allocator_addresses_in_use_total", 4.0),
            ("metallb_allocator_ipv4_addresses_in_use_total", 3.0),
            ("metallb_allocator_ipv6_addresses_in_use_total", 1.0),
        ] {
            assert_eq!(value(name), Some(expected), "{name}");
        }
        metrics.pool_gone("lan");
        assert_eq!(value("metallb_allocator_addresses_total"), None);
    }
}
