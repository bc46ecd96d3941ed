//! What happened and how much of it: events, health and metrics. Everything above reports here; nothing here acts.

pub mod aborts;
pub mod events;
pub mod health;
pub mod metrics;
pub mod stats;

pub use aborts::{Aborts, Named};
pub use events::{Event, Events, Following, InstanceKey};
pub use health::{Health, HealthStatus};
pub use metrics::{
    ActivationMetrics, Held, HttpMetrics, InstanceMetrics, Metrics, MirrorMetrics, SampleError, SampleKind,
    StreamOutcome,
};
pub use stats::{Sample, Stats};
