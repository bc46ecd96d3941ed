//! How a person or a service manager tells the process to stop.

/// Waits for SIGTERM, Ctrl-C, or the end of the terminal (SIGHUP), unless the process was started so that it outlives that.
pub(super) async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = if ignores_hangup() { None } else { signal(SignalKind::hangup()).ok() };
        let hung_up = async {
            match hangup {
                Some(mut hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                () = hung_up => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Whether SIGHUP was ignored at the start, as by `nohup`: to listen for it would undo that. Only Linux tells without a
/// system call of its own.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_first_ignored(&status))
}

/// Whether the mask of ignored signals has the first one, which SIGHUP is everywhere.
#[cfg(unix)]
fn is_first_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Lets a write beyond a limit on the size of files fail, as on a full disk, where it would end the process (SIGXFSZ).
#[cfg(target_os = "linux")]
pub(super) fn survive_file_limits() {
    use tokio::signal::unix::{SignalKind, signal};
    /// Of every architecture but MIPS, where the write ends the process as before.
    const SIGXFSZ: i32 = 25;
    // who listens once has replaced the default for good
    drop(signal(SignalKind::from_raw(SIGXFSZ)));
}

#[cfg(all(test, unix))]
mod tests {
    use super::is_first_ignored;

    #[test]
    fn nohup_is_seen_in_the_mask_of_ignored_signals() {
        for (mask, is_ignored) in [("0000000000001001", true), ("0000000000001000", false), ("?", false)] {
            let status =
                format!("Name:\treplug\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\nSigCgt:\t0000000000000001\n");
            assert_eq!(is_first_ignored(&status), is_ignored, "{mask}");
        }
        assert!(!is_first_ignored(""), "where there is no such file");
    }
}
