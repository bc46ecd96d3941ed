//! The quotas that an instance keeps to, as they are at the moment they are looked at, and what is told of those it met.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use replug_scripts::{CallContext, ScriptError, Verdict};

use super::error::CallError;
use crate::manifest::{Manifest, ResourceQuotas};
use crate::sandbox::permissions::{At, Live, ResourceType};

/// Where the quotas stand.
#[derive(Clone)]
pub enum Quotas {
    /// In the manifest, as it asks for them.
    Asked(Arc<Manifest>),
    /// As an administrator has decided, who may decide anew while the instance runs.
    Decided(Arc<Live>),
}

impl Quotas {
    /// Reads them.
    pub fn read<R>(&self, read: impl FnOnce(&ResourceQuotas) -> R) -> R {
        match self {
            Self::Asked(manifest) => read(&manifest.permissions.resources),
            Self::Decided(live) => read(&live.grants().effective().resources),
        }
    }

    /// What was decided about it; nothing where it has no permissions of its own.
    pub const fn decided(&self) -> Option<&Arc<Live>> {
        match self {
            Self::Asked(_) => None,
            Self::Decided(live) => Some(live),
        }
    }

    /// Whoever has the audit log told what the instance meets; nobody where it has no permissions of its own.
    pub fn teller(&self) -> Option<&Live> {
        match self {
            Self::Asked(_) => None,
            Self::Decided(live) => Some(live),
        }
    }

    /// Has the audit log told that a limit or a quota is why a call of `handler` gave no result, where one is.
    pub fn tell(&self, error: &CallError, handler: &dyn Display, call: &CallContext) {
        let Some(live) = self.teller() else { return };
        match error {
            // that it stops is told as such
            CallError::Script(ScriptError::Limit(Verdict::Stopped)) => {}
            CallError::Script(ScriptError::Limit(verdict)) => {
                live.limit(&format!("runtime.limits.{}", verdict.limit()), value(*verdict), handler, call);
            }
            CallError::Overloaded { queue, .. } => live.limit("runtime.limits.queue", *queue as u64, handler, call),
            CallError::Crowded { streams, .. } => {
                live.limit("runtime.limits.streams", *streams as u64, handler, call);
            }
            CallError::Throttled { .. } => live.exceed(ResourceType::CpuUsage, At::Handler(handler), Some(call)),
            CallError::HeapFull { .. } | CallError::Cramped { .. } => {
                live.exceed(ResourceType::HeapSize, At::Handler(handler), Some(call))
            }
            _ => {}
        }
    }
}

/// A limit as a number: ticks, milliseconds or bytes.
fn value(verdict: Verdict) -> u64 {
    // what is left of a call's time is a little less than what it was given
    let millis = |time: Duration| u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    match verdict {
        Verdict::Ticks(ticks) => ticks,
        Verdict::CpuTime(time) | Verdict::WallTime(time) => millis(time),
        Verdict::Memory(bytes) => bytes as u64,
        Verdict::Stopped => 0,
    }
}
