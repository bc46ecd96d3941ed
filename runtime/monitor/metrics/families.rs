//! Every metric there is: its name, what it means, its labels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::Metric;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// The labels that every series has.
const VERSION: [&str; 2] = ["module", "version"];

/// Upper bounds of the buckets for what answers requests, in seconds.
const LATENCY: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Upper bounds of the buckets for what moves versions, which may wait for traffic, in seconds.
const PROCEEDING: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// The newest generation of each module's version whose health is asked.
pub(super) type Askers = HashMap<(Arc<str>, Arc<str>), u64>;

pub(super) struct Families {
    pub(super) requests: IntCounterVec,
    pub(super) seconds: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) streams: IntGaugeVec,
    pub(super) streams_ended: IntCounterVec,
    pub(super) verdicts: IntCounterVec,
    pub(super) restarts: IntCounterVec,
    pub(super) memory: IntGaugeVec,
    pub(super) cpu_seconds: CounterVec,
    pub(super) mirrored: IntCounterVec,
    pub(super) mirror_differences: IntCounterVec,
    pub(super) received: IntCounterVec,
    pub(super) sent: IntCounterVec,
    pub(super) query_seconds: HistogramVec,
    pub(super) host_calls: IntCounterVec,
    pub(super) permission_checks: IntCounterVec,
    pub(super) resource_usage: IntGaugeVec,
    pub(super) health: GaugeVec,
    pub(super) health_check_seconds: HistogramVec,
    pub(super) activations: IntCounterVec,
    pub(super) activation_seconds: HistogramVec,
    pub(super) shift_seconds: HistogramVec,
    pub(super) rollback_seconds: HistogramVec,
    pub(super) error_ratio: GaugeVec,
    pub(super) success_ratio: GaugeVec,
    pub(super) http_seconds: HistogramVec,
    pub(super) http_received: IntCounterVec,
    pub(super) http_sent: IntCounterVec,
    pub(super) dropped: IntCounterVec,
    pub(super) deliveries: IntCounterVec,
    pub(super) storage: IntGaugeVec,
    pub(super) writable: IntGaugeVec,
    /// Whose health the gauges show. Locked while a gauge is set, so that an older instance cannot come between.
    askers: Mutex<Askers>,
}

