//! What a process holds.

use std::process::Command;

/// Names the row that a process of its own is to measure.
const ALONE: &str = "REPLUG_BENCH_ALONE";

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Runs `work` in a process of its own, in which nothing was allocated before, by running this benchmark again.
pub(crate) fn alone(name: &str, work: impl FnOnce()) {
    match std::env::var(ALONE) {
        Ok(wanted) if wanted == name => work(),
        Ok(_) => {}
        Err(_) => {
            let this = std::env::current_exe().expect("a benchmark");
            let ended = Command::new(this).args(std::env::args().skip(1)).env(ALONE, name).status();
            assert!(ended.expect("it starts").success(), "{name}");
        }
    }
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
