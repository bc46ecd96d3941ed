//! `log`: lines of scripts, cut to size and thinned when they flood.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use replug_scripts::{CallContext, HostFn, Value};

use super::Args;
use crate::sandbox::lines;

/// Lines a second that an instance may write; the rest is counted and dropped.
const LINES_A_SECOND: u64 = 200;
/// The longest line, in bytes.
const LONGEST_LINE: usize = 8 << 10;

/// Counts the lines of the present second: seconds in the upper half, lines in the lower.
#[derive(Default)]
pub(super) struct Flood {
    window: AtomicU64,
}

impl Flood {
    /// Writes one line, or drops it.
    pub(super) fn log(&self, function: HostFn, args: &Args, call: &CallContext) {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() & 0xffff_ffff);
        let dropped = match self.admit(second) {
            Some(dropped) => dropped,
            None => return,
        };
        let (module, version, request_id) = (&*call.module, &*call.version, &*call.request_id);
        if dropped > 0 {
            tracing::warn!(target: "module", module, version, dropped, "log lines were dropped in an earlier second");
        }
        let message = lines::text(args.get(0), LONGEST_LINE);
        let fields = match args.get(1) {
            Value::Null => None,
            Value::Map(map) if map.is_empty() => None,
            other => Some(lines::text(other, LONGEST_LINE)),
        };
        let fields = fields.as_deref();
        // of a copy no client ever saw anything
        let mirrored = call.mirrored.as_ref().map(|_| true);
        macro_rules! write_at {
            ($level:ident) => {
                tracing::$level!(target: "module", module, version, request_id, mirrored, fields, "{message}")
            };
        }
        match function {
            HostFn::LogTrace => write_at!(trace),
            HostFn::LogVerbose => write_at!(debug),
            HostFn::LogWarn => write_at!(warn),
            HostFn::LogError => write_at!(error),
            _ => write_at!(info),
        }
    }

    /// Whether a line of this second may be written, and if so how many the second before it dropped (told once).
    fn admit(&self, second: u64) -> Option<u64> {
        let before = self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |window| {
            Some(if window >> 32 == second { window.saturating_add(1) } else { (second << 32) | 1 })
        });
        let before = before.unwrap_or_default();
        let lines = before & 0xffff_ffff;
        if before >> 32 == second {
            (lines < LINES_A_SECOND).then_some(0)
        } else {
            Some(lines.saturating_sub(LINES_A_SECOND))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_counted_and_told_once() {
        let flood = Flood::default();
        let written = (0..500).filter(|_| flood.admit(7).is_some()).count();
        assert_eq!(written, usize::try_from(LINES_A_SECOND).expect("small"));
        assert_eq!(flood.admit(8), Some(300));
        assert_eq!(flood.admit(8), Some(0));
    }
}