impl Families {
    /// All families, each in `registry`.
    pub(super) fn registered(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            add(registry, IntCounterVec::new(Opts::new(name, help), &labelled(labels)))
        };
        let whole = |name: &str, help: &str| add(registry, IntGaugeVec::new(Opts::new(name, help), &labelled(&[])));
        let gauge = |name: &str, help: &str| add(registry, GaugeVec::new(Opts::new(name, help), &labelled(&[])));
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            add(registry, HistogramVec::new(options, &labelled(labels)))
        };
        Self {
            requests: counter(
                "replug_requests_total",
                "Requests by how they ended: answered, failed, abandoned, refused.",
                &["outcome"],
            ),
            seconds: histogram("replug_request_seconds", "Time from admission to answer.", &LATENCY, &[]),
            in_flight: whole("replug_in_flight", "Requests held now."),
            streams: whole("replug_streams", "Streamed answers that are open."),
            streams_ended: counter(
                "replug_streams_total",
                "Streamed answers by how they ended: ended, failed, abandoned, cut-off, refused, signed-out, silent.",
                &["outcome"],
            ),
            verdicts: counter("replug_limit_verdicts_total", "Script calls ended by a limit.", &[]),
            restarts: counter("replug_worker_restarts_total", "Workers that died and were started again.", &[]),
            memory: whole("replug_script_memory_bytes", "What the heaps of the VMs hold, as of their last calls."),
            cpu_seconds: add(
                registry,
                CounterVec::new(
                    Opts::new("replug_script_cpu_seconds_total", "Processor time of the threads that run scripts."),
                    &VERSION,
                ),
            ),
            mirrored: counter(
                "replug_mirrored_requests_total",
                "Copies of requests by how they ended: answered, failed, incomparable, refused, dropped, given-up.",
                &["outcome"],
            ),
            mirror_differences: counter(
                "replug_mirror_differences_total",
                "Copies of requests that were answered with another class of status than the client was.",
                &[],
            ),
            received: counter("replug_received_bytes_total", "Bytes of request bodies that were handed over.", &[]),
            sent: counter("replug_sent_bytes_total", "Bytes of the bodies of answers.", &[]),
            query_seconds: histogram(
                "replug_database_query_seconds",
                "Time of a script's database call, waiting included.",
                &LATENCY,
                &[],
            ),
            host_calls: counter("replug_host_calls_total", "Calls of host functions by scripts.", &["function"]),
            permission_checks: counter(
                "replug_permission_checks_total",
                "Host calls of scripts by whether their permissions allowed them.",
                &["outcome"],
            ),
            resource_usage: add(
                registry,
                IntGaugeVec::new(
                    Opts::new("replug_resource_usage", "What a module uses of what has a quota, by the quota's key."),
                    &labelled(&["resource"]),
                ),
            ),
            health: gauge("replug_health", "1 healthy, 0.5 degraded, 0 unhealthy, NaN while nobody asks."),
            health_check_seconds: histogram(
                "replug_health_check_seconds",
                "Time a health check took.",
                &LATENCY,
                &["check"],
            ),
            activations: counter(
                "replug_activations_total",
                "Activations by outcome; returns and switches are none.",
                &["outcome"],
            ),
            activation_seconds: histogram(
                "replug_activation_seconds",
                "Time an activation took, from its first step to its outcome.",
                &PROCEEDING,
                &[],
            ),
            shift_seconds: histogram(
                "replug_traffic_shift_seconds",
                "Time a gradual activation shifted traffic.",
                &PROCEEDING,
                &[],
            ),
            rollback_seconds: histogram(
                "replug_rollback_seconds",
                "Time from a trigger or the command to the end of the return from the version.",
                &PROCEEDING,
                &[],
            ),
            error_ratio: gauge(
                "replug_activation_error_ratio",
                "Share of failed answers in the interval of its traffic shift that was judged last.",
            ),
            success_ratio: gauge(
                "replug_activation_success_ratio",
                "Share of answers that did not fail in the interval of its traffic shift that was judged last.",
            ),
            http_seconds: histogram(
                "replug_http_client_seconds",
                "Time of a script's HTTP request, redirects and waiting included.",
                &LATENCY,
                &[],
            ),
            http_received: counter(
                "replug_http_client_received_bytes_total",
                "Bytes that scripts' HTTP requests brought over the wire.",
                &[],
            ),
            http_sent: counter(
                "replug_http_client_sent_bytes_total",
                "Bytes that scripts' HTTP requests sent over the wire.",
                &[],
            ),
            dropped: counter(
                "replug_dropped_samples_total",
                "Samples of scripts' own metrics that were dropped, since the version has too many.",
                &[],
            ),
            deliveries: counter(
                "replug_deliveries_total",
                "Messages to actors, events and ticks of timers, by what became of them: handled, failed, refused, dropped, skipped.",
                &["kind", "outcome"],
            ),
            storage: add(
                registry,
                IntGaugeVec::new(
                    Opts::new("replug_module_storage_bytes", "What a module keeps: kv, files, database."),
                    &["module", "kind"],
                ),
            ),
            writable: add(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "replug_writable",
                        "1 while what the runtime keeps can be written, 0 once a write failed.",
                    ),
                    &["part"],
                ),
            ),
            askers: Mutex::default(),
        }
    }

    pub(super) fn askers(&self) -> MutexGuard<'_, Askers> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the series of one version from every family.
    pub(super) fn forget(&self, module: &str, version: &str) {
        let Self {
            requests,
            seconds,
            in_flight,
            streams,
            streams_ended,
            verdicts,
            restarts,
            memory,
            cpu_seconds,
            mirrored,
            mirror_differences,
            received,
            sent,
            query_seconds,
            host_calls,
            permission_checks,
            resource_usage,
            health,
            health_check_seconds,
            activations,
            activation_seconds,
            shift_seconds,
            rollback_seconds,
            error_ratio,
            success_ratio,
            http_seconds,
            http_received,
            http_sent,
            dropped,
            deliveries,
            storage,
            writable: _,
            askers: _,
        } = self;
        self.askers().remove(&(module.into(), version.into()));
        let counters = [
            requests,
            streams_ended,
            verdicts,
            restarts,
            mirrored,
            mirror_differences,
            received,
            sent,
            host_calls,
            permission_checks,
            activations,
            http_received,
            http_sent,
            dropped,
            deliveries,
        ];
        for family in counters {
            forget(family, module, version);
        }
        for family in [
            seconds,
            query_seconds,
            http_seconds,
            health_check_seconds,
            activation_seconds,
            shift_seconds,
            rollback_seconds,
        ] {
            forget(family, module, version);
        }
        for family in [health, error_ratio, success_ratio] {
            forget(family, module, version);
        }
        for family in [in_flight, streams, memory, resource_usage] {
            forget(family, module, version);
        }
        // a module's storage goes with the last of its versions
        if !has(in_flight, &[("module", module)]) {
            remove(storage, &[("module", module)]);
        }
        forget(cpu_seconds, module, version);
    }
}

fn labelled<'a>(further: &[&'a str]) -> Vec<&'a str> {
    VERSION.iter().chain(further).copied().collect()
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, family: prometheus::Result<C>) -> C {
    let family = family.expect("the names and labels above are valid");
    registry.register(Box::new(family.clone())).expect("the names above differ");
    family
}

fn forget<T: MetricVecBuilder>(family: &MetricVec<T>, module: &str, version: &str) {
    remove(family, &[("module", module), ("version", version)]);
}

/// Whether the family has a series with these labels.
fn has<T: MetricVecBuilder>(family: &MetricVec<T>, wanted: &[(&str, &str)]) -> bool {
    let told = family.collect();
    told.iter().flat_map(|told| told.get_metric()).any(|series| bears(&labels(series), wanted))
}

/// Removes the series with these labels.
fn remove<T: MetricVecBuilder>(family: &MetricVec<T>, wanted: &[(&str, &str)]) {
    for told in family.collect() {
        for series in told.get_metric() {
            let labels = labels(series);
            if bears(&labels, wanted) {
                // gone already is as good
                let _ = family.remove(&labels);
            }
        }
    }
}

fn labels(series: &Metric) -> HashMap<&str, &str> {
    series.get_label().iter().map(|label| (label.name(), label.value())).collect()
}

fn bears(labels: &HashMap<&str, &str>, wanted: &[(&str, &str)]) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}
