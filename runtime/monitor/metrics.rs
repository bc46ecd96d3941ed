//! Metrics in Prometheus form. Each runtime has a registry of its own: two runtimes in one process do not mix.
//!
//! Every series but `replug_writable` belongs to a version of a module, or to a module, and goes with it, see [`Metrics::forget`]. Handles are looked up once
//! and kept by whoever counts; counting is then a few atomic additions.

mod activation;
mod families;
mod instance;
mod mirror;
mod process;
mod scripted;
mod traffic;

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use super::InstanceKey;
pub use activation::ActivationMetrics;
use families::Families;
pub use instance::{Held, InstanceMetrics, StreamOutcome};
pub use mirror::MirrorMetrics;
pub use process::{ProcessUsage, process};
use scripted::Scripted;
pub use scripted::{SampleError, SampleKind};
pub use traffic::{BytesMoved, Traffic};

/// The metrics of one runtime. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    families: Arc<Families>,
    scripted: Arc<Scripted>,
}

/// What is measured of the HTTP requests that the scripts of a version send.
pub struct HttpMetrics {
    /// Seconds of each, redirects and waiting included.
    pub seconds: Histogram,
    /// Bytes that came over the wire.
    pub received: IntCounter,
    /// Bytes that went.
    pub sent: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let families = Arc::new(Families::registered(&registry));
        // the process's own, which runtimes that share one have in common
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            let registered = registry.register(Box::new(process));
            debug_assert!(registered.is_ok(), "no family of the runtime has the name of a process metric");
        }
        Self { registry, families, scripted: Arc::default() }
    }
}

