//! What is measured of the activations of a version: the specification's `ActivationMetrics`.

use std::sync::Arc;
use std::time::Duration;

use super::families::Families;
use crate::monitor::InstanceKey;

/// Counts the activations of one version. Its series appear with the first that has something to tell.
pub struct ActivationMetrics {
    families: Arc<Families>,
    id: Arc<str>,
    version: Arc<str>,
}

impl ActivationMetrics {
    pub(super) fn new(families: Arc<Families>, instance: &InstanceKey) -> Self {
        Self { families, id: Arc::clone(&instance.id), version: Arc::clone(&instance.version) }
    }

    const fn labels(&self) -> [&Arc<str>; 2] {
        [&self.id, &self.version]
    }

    /// An activation came to `outcome` after `took`.
    pub fn ended(&self, outcome: &str, took: Duration) {
        self.families.activations.with_label_values(&[&*self.id, &*self.version, outcome]).inc();
        self.families.activation_seconds.with_label_values(&self.labels()).observe(took.as_secs_f64());
    }

    /// A traffic shift took so long.
    pub fn shifted(&self, took: Duration) {
        self.families.shift_seconds.with_label_values(&self.labels()).observe(took.as_secs_f64());
    }

    /// A rollback of this version took so long.
    pub fn rolled_back(&self, took: Duration) {
        self.families.rollback_seconds.with_label_values(&self.labels()).observe(took.as_secs_f64());
    }

    /// An interval was judged in which this share of its answers, from 0 to 1, failed.
    pub fn judged(&self, error_ratio: f64) {
        self.families.error_ratio.with_label_values(&self.labels()).set(error_ratio);
        self.families.success_ratio.with_label_values(&self.labels()).set(1.0 - error_ratio);
    }
}
