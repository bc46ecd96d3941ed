//! What a copy of a client's request may do: nothing that outlives it.
//!
//! The client got its answer from the version that serves; the copy only shows how another version would have answered. So it
//! reads as ever, and what would write, send, or set something going is refused with an error of the kind `mirrored`, once it is
//! clear that a client's request could have it done: what is wrong with a call is wrong with it in a copy as well. A refusal is no
//! denial of the module's permissions: nothing is told of it, and the copy notes it, since nobody can say what it would have come
//! to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use replug_scripts::{CallContext, HostError, HostFn};

use crate::sandbox::quota::turns::Turns;

/// Whether `function` may be carried out, which leaves something behind. Asked last, when nothing else is wrong with the call.
///
/// # Errors
/// `mirrored` in a copy, which notes it.
pub(super) fn permit(function: HostFn, call: &CallContext) -> Result<(), HostError> {
    match &call.mirrored {
        None => Ok(()),
        Some(copy) => Err(copy.refuse(&function.path())),
    }
}

/// Whose turn a call takes of what only a few of a module may do at once: copies have turns of their own, so that no request waits
/// for them.
pub(super) fn lane(call: &CallContext) -> Arc<str> {
    match call.mirrored {
        None => Arc::clone(&call.module),
        Some(_) => format!("{} (mirrored)", call.module).into(),
    }
}

/// Does `work` when it is its turn. A copy waits for none, since modules share them: where none is free at once it is
/// crowded.
pub(super) async fn in_turn<T: Send + 'static>(
    turns: Turns,
    function: HostFn,
    call: CallContext,
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let lane = lane(&call);
    let Some(copy) = call.mirrored else {
        return turns.run(function.path(), lane, call.deadline, work).await;
    };
    let begun = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&begun);
    let work = move || {
        begins.store(true, Ordering::Release);
        work()
    };
    // what is free now is taken also by who does not wait
    let done = turns.run(function.path(), lane, std::time::Instant::now(), work).await;
    if !begun.load(Ordering::Acquire) {
        copy.crowd();
    }
    done
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use replug_scripts::Mirrored;

    use super::*;

    #[tokio::test]
    async fn a_copy_waits_for_no_turn_that_others_have() {
        let turns = Turns::new("password hashes", 1, 1, 16);
        let call = |mirrored| CallContext {
            module: "shop".into(),
            version: "1.0.0".into(),
            request_id: "r".into(),
            caller: None,
            deadline: std::time::Instant::now() + Duration::from_secs(20),
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored,
            readying: None,
        };
        let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let work = move || {
            begun.send(()).unwrap();
            gone.recv().unwrap();
            Ok(())
        };
        let held = tokio::spawn(in_turn(turns.clone(), HostFn::CryptoPasswordHash, call(None), work));
        has_begun.await.unwrap();
        let mark = Arc::new(Mirrored::default());
        let copy = || in_turn(turns.clone(), HostFn::CryptoPasswordHash, call(Some(Arc::clone(&mark))), || Ok(()));
        copy().await.unwrap_err();
        assert!(mark.was_crowded() && !mark.was_refused());
        go.send(()).unwrap();
        held.await.unwrap().unwrap();
        let mark = Arc::new(Mirrored::default());
        let free = in_turn(turns.clone(), HostFn::CryptoPasswordHash, call(Some(Arc::clone(&mark))), || Ok(()));
        free.await.unwrap();
        assert!(!mark.was_crowded());
    }
}
