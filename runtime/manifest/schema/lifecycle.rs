//! How a module comes, goes, and is replaced.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use semver::{Version, VersionReq};
use serde::{Serialize, Serializer};

use super::{OnInconclusive, OnPass, StickyBy, TrafficShifting, millis};

/// `lifecycle`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// From registered to serving.
    pub activation: Activation,
    /// From serving to gone.
    pub deactivation: Deactivation,
    /// Back to the version before.
    pub rollback: Rollback,
    /// From version to version.
    pub updates: Updates,
}

/// `lifecycle.activation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activation {
    /// Default: `gradual`.
    pub strategy: ActivationStrategy,
    /// Bounds the steps (not the waits of the traffic shift), 1 ms to 1 h. Default: 30 s gradual, 10 s instant.
    #[serde(serialize_with = "millis")]
    pub timeout: Duration,
    /// Default: none.
    pub health_checks: Vec<HealthCheck>,
    /// What takes the version back; a list replaces the default. A step that fails always does. Default: gradual:
    /// health check failure, error rate and response time; instant: activation timeout and critical error.
    pub rollback_triggers: Vec<RollbackTrigger>,
    /// How traffic moves in a gradual activation.
    pub traffic_shifting: TrafficShifting,
    /// What keeps one client on one version during the shift. Default: `none`.
    pub sticky_by: StickyBy,
    /// What to do when an interval of the shift passes. What fails is always taken back. Default: `promote`.
    pub on_pass: OnPass,
    /// What to do when the samples stay too few to judge. Default: `promote`.
    pub on_inconclusive: OnInconclusive,
    /// How long the version is provisional before it confirms itself, 0 ms to 24 h. Default: 10 s.
    #[serde(serialize_with = "millis")]
    pub confirm_window: Duration,
}

impl Activation {
    /// The confirm window when the manifest gives none.
    pub const CONFIRM_WINDOW: Duration = Duration::from_secs(10);
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            strategy: ActivationStrategy::Gradual,
            timeout: ActivationStrategy::Gradual.default_timeout(),
            health_checks: Vec::new(),
            rollback_triggers: ActivationStrategy::Gradual.default_triggers(),
            traffic_shifting: TrafficShifting::default(),
            sticky_by: StickyBy::None,
            on_pass: OnPass::Promote,
            on_inconclusive: OnInconclusive::Promote,
            confirm_window: Self::CONFIRM_WINDOW,
        }
    }
}

/// How a version takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ActivationStrategy {
    /// Step by step, with migrations, warm-up and a judged traffic shift.
    Gradual,
    /// At once; refused with pending migrations.
    Instant,
}

impl ActivationStrategy {
    /// The timeout when the manifest gives none.
    pub fn default_timeout(self) -> Duration {
        match self {
            Self::Gradual => Duration::from_secs(30),
            Self::Instant => Duration::from_secs(10),
        }
    }

    /// The rollback triggers when the manifest gives none.
    pub fn default_triggers(self) -> Vec<RollbackTrigger> {
        let kinds: &[TriggerKind] = match self {
            Self::Gradual => {
                &[TriggerKind::HealthCheckFailure, TriggerKind::ErrorRateExceeded, TriggerKind::ResponseTimeExceeded]
            }
            Self::Instant => &[TriggerKind::ActivationTimeout, TriggerKind::CriticalError],
        };
        kinds.iter().map(|kind| RollbackTrigger::new(*kind)).collect()
    }
}

/// A question asked of an instance to learn whether it is well.
///
/// Short forms: `endpoint: PATH`, `database: NAME`, `service: CAPABILITY.METHOD` and `custom: NAME` in place of
/// `id`, `type` and `config`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// The check's name in reports. Default: the path, service or name of the short form.
    pub id: String,
    /// What is asked.
    #[serde(flatten)]
    pub kind: HealthCheckKind,
    /// 1 ms to 5 min. Default: 5 s.
    #[serde(serialize_with = "millis")]
    pub timeout: Duration,
    /// Between two checks of a serving instance, 100 ms to 1 h. Default: 10 s.
    #[serde(serialize_with = "millis")]
    pub interval: Duration,
    /// Failures in a row that are forgiven, 0 to 100. Default: 2.
    pub retries: u32,
    /// Whether its failure fails the instance; otherwise it only degrades it. Default: true.
    pub critical: bool,
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "config", rename_all = "camelCase")]
pub enum HealthCheckKind {
    /// The module's api of this path or, without one, the script's `health(ctx)`.
    Endpoint {
        /// The path.
        path: String,
    },
    /// Whether the module's database answers and every table of its applied migrations exists.
    Database,
    /// Whether this service answers without an error.
    Service {
        /// `capability.method`, split at the last dot.
        service: String,
    },
    /// The script's `health(ctx)`.
    Custom,
}