impl Metrics {
    /// Everything in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(self.scripted.gather());
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics could not be written");
            String::new()
        })
    }

    /// The handles that one instance needs. Counters and gauges are shared by the instances of a version; `stats` begin
    /// anew with each call.
    #[must_use]
    pub fn instance(&self, instance: &InstanceKey) -> InstanceMetrics {
        InstanceMetrics::new(Arc::clone(&self.families), instance)
    }

    /// The handles for the activations of a version.
    #[must_use]
    pub fn activation(&self, instance: &InstanceKey) -> ActivationMetrics {
        ActivationMetrics::new(Arc::clone(&self.families), instance)
    }

    /// The counter of one host function's calls by a version.
    #[must_use]
    pub fn host_calls(&self, instance: &InstanceKey, function: &str) -> IntCounter {
        self.families.host_calls.with_label_values(&[&*instance.id, &*instance.version, function])
    }

    /// The counter of a version's host calls that its permissions `allowed` or `denied`.
    #[must_use]
    pub fn permission_checks(&self, instance: &InstanceKey, outcome: &str) -> IntCounter {
        self.families.permission_checks.with_label_values(&[&*instance.id, &*instance.version, outcome])
    }

    /// What a version uses of the resource whose quota has this key.
    #[must_use]
    pub fn resource_usage(&self, instance: &InstanceKey, resource: &str) -> IntGauge {
        self.families.resource_usage.with_label_values(&[&*instance.id, &*instance.version, resource])
    }

    /// The seconds that the database calls of a version took.
    #[must_use]
    pub fn query_seconds(&self, instance: &InstanceKey) -> Histogram {
        self.families.query_seconds.with_label_values(&[&instance.id, &instance.version])
    }

    /// The handles for the HTTP requests that the scripts of a version send.
    #[must_use]
    pub fn http(&self, instance: &InstanceKey) -> HttpMetrics {
        let labels = [&*instance.id, &*instance.version];
        HttpMetrics {
            seconds: self.families.http_seconds.with_label_values(&labels),
            received: self.families.http_received.with_label_values(&labels),
            sent: self.families.http_sent.with_label_values(&labels),
        }
    }

    /// The counter of what became of messages to actors, events and ticks of timers (`kind`) in a version.
    #[must_use]
    pub fn delivery(&self, instance: &InstanceKey, kind: &str, outcome: &str) -> IntCounter {
        self.families.deliveries.with_label_values(&[&*instance.id, &*instance.version, kind, outcome])
    }

    /// Tells whether a part of what the runtime keeps, the store or the audit log, can be written.
    pub fn set_writable(&self, part: &str, is_writable: bool) {
        self.families.writable.with_label_values(&[part]).set(i64::from(is_writable));
    }

    /// Takes a sample of a script's own metric, shown as `replug_module_NAME` with the module and the version as labels.
    /// Beyond the bounds on names and series it is dropped, counted and, the first time, logged; it says so by `false`.
    ///
    /// # Errors
    /// A name, label or value that Prometheus does not take, or a name that is another kind of metric already.
    pub fn sample(
        &self,
        instance: &InstanceKey,
        kind: SampleKind,
        name: &str,
        value: f64,
        labels: Vec<(String, String)>,
    ) -> Result<bool, SampleError> {
        let kept = self.scripted.sample(instance, kind, name, value, labels)?;
        if !kept {
            self.families.dropped.with_label_values(&[&instance.id, &instance.version]).inc();
        }
        Ok(kept)
    }

    /// The bytes that each module moved. It looks at every series of them: for people, not for each request.
    #[must_use]
    pub fn traffic(&self) -> HashMap<String, Traffic> {
        traffic::traffic(&self.families)
    }

    /// Tells the bytes that a module keeps on the disk; its versions share them.
    pub fn set_storage(&self, module: &str, kv: u64, files: u64, database: u64) {
        for (kind, bytes) in [("kv", kv), ("files", files), ("database", database)] {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.families.storage.with_label_values(&[module, kind]).set(bytes);
        }
    }

    /// Drops every series of a version that is no longer registered. Who still holds a handle counts for nobody.
    pub fn forget(&self, module: &str, version: &str) {
        self.families.forget(module, version);
        self.scripted.forget(module, version);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(version: &str) -> InstanceKey {
        InstanceKey { id: "shop".into(), version: version.into(), generation: 1 }
    }

    #[test]
    fn two_runtimes_do_not_mix() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.activation(&key("1.0.0")).ended("active", Duration::from_millis(3));
        let line = "replug_activations_total{module=\"shop\",outcome=\"active\",version=\"1.0.0\"} 1";
        assert!(one.render().contains(line), "{}", one.render());
        assert!(!other.render().contains("replug_activations_total{"), "{}", other.render());
    }

    #[test]
    fn a_version_that_is_forgotten_leaves_no_series_and_its_neighbours_keep_theirs() {
        let metrics = Metrics::default();
        for version in ["1.0.0", "2.0.0"] {
            let instance = metrics.instance(&key(version));
            instance.record(true, Duration::from_millis(5));
            metrics.query_seconds(&key(version)).observe(0.001);
            instance.health_check_seconds("ready").observe(0.001);
            instance.set_health(1.0);
            metrics.host_calls(&key(version), "kv.get").inc();
            let activation = metrics.activation(&key(version));
            activation.ended("active", Duration::from_secs(1));
            activation.shifted(Duration::from_secs(1));
            activation.rolled_back(Duration::from_secs(1));
            activation.judged(0.25);
        }
        let series = |version: &str| metrics.render().matches(&format!("version=\"{version}\"")).count();
        let before = series("2.0.0");
        assert!(before > 20, "{}", metrics.render());
        assert_eq!(series("1.0.0"), before);
        metrics.forget("shop", "1.0.0");
        metrics.forget("other", "2.0.0");
        assert_eq!((series("1.0.0"), series("2.0.0")), (0, before), "{}", metrics.render());
        // registered again, it begins at nothing
        let again = metrics.instance(&key("1.0.0"));
        assert_eq!((again.failed.get(), again.seconds.get_sample_count()), (0, 0));
    }

    #[test]
    fn a_version_shows_the_health_of_its_newest_instance_that_is_asked() {
        let metrics = Metrics::default();
        let instance = |generation| metrics.instance(&InstanceKey { generation, ..key("1.0.0") });
        let (old, new) = (instance(1), instance(2));
        let shown = || {
            let text = metrics.render();
            let line =
                text.lines().find_map(|line| line.strip_prefix("replug_health{module=\"shop\",version=\"1.0.0\"} "));
            line.map(str::to_owned)
        };
        new.unset_health();
        assert_eq!(shown(), None, "nobody was asked");
        old.set_health(1.0);
        new.set_health(0.5);
        old.set_health(0.0);
        assert_eq!(shown().as_deref(), Some("0.5"));
        old.unset_health();
        assert_eq!(shown().as_deref(), Some("0.5"), "it drained, and the newer one is asked");
        old.set_health(1.0);
        new.unset_health();
        assert_eq!(shown().as_deref(), Some("NaN"));
        old.set_health(1.0);
        assert_eq!(shown().as_deref(), Some("1"), "the newer one failed, and the older one is asked still");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_tells_its_memory_and_time() {
        let text = Metrics::default().render();
        for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
            assert!(text.contains(name), "{name} in {text}");
        }
    }
}
