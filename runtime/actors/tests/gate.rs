//! The entrance of an instance; every interleaving of it is tried in `tests/it/interleavings.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;

use crate::actors::gate::{Gate, Pass};

#[test]
fn a_closed_gate_lets_nobody_in_and_waits_for_those_inside() {
    let gate = Arc::new(Gate::default());
    let inside = Pass::enter(Arc::clone(&gate)).expect("open");
    gate.close();
    assert!(Pass::enter(Arc::clone(&gate)).is_none());
    assert_eq!(gate.inside(), 1);
    assert!(gate.drained().now_or_never().is_none());
    drop(inside);
    assert!(gate.drained().now_or_never().is_some());
}

#[test]
fn an_empty_open_gate_is_not_drained() {
    assert!(Gate::default().drained().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_when_the_last_of_many_leaves() {
    for _ in 0..200 {
        let (gate, holders) = (Arc::new(Gate::default()), Arc::<AtomicUsize>::default());
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (gate, holders) = (Arc::clone(&gate), Arc::clone(&holders));
                tokio::spawn(async move {
                    while let Some(pass) = Pass::enter(Arc::clone(&gate)) {
                        holders.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(pass);
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.close();
        gate.drained().await;
        assert_eq!(holders.load(Ordering::SeqCst), 0, "whoever holds a pass is waited for");
        // who finds it closed is counted for a moment
        for task in tasks {
            task.await.expect("ends");
        }
        assert_eq!(gate.inside(), 0);
    }
}
