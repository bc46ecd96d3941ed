//! What is measured of an instance while it runs: the specification's `RuntimeMetrics`.
//!
//! | of the specification | here |
//! |---|---|
//! | `memoryUsage` | `memory` |
//! | `cpuUsage` | `cpu_seconds`, of which a rate is a usage |
//! | `networkBandwidth` | `received` and `sent`, of which a rate is a bandwidth |
//! | `apiResponseTime` | `seconds` |
//! | `databaseQueryTime` | [`Metrics::query_seconds`](super::Metrics::query_seconds) |
//! | `errorRate` | `failed` of all that were `answered`, `failed` or `abandoned`; `stats` for one instance |

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Counter, Histogram, IntCounter, IntGauge};

use super::families::Families;
use super::mirror::MirrorMetrics;
use crate::monitor::{InstanceKey, Stats};

/// The handles of one instance, looked up once when it is made.
#[derive(Clone)]
pub struct InstanceMetrics {
    /// Answers below 500.
    pub answered: IntCounter,
    /// Answers of 500 and above that the instance made.
    pub failed: IntCounter,
    /// Requests whose clients went away before the answer.
    pub abandoned: IntCounter,
    /// Requests that admission turned away.
    pub refused: IntCounter,
    /// Calls ended by a limit.
    pub verdicts: IntCounter,
    /// Workers that died.
    pub restarts: IntCounter,
    /// Seconds from admission to answer.
    pub seconds: Histogram,
    /// Requests held now.
    pub in_flight: IntGauge,
    /// Streamed answers that are open.
    pub streams: IntGauge,
    /// Bytes that the heaps of its VMs hold.
    pub memory: IntGauge,
    /// Processor time of its script threads, in seconds.
    pub cpu_seconds: Counter,
    /// Bytes of request bodies.
    pub received: IntCounter,
    /// Bytes of the bodies of answers.
    pub sent: IntCounter,
    /// What this one instance answered, for the analysis of an activation.
    pub stats: Arc<Stats>,
    families: Arc<Families>,
    id: Arc<str>,
    version: Arc<str>,
    generation: u64,
}

impl InstanceMetrics {
    pub(super) fn new(families: Arc<Families>, instance: &InstanceKey) -> Self {
        let (id, version) = (&*instance.id, &*instance.version);
        let labels = [id, version];
        let requests = |outcome| families.requests.with_label_values(&[id, version, outcome]);
        Self {
            answered: requests("answered"),
            failed: requests("failed"),
            abandoned: requests("abandoned"),
            refused: requests("refused"),
            verdicts: families.verdicts.with_label_values(&labels),
            restarts: families.restarts.with_label_values(&labels),
            seconds: families.seconds.with_label_values(&labels),
            in_flight: families.in_flight.with_label_values(&labels),
            streams: families.streams.with_label_values(&labels),
            memory: families.memory.with_label_values(&labels),
            cpu_seconds: families.cpu_seconds.with_label_values(&labels),
            received: families.received.with_label_values(&labels),
            sent: families.sent.with_label_values(&labels),
            stats: Arc::default(),
            id: Arc::clone(&instance.id),
            version: Arc::clone(&instance.version),
            generation: instance.generation,
            families,
        }
    }

    /// Tells its health, see [`HealthStatus::gauge`](crate::monitor::HealthStatus::gauge). A version shows that of its
    /// newest instance that is asked; there is no series before one was.
    pub fn set_health(&self, health: f64) {
        let mut askers = self.families.askers();
        let newest = askers.entry((Arc::clone(&self.id), Arc::clone(&self.version))).or_default();
        if *newest <= self.generation {
            *newest = self.generation;
            self.families.health.with_label_values(&[&self.id, &self.version]).set(health);
        }
    }

    /// Nobody asks this instance any more. If it was the newest that is asked, its version shows no health rather than the
    /// last it had, until an older one that is still asked tells its own.
    pub fn unset_health(&self) {
        let mut askers = self.families.askers();
        let version = (Arc::clone(&self.id), Arc::clone(&self.version));
        if askers.get(&version) == Some(&self.generation) {
            askers.remove(&version);
            self.families.health.with_label_values(&[&self.id, &self.version]).set(f64::NAN);
        }
    }

    /// The handles for copies of requests. Their series appear with this.
    #[must_use]
    pub fn mirror(&self) -> MirrorMetrics {
        MirrorMetrics::new(&self.families, &self.id, &self.version)
    }

    /// The seconds that one of its health checks took.
    #[must_use]
    pub fn health_check_seconds(&self, check: &str) -> Histogram {
        self.families.health_check_seconds.with_label_values(&[&*self.id, &*self.version, check])
    }

    /// Counts one answer.
    pub fn record(&self, failed: bool, took: Duration) {
        if failed {
            self.failed.inc();
        } else {
            self.answered.inc();
        }
        self.seconds.observe(took.as_secs_f64());
        self.stats.record(failed, took);
    }

    /// Counts a request whose client went away before its answer, after it `waited` so long.
    fn abandon(&self, waited: Duration) {
        self.abandoned.inc();
        self.seconds.observe(waited.as_secs_f64());
        self.stats.abandon(waited);
    }

    /// Counts that a request which its client had abandoned failed.
    pub fn failed_unheard(&self) {
        self.stats.fail_unheard();
    }

    /// Counts how a streamed answer ended, whose head was counted as an answer. One that `failed` is an
    /// error of the instance, also in an interval in which none began.
    pub fn stream_ended(&self, outcome: StreamOutcome) {
        if outcome == StreamOutcome::Failed {
            self.stats.fail_stream();
        }
        self.families.streams_ended.with_label_values(&[&*self.id, &*self.version, outcome.label()]).inc();
    }

    /// Counts a request in; it is counted out when the answer is dropped.
    #[must_use]
    pub fn hold(&self) -> Held<'_> {
        self.in_flight.inc();
        Held { metrics: self, since: Instant::now(), told: false }
    }
}

/// How a streamed answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOutcome {
    /// The script ended it.
    Ended,
    /// A call of the script failed.
    Failed,
    /// The client went away.
    Abandoned,
    /// Its instance stopped.
    CutOff,
    /// Admission turned its calls away, again and again: the queue, the processor's share or the memory was used up.
    Refused,
    /// Whoever opened it is not signed in any more, or may not see it any more.
    SignedOut,
    /// It sent nothing for too long.
    Silent,
}

impl StreamOutcome {
    /// As metrics and logs have it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
            Self::CutOff => "cut-off",
            Self::Refused => "refused",
            Self::SignedOut => "signed-out",
            Self::Silent => "silent",
        }
    }
}

/// A request inside an instance. It is counted out even if whoever waits for it goes away; dropped without a word of how
/// it ended, it counts as abandoned.
pub struct Held<'a> {
    metrics: &'a InstanceMetrics,
    since: Instant,
    told: bool,
}

impl Held<'_> {
    /// Counts its answer, and the time since it was counted in.
    pub fn answered(mut self, failed: bool) {
        self.told = true;
        self.metrics.record(failed, self.since.elapsed());
    }

    /// Counts that admission turned it away.
    pub fn refused(mut self) {
        self.told = true;
        self.metrics.refused.inc();
    }

    /// It goes to another instance and is counted there.
    pub fn passed_on(mut self) {
        self.told = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if !self.told {
            self.metrics.abandon(self.since.elapsed());
        }
    }
}
