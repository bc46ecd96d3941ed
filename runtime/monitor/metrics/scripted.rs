//! The metrics that scripts make: counters, gauges and histograms of their own names and labels, within bounds.
//!
//! Prometheus wants one kind for each name, whoever uses it. Counters end with `_total` and nothing else does, so only a gauge
//! and a histogram of two modules can want the same name; the second is refused.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Histogram, HistogramOpts, Opts};

use crate::monitor::InstanceKey;

/// What every name begins with at `/metrics`.
const PREFIX: &str = "replug_module_";
/// The longest name and the longest name of a label, in bytes.
const MAX_NAME: usize = 64;
/// The longest value of a label, in bytes.
const MAX_VALUE: usize = 128;
/// The most labels of a series.
const MAX_LABELS: usize = 6;
/// The most names of a version.
const MAX_NAMES: usize = 64;
/// The most series of a version: names with their labels.
const MAX_SERIES: usize = 512;
/// Names under [`PREFIX`] that are the runtime's own.
const RESERVED: [&str; 1] = ["storage_bytes"];
/// Endings that have a meaning of their own in the format.
const ENDINGS: [&str; 5] = ["_total", "_bucket", "_sum", "_count", "_created"];
/// Upper bounds of the buckets of histograms.
const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 100.0, 1000.0];

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// It only grows.
    Count,
    /// It has a value.
    Gauge,
    /// Values are spread over buckets.
    Observe,
}

impl fmt::Display for SampleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "counter",
            Self::Gauge => "gauge",
            Self::Observe => "histogram",
        })
    }
}

/// Why a sample was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The name, a label or the value is none that Prometheus takes.
    #[error("{0}")]
    Invalid(String),
    /// The name is another kind of metric already.
    #[error("`{name}` is a {is} of module {module} already; choose another name")]
    Taken {
        /// The name as the script wrote it.
        name: String,
        /// What it is.
        is: SampleKind,
        /// Whose.
        module: String,
    },
}

/// The metrics of all scripts.
#[derive(Default)]
pub(super) struct Scripted {
    versions: Mutex<Versions>,
}

/// By module and version.
type Versions = BTreeMap<(Arc<str>, Arc<str>), Version>;

/// Those of one version of a module.
#[derive(Default)]
struct Version {
    names: HashMap<String, Named>,
    series: usize,
    is_told: bool,
}

struct Named {
    kind: SampleKind,
    series: HashMap<Vec<(String, String)>, Series>,
}

enum Series {
    Count(Counter),
    Gauge(Gauge),
    Observe(Histogram),
}

impl Scripted {
    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a sample. `Ok(false)`: it was dropped, since the version has as many series as it may; the first drop is
    /// logged.
    pub(super) fn sample(
        &self,
        instance: &InstanceKey,
        kind: SampleKind,
        name: &str,
        value: f64,
        labels: Vec<(String, String)>,
    ) -> Result<bool, SampleError> {
        check(kind, name, value, &labels)?;
        let mut versions = self.versions();
        if kind != SampleKind::Count
            && let Some(taken) = taken(&versions, &instance.id, kind, name)
        {
            return Err(taken);
        }
        let version = versions.entry((Arc::clone(&instance.id), Arc::clone(&instance.version))).or_default();
        let name = full(kind, name);
        if let Some(series) = version.names.get(&name).and_then(|named| named.series.get(&labels)) {
            series.take(value);
            return Ok(true);
        }
        let is_full =
            version.series >= MAX_SERIES || (!version.names.contains_key(&name) && version.names.len() >= MAX_NAMES);
        if is_full {
            if !std::mem::replace(&mut version.is_told, true) {
                let (module, version) = (&*instance.id, &*instance.version);
                tracing::warn!(
                    target: "module", module, version, name,
                    "the module has {MAX_NAMES} metrics or {MAX_SERIES} series: samples of further ones are dropped"
                );
            }
            return Ok(false);
        }
        let series = Series::new(kind, &name, instance, &labels).map_err(|e| SampleError::Invalid(e.to_string()))?;
        series.take(value);
        version.series += 1;
        let named = version.names.entry(name).or_insert_with(|| Named { kind, series: HashMap::new() });
        named.series.insert(labels, series);
        Ok(true)
    }

