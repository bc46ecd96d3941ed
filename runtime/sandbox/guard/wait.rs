//! Waiting, on a script's thread, for what runs on the async runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};

use replug_scripts::{HostError, HostErrorKind, HostFn, Value};
use tokio::runtime::Handle;

/// Blocks until `pending` is there.
pub(super) fn on(
    runtime: &Handle,
    function: HostFn,
    pending: impl Future<Output = Result<Value, HostError>>,
) -> Result<Value, HostError> {
    // tokio panics when a timer is used after its runtime ended; no panic may unwind through the script's VM
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(pending))).unwrap_or_else(|_| {
        if has_ended(runtime) {
            return Err(ending(function));
        }
        tracing::error!(function = function.path(), "a host call broke off by a panic, which stands above");
        Err(broke_off(function))
    })
}

fn ending(function: HostFn) -> HostError {
    HostError::new(HostErrorKind::Failed, format!("{}: the runtime is shutting down", function.path()))
}

fn broke_off(function: HostFn) -> HostError {
    let message = format!("{}: the call broke off; the runtime's log says why", function.path());
    HostError::new(HostErrorKind::Failed, message)
}

/// Whether the async runtime is gone: it ends at once what is spawned then.
fn has_ended(runtime: &Handle) -> bool {
    let probe = runtime.spawn(std::future::pending::<()>());
    let ended = probe.is_finished();
    probe.abort();
    ended
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime")
    }

    #[test]
    fn a_wait_while_the_runtime_ends_fails_without_a_panic() {
        let ending = runtime();
        let handle = ending.handle().clone();
        ending.shutdown_background();
        let sleeps = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(Value::Null)
        };
        let error = on(&handle, HostFn::ServicesCall, sleeps).expect_err("no answer");
        assert_eq!(error.kind, HostErrorKind::Failed);
        assert_eq!(error.message, "services.call: the runtime is shutting down");
    }

    #[test]
    fn what_panics_costs_the_call_and_not_the_thread() {
        let runtime = runtime();
        let error = on(runtime.handle(), HostFn::DbQuery, async { panic!("told to") }).expect_err("no answer");
        assert_eq!(error.message, "db.query: the call broke off; the runtime's log says why");
    }
}
