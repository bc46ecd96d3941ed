//! Metrics in Prometheus form. Each runtime has a recorder of its own: two runtimes in one process do not mix.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::{InstanceKey, Stats};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

static METADATA: Metadata<'static> = Metadata::new("replug", metrics::Level::INFO, None);

/// The recorder of one runtime.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Default for Metrics {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&LATENCY_BUCKETS)
            .expect("the bucket list is not empty")
            .build_recorder();
        let handle = recorder.handle();
        let metrics = Self { recorder: Arc::new(recorder), handle };
        metrics.describe();
        metrics
    }
}

impl Metrics {
    fn describe(&self) {
        let counter = |name: &'static str, text: &'static str| {
            self.recorder.describe_counter(KeyName::from(name), None, SharedString::from(text));
        };
        counter("replug_requests_total", "Requests answered, by module, version and kind of answer.");
        counter("replug_limit_verdicts_total", "Script calls ended by a limit.");
        counter("replug_worker_restarts_total", "Workers that died and were started again.");
        counter("replug_activations_total", "Activations by outcome.");
        counter("replug_host_calls_total", "Calls of host functions by scripts.");
        self.recorder.describe_histogram(
            KeyName::from("replug_request_seconds"),
            Some(Unit::Seconds),
            SharedString::from("Time from admission to answer."),
        );
        self.recorder.describe_histogram(
            KeyName::from("replug_activation_seconds"),
            Some(Unit::Seconds),
            SharedString::from("Time an activation took."),
        );
        self.recorder.describe_histogram(
            KeyName::from("replug_health_check_seconds"),
            Some(Unit::Seconds),
            SharedString::from("Time a health check took, by module, version and check."),
        );
        let gauge = |name: &'static str, text: &'static str| {
            self.recorder.describe_gauge(KeyName::from(name), None, SharedString::from(text));
        };
        gauge("replug_in_flight", "Requests an instance holds now.");
        gauge("replug_health", "1 healthy, 0.5 degraded, 0 unhealthy, NaN while nobody asks.");
    }

    /// Everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Folds the samples of histograms into their buckets. To be called now and then: until then each sample takes memory.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// A counter; look it up once and keep it.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&key(name, labels), &METADATA)
    }

    /// A gauge; look it up once and keep it.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    /// A histogram; look it up once and keep it.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// The handles that the request path of one instance needs. Counters are shared by the instances of a version;
    /// `stats` begin anew with each call.
    #[must_use]
    pub fn instance(&self, instance: &InstanceKey) -> InstanceMetrics {
        let labels = [("module", &*instance.id), ("version", &*instance.version)];
        let requests = |kind: &str| self.counter("replug_requests_total", &[labels[0], labels[1], ("outcome", kind)]);
        InstanceMetrics {
            answered: requests("answered"),
            failed: requests("failed"),
            refused: requests("refused"),
            verdicts: self.counter("replug_limit_verdicts_total", &labels),
            restarts: self.counter("replug_worker_restarts_total", &labels),
            seconds: self.histogram("replug_request_seconds", &labels),
            in_flight: self.gauge("replug_in_flight", &labels),
            stats: Arc::default(),
        }
    }
}

/// Counters of one instance, looked up once when it starts.
#[derive(Clone)]
pub struct InstanceMetrics {
    /// Answers below 500.
    pub answered: Counter,
    /// Answers of 500 and above that the instance made.
    pub failed: Counter,
    /// Requests that admission turned away.
    pub refused: Counter,
    /// Calls ended by a limit.
    pub verdicts: Counter,
    /// Workers that died.
    pub restarts: Counter,
    /// Seconds from admission to answer.
    pub seconds: Histogram,
    /// Requests held now.
    pub in_flight: Gauge,
    /// What this one instance answered, for the analysis of an activation.
    pub stats: Arc<Stats>,
}

impl InstanceMetrics {
    /// Counts one answer.
    pub fn record(&self, failed: bool, took: Duration) {
        if failed {
            self.failed.increment(1)
        } else {
            self.answered.increment(1)
        }
        self.seconds.record(took.as_secs_f64());
        self.stats.record(failed, took);
    }

    /// Counts a request in; it is counted out when the answer is dropped.
    #[must_use]
    pub fn hold(&self) -> Held<'_> {
        self.in_flight.increment(1);
        Held { metrics: self, since: Instant::now() }
    }
}

/// A request inside an instance. It is counted out even if whoever waits for it goes away.
pub struct Held<'a> {
    metrics: &'a InstanceMetrics,
    since: Instant,
}

impl Held<'_> {
    /// Counts its answer, and the time since it was counted in.
    pub fn answered(self, failed: bool) {
        self.metrics.record(failed, self.since.elapsed());
    }

    /// Counts that admission turned it away.
    pub fn refused(self) {
        self.metrics.refused.increment(1);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.decrement(1);
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(k, v)| Label::new(*k, (*v).to_owned())).collect();
    Key::from_parts(name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_recorders_do_not_mix() {
        let (a, b) = (Metrics::default(), Metrics::default());
        a.counter("replug_activations_total", &[("outcome", "active")]).increment(3);
        assert!(a.render().contains("replug_activations_total{outcome=\"active\"} 3"), "{}", a.render());
        assert!(!b.render().contains("replug_activations_total{"), "{}", b.render());
    }
}