    /// All families, each name once, in order.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
        for version in self.versions().values() {
            for (name, named) in &version.names {
                for mut family in named.series.values().flat_map(Series::collect) {
                    match families.get_mut(name) {
                        Some(all) => all.mut_metric().append(&mut family.take_metric()),
                        None => drop(families.insert(name.clone(), family)),
                    }
                }
            }
        }
        families.into_values().collect()
    }

    pub(super) fn forget(&self, module: &str, version: &str) {
        self.versions().remove(&(module.into(), version.into()));
    }
}

/// Whether the name is the other of a gauge and a histogram somewhere.
fn taken(versions: &Versions, module: &Arc<str>, kind: SampleKind, name: &str) -> Option<SampleError> {
    let full = full(kind, name);
    let own = |other: &&(Arc<str>, Arc<str>)| other.0 == *module;
    // its own first: that is the more likely mistake
    let (own, others): (Vec<_>, Vec<_>) = versions.keys().partition(own);
    own.into_iter().chain(others).find_map(|key| {
        let named = versions.get(key)?.names.get(&full)?;
        let taken = || SampleError::Taken { name: name.to_owned(), is: named.kind, module: key.0.to_string() };
        (named.kind != kind).then(taken)
    })
}

impl Series {
    fn new(
        kind: SampleKind,
        name: &str,
        instance: &InstanceKey,
        labels: &[(String, String)],
    ) -> prometheus::Result<Self> {
        let mut all: HashMap<String, String> = labels.iter().cloned().collect();
        all.insert("module".to_owned(), instance.id.to_string());
        all.insert("version".to_owned(), instance.version.to_string());
        let help = format!("A {kind} that scripts keep.");
        Ok(match kind {
            SampleKind::Count => Self::Count(Counter::with_opts(Opts::new(name, help).const_labels(all))?),
            SampleKind::Gauge => Self::Gauge(Gauge::with_opts(Opts::new(name, help).const_labels(all))?),
            SampleKind::Observe => {
                let options = HistogramOpts::new(name, help).const_labels(all).buckets(BUCKETS.to_vec());
                Self::Observe(Histogram::with_opts(options)?)
            }
        })
    }

    fn take(&self, value: f64) {
        match self {
            Self::Count(counter) => counter.inc_by(value),
            Self::Gauge(gauge) => gauge.set(value),
            Self::Observe(histogram) => histogram.observe(value),
        }
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match self {
            Self::Count(counter) => counter.collect(),
            Self::Gauge(gauge) => gauge.collect(),
            Self::Observe(histogram) => histogram.collect(),
        }
    }
}

/// The name at `/metrics`.
fn full(kind: SampleKind, name: &str) -> String {
    let ending = if kind == SampleKind::Count && !name.ends_with("_total") { "_total" } else { "" };
    format!("{PREFIX}{name}{ending}")
}

fn check(kind: SampleKind, name: &str, value: f64, labels: &[(String, String)]) -> Result<(), SampleError> {
    let invalid = |what: String| Err(SampleError::Invalid(what));
    if !is_name(name) {
        let shown: String = name.chars().take(MAX_NAME).collect();
        let grammar = "lower-case letters, digits and `_`, beginning with a letter, at most 64";
        return invalid(format!("`{}` is no name of a metric: {grammar}", shown.escape_debug()));
    }
    if RESERVED.contains(&name) {
        return invalid(format!("`{name}` is a metric of the runtime's own"));
    }
    let ending = ENDINGS.iter().find(|ending| name.ends_with(**ending));
    if let Some(ending) = ending.filter(|ending| kind != SampleKind::Count || **ending != "_total") {
        return invalid(format!("`{name}`: the name of a {kind} may not end with `{ending}`"));
    }
    if !value.is_finite() || (kind == SampleKind::Count && value < 0.0) {
        let what = if kind == SampleKind::Count { "a number from 0 on" } else { "a finite number" };
        return invalid(format!("the value of a {kind} must be {what}, not {value}"));
    }
    if labels.len() > MAX_LABELS {
        return invalid(format!("{} labels are more than {MAX_LABELS}", labels.len()));
    }
    for (label, text) in labels {
        if !is_name(label) || matches!(label.as_str(), "module" | "version" | "le" | "quantile") {
            let shown: String = label.chars().take(MAX_NAME).collect();
            return invalid(format!("`{}` may not be the name of a label", shown.escape_debug()));
        }
        if text.len() > MAX_VALUE {
            return invalid(format!("the value of label `{label}` is longer than {MAX_VALUE} bytes"));
        }
    }
    Ok(())
}

/// Prometheus allows a little more; this much every tool takes.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests;
