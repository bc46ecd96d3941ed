//! How a module's instances run.

use std::time::Duration;

use serde::Serialize;

use super::millis;

/// `runtime`: the entry script, its VMs, their limits and supervision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeSpec {
    /// The entry script. Default: none; [`Manifest::entry`](super::Manifest::entry) then finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// VMs at once, made on demand, 1 to 64. Default: 2.
    pub workers: usize,
    /// Suspended requests that one VM may hold (Lua only), 1 to 1,024. Default: 1.
    pub concurrency: usize,
    /// What one call may use.
    pub limits: LimitsSpec,
    /// What happens after crashes.
    pub supervision: SupervisionSpec,
    /// The script's long-lived actors. Default: none.
    pub actors: Vec<ActorSpec>,
}

impl Default for RuntimeSpec {
    fn default() -> Self {
        Self {
            entry: None,
            workers: 2,
            concurrency: 1,
            limits: LimitsSpec::default(),
            supervision: SupervisionSpec::default(),
            actors: Vec::new(),
        }
    }
}

/// `runtime.limits`: what one call may use, and how many may wait.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Instructions of a call, in ticks (Luau safepoints or Rhai operations), 1,000 to 10^12. Default: 50,000,000.
    pub ticks: u64,
    /// CPU time of a call, 1 ms to 10 min. Default: 250 ms.
    #[serde(serialize_with = "millis")]
    pub cpu_time: Duration,
    /// Wall time of a call, 1 ms to 10 min. Default: 1 s.
    #[serde(serialize_with = "millis")]
    pub wall_time: Duration,
    /// Memory of one VM in bytes, 1 MiB to 1 GiB. Default: 32 MiB.
    pub memory: u64,
    /// Requests that may wait for a VM, 1 to 65,536. Default: 256.
    pub queue: usize,
    /// Streams of an instance that may be open, 1 to 65,536. Default: 256.
    pub streams: usize,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            ticks: 50_000_000,
            cpu_time: Duration::from_millis(250),
            wall_time: Duration::from_secs(1),
            memory: 32 << 20,
            queue: 256,
            streams: 256,
        }
    }
}

impl LimitsSpec {
    /// The least bytes of stack that a thread needs for scripts under this memory limit: twice of it for values, and 16 MiB for
    /// calls. It is what the script hosts say.
    #[must_use]
    pub const fn least_stack(&self) -> u64 {
        self.memory.saturating_mul(2).saturating_add(16 << 20)
    }
}

/// `runtime.supervision`: how crashes are answered and when the instance gives up.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisionSpec {
    /// Who restarts with a crashed child. Default: `one_for_one`.
    pub strategy: RestartStrategy,
    /// Restarts allowed within `period`, 0 to 1,000; one more is a critical error. Default: 5.
    pub intensity: u32,
    /// The window of `intensity`, 1 ms to 1 h. Default: 10 s.
    #[serde(serialize_with = "millis")]
    pub period: Duration,
}

impl Default for SupervisionSpec {
    fn default() -> Self {
        Self { strategy: RestartStrategy::OneForOne, intensity: 5, period: Duration::from_secs(10) }
    }
}

/// Who restarts when a child crashes, in OTP's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartStrategy {
    /// Only the child.
    OneForOne,
    /// All children.
    OneForAll,
    /// The child and those started after it.
    RestForOne,
}

/// `runtime.actors[]`: a long-lived actor of the script, `actors[id]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActorSpec {
    /// The actor's name in the script, `[A-Za-z_][A-Za-z0-9_-]*`. Required.
    pub id: String,
    /// When it is restarted. Default: `permanent`.
    pub restart: Restart,
    /// Messages that may wait for it, 1 to 65,536. Default: 1,000.
    pub mailbox: usize,
}

/// When a child is restarted, in OTP's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// Always.
    Permanent,
    /// After a crash, not after a normal end.
    Transient,
    /// Never.
    Temporary,
}
