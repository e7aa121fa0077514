//! Metrics that are registered, and what each of them is.

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result, core::Collector,
    proto::MetricType,
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
    /// `counter` or `gauge`.
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
    let describe = |desc: &prometheus::core::Desc| {
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
        let names = |description: &Description| {
            format!("{} {} {:?}", description.name, description.kind, description.labels)
        };
        let described: Vec<String> = meter.descriptions().iter().map(names).collect();
        assert_eq!(described, [r#"lost_total counter ["kind", "why"]"#, "left gauge []"]);
        assert!(meter.counter("left", "twice").is_err());
        let client = meter.client().unwrap();
        client.config_loaded.set(false);
        client.config_stale.set(true);
        client.config_stale.forget();
        let registry = meter.into_registry();
        let families = registry.gather();
        let names: Vec<&str> = families.iter().map(prometheus::proto::MetricFamily::name).collect();
        assert!(names.contains(&"metallb_k8s_client_config_loaded_bool"), "{names:?}");
        assert!(!names.contains(&"metallb_k8s_client_config_stale_bool"), "{names:?}");
    }
}
