//! What is counted of the copies of requests that a version answers for nobody.

use prometheus::IntCounter;

use super::families::Families;

/// The handles of one version. Its copies are in none of the counts of requests.
#[derive(Clone, Debug)]
pub struct MirrorMetrics {
    /// Answers below 500.
    pub answered: IntCounter,
    /// Answers of 500 and above that the instance made, and what it did not answer in time.
    pub failed: IntCounter,
    /// Those that failed where something was refused to them.
    pub incomparable: IntCounter,
    /// Those that admission turned away.
    pub refused: IntCounter,
    /// Those that were not sent, since too many were on their way or the module had no more to spare, and those whose turn did not
    /// come.
    pub dropped: IntCounter,
    /// Those whose answers nobody needed any more.
    pub given_up: IntCounter,
    /// Those that were answered with another class of status than the client was.
    pub differences: IntCounter,
}

impl MirrorMetrics {
    pub(super) fn new(families: &Families, module: &str, version: &str) -> Self {
        let copies = |outcome| families.mirrored.with_label_values(&[module, version, outcome]);
        Self {
            answered: copies("answered"),
            failed: copies("failed"),
            incomparable: copies("incomparable"),
            refused: copies("refused"),
            dropped: copies("dropped"),
            given_up: copies("given-up"),
            differences: families.mirror_differences.with_label_values(&[module, version]),
        }
    }
}
