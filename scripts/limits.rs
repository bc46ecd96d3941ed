//! Limits on one call and on one VM.

use std::fmt;
use std::time::Duration;

/// The limits of a VM. The first three are budgets of each call, the last bounds the VM as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ticks a call may use: Luau safepoints (loop edges, calls, returns, pattern-match steps) or Rhai operations. The
    /// work of native functions is charged too, a tick for every 64 bytes or so that they process.
    pub ticks: u64,
    /// CPU time of the script's thread that a call may use.
    pub cpu_time: Duration,
    /// Wall-clock time that a call may take, waiting for the host included: the backstop.
    pub wall_time: Duration,
    /// Bytes that a VM's heap may hold.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ticks: 50_000_000,
            cpu_time: Duration::from_millis(250),
            wall_time: Duration::from_secs(1),
            memory: 32 << 20,
        }
    }
}

impl Limits {
    /// Bytes of stack that a thread needs so that no value within the memory limit can overflow it when it is cloned,
    /// dropped, printed or converted. Measured for nested captured closures in Rhai, the worst case found: 60,000 levels
    /// made within 64 MiB need between 2x and 4x of them. Untouched pages cost nothing. At least twice of what is needed:
    /// see [`Limits::least_stack_size`].
    #[must_use]
    pub const fn stack_size(&self) -> usize {
        let wanted = self.memory.saturating_mul(4);
        if wanted < 64 << 20 { 64 << 20 } else { wanted }
    }

    /// The least bytes of stack that are safe, for whoever wants less than [`Limits::stack_size`]. Calls and expressions as
    /// deep as they may nest took 4 MiB; the deepest nest of closures took 64 to 96 MiB within 64 MiB when its hash was
    /// taken, and that is what recurses most.
    #[must_use]
    pub const fn least_stack_size(&self) -> usize {
        self.memory.saturating_mul(2).saturating_add(16 << 20)
    }
}

/// Which limit a call met, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call used up its ticks.
    Ticks(u64),
    /// The call used up its CPU time.
    CpuTime(Duration),
    /// The call took longer than its wall-clock time.
    WallTime(Duration),
    /// The VM's heap is full.
    Memory(usize),
}

impl Verdict {
    /// The key of the limit in a manifest's `runtime.limits`.
    #[must_use]
    pub const fn limit(&self) -> &'static str {
        match self {
            Self::Ticks(_) => "ticks",
            Self::CpuTime(_) => "cpuTime",
            Self::WallTime(_) => "wallTime",
            Self::Memory(_) => "memory",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticks(n) => write!(f, "the limit of {n} ticks was reached"),
            Self::CpuTime(t) => write!(f, "the limit of {} ms of CPU time was reached", t.as_millis()),
            Self::WallTime(t) => write!(f, "the limit of {} ms of wall-clock time was reached", t.as_millis()),
            Self::Memory(n) => write!(f, "the limit of {} KiB of memory was reached", n >> 10),
        }
    }
}