/// What takes a version back. A bare `type` is the short form.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackTrigger {
    /// What is watched. Required.
    #[serde(rename = "type")]
    pub kind: TriggerKind,
    /// The limit in place of the analysis' own; only for error rate and response time. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// What it does once the version is confirmed. Default: `alarm`.
    pub after_confirm: AfterConfirm,
}

impl RollbackTrigger {
    /// The trigger with its defaults.
    pub fn new(kind: TriggerKind) -> Self {
        Self { kind, threshold: None, after_confirm: AfterConfirm::Alarm }
    }
}

/// What a rollback trigger watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TriggerKind {
    /// A critical health check failed its retries.
    HealthCheckFailure,
    /// Too large a share of answers were the instance's own 5xx.
    ErrorRateExceeded,
    /// The 95th percentile of response times is too high.
    ResponseTimeExceeded,
    /// The steps took longer than the activation's timeout.
    ActivationTimeout,
    /// The instance's actor tree exceeded its restart intensity.
    CriticalError,
}

/// The limit of a trigger: a number from 0 to 1, or milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Threshold {
    /// A share of requests, above 0 and at most 1 (error rate).
    Ratio(f64),
    /// A 95th percentile (response time).
    Time(#[serde(serialize_with = "millis")] Duration),
}

/// What a trigger does to a confirmed version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AfterConfirm {
    /// Raise an alarm only: a shared outage must not make versions ping-pong.
    Alarm,
    /// Return to the version before.
    Rollback,
}

/// `lifecycle.deactivation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deactivation {
    /// Default: `graceful`.
    pub strategy: DeactivationStrategy,
    /// How long requests in flight may take to end, 1 ms to 1 h. Default: 15 s.
    #[serde(serialize_with = "millis")]
    pub timeout: Duration,
    /// What is done then: `clearCache`, `closeConnections`, or names of the script's `cleanup`. Default: none.
    pub cleanup: Vec<String>,
}

impl Default for Deactivation {
    fn default() -> Self {
        Self { strategy: DeactivationStrategy::Graceful, timeout: Duration::from_secs(15), cleanup: Vec::new() }
    }
}

impl Deactivation {
    /// The cleanups that the runtime itself knows.
    pub const BUILT_IN_CLEANUPS: [&str; 2] = ["clearCache", "closeConnections"];

    /// The cleanup names that the script's `cleanup` table must define.
    pub fn script_cleanups(&self) -> impl Iterator<Item = &str> {
        self.cleanup.iter().map(String::as_str).filter(|name| !Self::BUILT_IN_CLEANUPS.contains(name))
    }
}

/// How an instance stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DeactivationStrategy {
    /// Requests in flight may end.
    Graceful,
    /// At once.
    Immediate,
}

/// `lifecycle.rollback`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// 1 ms to 1 h. Default: 30 s.
    #[serde(serialize_with = "millis")]
    pub timeout: Duration,
    /// Whether additive schema stays; otherwise down-migrations run. Default: true.
    pub preserve_data: bool,
    /// Who is told. Default: `log`.
    pub notification_channels: Vec<NotificationChannel>,
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            preserve_data: true,
            notification_channels: vec![NotificationChannel::Log],
        }
    }
}

/// Who is told of a rollback. Serialized as in the manifest: `log`, `events` or the webhook's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotificationChannel {
    /// The log.
    Log,
    /// The event bus.
    Events,
    /// An HTTP endpoint, `http://` or `https://`.
    Webhook(String),
}

impl fmt::Display for NotificationChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Events => f.write_str("events"),
            Self::Webhook(url) => f.write_str(url),
        }
    }
}

impl Serialize for NotificationChannel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `lifecycle.updates`: which versions can follow which.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Updates {
    /// Whether an activation may replace another version of the module. Default: true.
    pub supported: bool,
    /// Ways that need stops between. Default: none.
    pub migration_paths: Vec<MigrationPath>,
    /// For a version, the versions that it can follow directly. Default: empty, and then any.
    pub compatibility: BTreeMap<Version, VersionReq>,
}

impl Default for Updates {
    fn default() -> Self {
        Self { supported: true, migration_paths: Vec::new(), compatibility: BTreeMap::new() }
    }
}

/// `lifecycle.updates.migrationPaths[]`: a way from some versions to one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationPath {
    /// The versions it starts from. Required.
    pub from: VersionReq,
    /// The versions between, ascending. Default: none.
    pub via: Vec<Version>,
    /// The version it leads to. Required.
    pub to: Version,
}
