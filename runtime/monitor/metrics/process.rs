//! What the process as a whole takes, by the figures that `/metrics` tells.

use serde::{Deserialize, Serialize};

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessUsage {
    /// Bytes of it that are in memory.
    pub memory: u64,
    /// Milliseconds of processor time, all threads together.
    pub cpu_millis: u64,
}

/// What this process takes now; nothing where the system does not tell.
#[must_use]
pub fn process() -> Option<ProcessUsage> {
    #[cfg(target_os = "linux")]
    {
        use prometheus::core::Collector;

        let families = prometheus::process_collector::ProcessCollector::for_self().collect();
        let find = |name: &str| families.iter().find(|family| family.name() == name)?.get_metric().first();
        let memory = find("process_resident_memory_bytes")?.get_gauge().get_value();
        // the collector tells whole seconds
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu_millis = cpu.tv_sec.unsigned_abs() * 1000 + cpu.tv_nsec.unsigned_abs() / 1_000_000;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a count")]
        Some(ProcessUsage { memory: memory as u64, cpu_millis })
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_memory() {
        let now = super::process().expect("the system tells");
        assert!(now.memory > 1 << 20, "{now:?}");
    }
}
