//! Metrics that are registered, and what each of them is.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, Result,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::{MetricFamily, MetricType},
};

/// Makes and registers the metrics of a daemon. A [`Registry`] does not tell what has no value yet; this does.
#[derive(Debug, Default)]
pub struct Meter {
    registry: Registry,
    described: Vec<Description>,
}

/// What a metric is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name, with the prefix.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels, in alphabetical order.
    pub labels: Vec<String>,
    /// What it tells.
    pub help: String,
}

/// What MetalLB's daemons tell about their objects and writes, under MetalLB's names.
#[derive(Debug)]
pub struct ClientMetrics {
    /// `metallb_k8s_client_updates_total`
    pub updates: IntCounter,
    /// `metallb_k8s_client_update_errors_total`
    pub update_errors: IntCounter,
    /// `metallb_k8s_client_config_loaded_bool`
    pub config_loaded: Shown,
    /// `metallb_k8s_client_config_stale_bool`
    pub config_stale: Shown,
}

/// A gauge that is shown while it means something. What a standby does not know must not look like a bad value.
#[derive(Clone, Debug)]
pub struct Shown(IntGaugeVec);

impl Shown {
    /// Shows this value.
    pub fn set(&self, value: bool) {
        self.0.with_label_values::<&str>(&[]).set(i64::from(value));
    }

    /// Shows nothing.
    pub fn forget(&self) {
        self.0.reset();
    }
}

/// Tells the age of what is known when somebody asks for it.
#[derive(Clone)]
pub struct WatchAge {
    gauges: GaugeVec,
    ages: Arc<Mutex<Option<Ages>>>,
}

type Ages = Box<dyn Fn() -> Vec<(&'static str, Duration)> + Send>;

impl WatchAge {
    /// From now on `ages` is asked.
    pub fn follow(&self, ages: impl Fn() -> Vec<(&'static str, Duration)> + Send + 'static) {
        *self.ages.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(ages));
    }

    /// Nothing is watched any more, so nothing is shown.
    pub fn forget(&self) {
        *self.ages.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for WatchAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchAge").finish_non_exhaustive()
    }
}

impl Collector for WatchAge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauges.reset();
        let ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, age) in ages.iter().flat_map(|ages| ages()) {
            self.gauges.with_label_values(&[kind]).set(age.as_secs_f64());
        }
        self.gauges.collect()
    }
}

impl Meter {
    /// A counter without labels. Like each of these, it fails when the name is registered already, or is none.
    ///
    /// # Errors
    /// See above.
    pub fn counter(&mut self, name: &str, help: &str) -> Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    /// Counters by labels.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge without labels.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn gauge(&mut self, name: &str, help: &str) -> Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    /// Gauges by labels.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// How long something takes, in seconds, counted up to each of these bounds.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn histogram(&mut self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))?)
    }

    /// How long something takes, in seconds, by labels, counted up to each of these bounds.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }

    /// How old what is known of each kind of object may be, see [`WatchAge`].
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn watch_age(&mut self) -> Result<WatchAge> {
        let age = WatchAge {
            gauges: GaugeVec::new(
                Opts::new(
                    "landfall_watch_age_seconds",
                    "For how long the watch of a kind has been failing; 0 while it works",
                ),
                &["kind"],
            )?,
            ages: Arc::default(),
        };
        self.register(age)
    }

    /// What the kernel knows of this process, as other programs show it: CPU, memory, file descriptors, start.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn process(&mut self) -> Result<()> {
        self.collector(ProcessCollector::for_self())
    }

    /// The metrics that both daemons share with MetalLB's.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn client(&mut self) -> Result<ClientMetrics> {
        Ok(ClientMetrics {
            updates: self.counter(
                "metallb_k8s_client_updates_total",
                "Changes of watched objects that were processed",
            )?,
            update_errors: self.counter("metallb_k8s_client_update_errors_total", "Writes that failed")?,
            config_loaded: Shown(self.gauges(
                "metallb_k8s_client_config_loaded_bool",
                "1 once a configuration was read; not shown by a standby",
                &[],
            )?),
            config_stale: Shown(self.gauges(
                "metallb_k8s_client_config_stale_bool",
                "1 while an object of the configuration is invalid; not shown by a standby",
                &[],
            )?),
        })
    }

    /// A collector of one's own.
    ///
    /// # Errors
    /// See [`Meter::counter`].
    pub fn collector(&mut self, collector: impl Collector + 'static) -> Result<()> {
        let described = describe(&collector);
        self.registry.register(Box::new(collector))?;
        self.described.extend(described);
        Ok(())
    }

    /// Every metric so far, in the order of registration.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        &self.described
    }

    /// What is gathered when somebody asks.
    #[must_use]
    pub fn into_registry(self) -> Registry {
        self.registry
    }

    fn register<C: Collector + Clone + 'static>(&mut self, collector: C) -> Result<C> {
        self.collector(collector.clone())?;
        Ok(collector)
    }
}

/// What a collector's metrics are, those without a value too.
fn describe(collector: &dyn Collector) -> Vec<Description> {
    let kinds = collector.collect();
    let kind = |name: &str| {
        let family = kinds.iter().find(|family| family.name() == name);
        match family.map(|family| family.get_field_type()) {
            Some(MetricType::COUNTER) => "counter",
            Some(MetricType::GAUGE) => "gauge",
            Some(MetricType::HISTOGRAM) => "histogram",
            Some(MetricType::SUMMARY) => "summary",
            Some(MetricType::UNTYPED) | None => "untyped",
        }
    };
    let describe = |desc: &Desc| {
        let mut labels = desc.variable_labels.clone();
        labels.sort();
        Description { name: desc.fq_name.clone(), kind: kind(&desc.fq_name), labels, help: desc.help.clone() }
    };
    collector.desc().into_iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_without_a_value_is_described_too() {
        let mut meter = Meter::default();
        meter.counters("lost_total", "What was lost", &["why", "kind"]).unwrap();
        meter.gauge("left", "What is left").unwrap();
        meter.histograms("took", "What it took", &["why"], &[0.1, 1.0]).unwrap();
        let names = |description: &Description| {
            format!("{} {} {:?}", description.name, description.kind, description.labels)
        };
        let described: Vec<String> = meter.descriptions().iter().map(names).collect();
        let wanted = [r#"lost_total counter ["kind", "why"]"#, "left gauge []", r#"took histogram ["why"]"#];
        assert_eq!(described, wanted);
        assert!(meter.counter("left", "twice").is_err());
        let age = meter.watch_age().unwrap();
        age.follow(|| vec![("Service", Duration::from_secs(3)), ("Node", Duration::ZERO)]);
        meter.process().unwrap();
        let client = meter.client().unwrap();
        client.config_loaded.set(false);
        client.config_stale.set(true);
        client.config_stale.forget();
        let registry = meter.into_registry();
        let families = registry.gather();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert!(names.contains(&"metallb_k8s_client_config_loaded_bool"), "{names:?}");
        assert!(!names.contains(&"metallb_k8s_client_config_stale_bool"), "{names:?}");
        assert!(names.contains(&"process_resident_memory_bytes"), "{names:?}");
        let shown = |families: &[MetricFamily]| -> Vec<f64> {
            let age = families.iter().find(|family| family.name() == "landfall_watch_age_seconds");
            age.into_iter()
                .flat_map(|age| age.get_metric())
                .map(|metric| metric.get_gauge().get_value())
                .collect()
        };
        assert_eq!(shown(&families), [0.0, 3.0], "by the names of the kinds");
        age.forget();
        assert_eq!(shown(&registry.gather()), [0.0; 0]);
    }
}
