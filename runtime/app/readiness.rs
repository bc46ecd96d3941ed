//! Whether a runtime does all that it is there for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(feature = "cli")]
use crate::store::WriteFault;

const STARTING: u8 = 0;
const STARTED: u8 = 1;
const STOPPING: u8 = 2;

/// Clones share it.
#[derive(Clone)]
pub(super) struct Readiness {
    phase: Arc<AtomicU8>,
    /// Of the store and of the audit log: who has no admin API hears of them by the alarm.
    #[cfg(feature = "cli")]
    faults: [WriteFault; 2],
}

impl Readiness {
    /// One that starts.
    pub(super) fn new(#[cfg(feature = "cli")] faults: [WriteFault; 2]) -> Self {
        Self {
            phase: Arc::new(AtomicU8::new(STARTING)),
            #[cfg(feature = "cli")]
            faults,
        }
    }

    /// What is to be started was, as far as it starts.
    pub(super) fn started(&self) {
        // one that stops stays so
        let _ = self.phase.compare_exchange(STARTING, STARTED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// It stops.
    pub(super) fn stopping(&self) {
        self.phase.store(STOPPING, Ordering::Release);
    }

    /// Whether it was started and does not stop.
    pub(super) fn is_started(&self) -> bool {
        self.phase.load(Ordering::Acquire) == STARTED
    }

    /// Why it is not ready.
    #[cfg(feature = "cli")]
    pub(super) fn obstacle(&self) -> Option<String> {
        match self.phase.load(Ordering::Acquire) {
            STARTING => return Some("starting".to_owned()),
            STOPPING => return Some("stopping".to_owned()),
            _ => {}
        }
        let [store, audit] = self.faults.each_ref().map(WriteFault::cause);
        let refuses = |part: &str, cause: &str| format!("the {part} takes no writes: {cause}");
        store.map(|cause| refuses("store", cause)).or_else(|| audit.map(|cause| refuses("audit log", cause)))
    }
}
