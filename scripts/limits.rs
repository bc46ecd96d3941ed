//! Limits on one call and on one VM.

use std::fmt;
use std::time::Duration;

/// The limits of a VM. The first three are budgets of each call, the others bound the VM as long as it lives.
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
    /// Bytes that it may hold for now, where others have the rest of what they share: as many as `memory` at most, and so many where
    /// there is none.
    pub room: Option<usize>,
    /// Bytes of stack that the thread of the VM is to have; none where that follows from `memory`. What it has is
    /// [`Limits::stack_size`], and how deep calls nest in Rhai follows from that: a VM must not run on a thread with less.
    pub stack: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ticks: 50_000_000,
            cpu_time: Duration::from_millis(250),
            wall_time: Duration::from_secs(1),
            memory: 32 << 20,
            room: None,
            stack: None,
        }
    }
}

impl Limits {
    /// Bytes that the heap may hold for now: `room`, `memory` at the most.
    #[must_use]
    pub const fn heap(&self) -> usize {
        match self.room {
            Some(room) if room < self.memory => room,
            _ => self.memory,
        }
    }

    /// Bytes of stack that a script's thread has under these limits: what is wanted, but never less than
    /// [`Limits::least_stack_size`]. Where nothing is wanted it is twice of what is needed so that no value within the
    /// memory limit can overflow it when it is cloned, dropped, printed or converted. Measured for nested captured closures
    /// in Rhai, the worst case found: 60,000 levels made within 64 MiB need between 2x and 4x of them. Untouched pages cost
    /// nothing.
    #[must_use]
    pub const fn stack_size(&self) -> usize {
        let (wanted, least) = match self.stack {
            Some(wanted) => (wanted, self.least_stack_size()),
            None => (self.memory.saturating_mul(4), 64 << 20),
        };
        if wanted < least { least } else { wanted }
    }

    /// The least bytes of stack that are safe: for values twice the memory limit, since the deepest nest of closures took 64
    /// to 96 MiB within 64 MiB when its hash was taken, and that is what recurses most; and 16 MiB for calls.
    #[must_use]
    pub const fn least_stack_size(&self) -> usize {
        self.stack_of_values().saturating_add(16 << 20)
    }

    /// Bytes of the stack that are left for calls, whatever the values are: 16 MiB at the least.
    #[must_use]
    pub const fn stack_of_calls(&self) -> usize {
        self.stack_size().saturating_sub(self.stack_of_values())
    }

    const fn stack_of_values(&self) -> usize {
        self.memory.saturating_mul(2)
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
    /// Whoever oversees the thread ended the call: what it belongs to stops.
    Stopped,
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
            Self::Stopped => "stopped",
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
            Self::Stopped => f.write_str("the module was stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn limits(memory: usize, stack: Option<usize>) -> Limits {
        Limits { memory, stack, ..Limits::default() }
    }

    #[test]
    fn a_stack_is_what_is_wanted_but_never_less_than_is_safe() {
        for (memory, stack, size) in [
            (MIB, None, 64 * MIB),
            (32 * MIB, None, 128 * MIB),
            (32 * MIB, Some(100 * MIB), 100 * MIB),
            (32 * MIB, Some(80 * MIB), 80 * MIB),
            (32 * MIB, Some(80 * MIB - 1), 80 * MIB),
            (32 * MIB, Some(0), 80 * MIB),
            (MIB, Some(512 * MIB), 512 * MIB),
        ] {
            assert_eq!(limits(memory, stack).stack_size(), size, "{memory} {stack:?}");
        }
    }

    #[test]
    fn calls_have_what_values_leave_and_never_less_than_16_mebibytes() {
        for (memory, stack, left) in [
            (MIB, None, 62 * MIB),
            (1024 * MIB, None, 2048 * MIB),
            (1024 * MIB, Some(0), 16 * MIB),
            (MIB, Some(20 * MIB), 18 * MIB),
        ] {
            assert_eq!(limits(memory, stack).stack_of_calls(), left, "{memory} {stack:?}");
        }
    }
}
