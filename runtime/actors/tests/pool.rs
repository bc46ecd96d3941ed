//! The queue: its bound, its order of waking, and what becomes of jobs that nobody takes.

use super::*;

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_never_holds_more_than_its_bound() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.limits.queue = 3).await;
    let held = calling(&instance, "wait");
    script.begun().await;
    let waiting: Vec<_> = (0..3).map(|_| calling(&instance, "ok")).collect();
    until(|| instance.pool.waiting() == 3).await;
    for _ in 0..10 {
        match call(&instance, "ok").await {
            Err(CallError::Overloaded { queue: 3, .. }) => {}
            other => panic!("refused at once, not {other:?}"),
        }
        assert_eq!(instance.pool.waiting(), 3);
    }
    assert_eq!(instance.in_flight(), 4, "those that were refused are not inside");
    script.release();
    result(held).await.expect("answered");
    for call in waiting {
        result(call).await.expect("answered");
    }
    until(|| instance.in_flight() == 0).await;
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_job_whose_deadline_passed_in_the_queue_is_not_run() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |_| {}).await;
    let held = calling(&instance, "wait");
    script.begun().await;
    let late = {
        let instance = Arc::clone(&instance);
        tokio::spawn(async move { call_within(&instance, "ok", Duration::from_millis(20)).await })
    };
    until(|| instance.pool.waiting() == 1).await;
    let asked = Instant::now();
    until(|| asked.elapsed() > Duration::from_millis(25)).await;
    // within the grace that its caller still listens
    script.release();
    result(held).await.expect("answered");
    match result(late).await {
        Err(CallError::Timeout(waited)) => assert!(waited >= Duration::from_millis(20), "waited {waited:?}"),
        other => panic!("a timeout, not {other:?}"),
    }
    call(&instance, "ok").await.expect("serves on");
    assert_eq!(script.ran(), 2);
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_call_that_fails_after_its_caller_went_away_counts_as_failed() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |_| {}).await;
    let stats = &instance.metrics.stats;
    for (service, errors) in [("wait", 0), ("wait, then limit", 1)] {
        let held = instance.metrics.hold();
        let gone = calling(&instance, service);
        script.begun().await;
        gone.abort();
        assert!(gone.await.is_err_and(|error| error.is_cancelled()));
        drop(held);
        script.release();
        call(&instance, "ok").await.expect("the worker is free");
        assert_eq!(stats.sample().errors(), errors, "{service}");
    }
    assert_eq!((stats.sample().requests(), instance.metrics.abandoned.get()), (2, 2));
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_job_that_nobody_takes_is_gone_when_its_caller_gives_up() {
    let script = Script::new();
    // no tree: no worker ever comes up
    let instance = instance(&script, |manifest| manifest.runtime.limits.queue = 1);
    let asked = Instant::now();
    match soon(call_within(&instance, "ok", Duration::from_millis(10))).await {
        Err(CallError::Timeout(waited)) => assert!(waited <= asked.elapsed() && !waited.is_zero()),
        other => panic!("a timeout, not {other:?}"),
    }
    assert_eq!((instance.pool.waiting(), instance.in_flight()), (0, 0));
    instance.close();
    soon(instance.drained()).await;
    assert_eq!(Arc::strong_count(&instance), 1, "nothing in the queue keeps the instance alive");
}

#[tokio::test]
async fn a_job_whose_caller_goes_away_leaves_the_queue() {
    let script = Script::new();
    let instance = instance(&script, |_| {});
    let calls: Vec<_> = (0..5).map(|_| calling(&instance, "ok")).collect();
    until(|| instance.pool.waiting() == 5).await;
    for call in &calls[1..4] {
        call.abort();
    }
    until(|| instance.pool.waiting() == 2 && instance.in_flight() == 2).await;
    let rig = Rig::new().await;
    rig.start_tree(&instance).await.expect("starts");
    for (position, call) in calls.into_iter().enumerate() {
        assert_eq!(soon(call).await.is_ok(), position == 0 || position == 4);
    }
    assert_eq!(script.ran(), 2);
    rig.stop(&instance).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_submit_is_lost_between_parking_and_waking() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = restless(&script, |manifest| {
        manifest.runtime.workers = 3;
        manifest.runtime.limits.queue = 1000;
    });
    rig.start_tree(&instance).await.expect("starts");
    // alone: each finds the thread of the one before on its way to sleep
    for _ in 0..300 {
        soon(call(&instance, "ok")).await.expect("answered");
    }
    // in bursts of every size up to some more than there are workers
    for size in 1..40 {
        let calls: Vec<_> = (0..size).map(|_| calling(&instance, "ok")).collect();
        for call in calls {
            result(call).await.expect("answered");
        }
    }
    assert_eq!(script.ran(), 300 + 39 * 40 / 2);
    rig.stop(&instance).await;
    assert_eq!(script.alive(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_amid_submits_leaves_none_unanswered() {
    for capacity in [1, 2, 64] {
        let (rig, script) = (Rig::new().await, Script::new());
        let instance = restless(&script, |manifest| {
            manifest.runtime.workers = 2;
            manifest.runtime.limits.queue = capacity;
        });
        rig.start_tree(&instance).await.expect("starts");
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let instance = Arc::clone(&instance);
                tokio::spawn(async move {
                    loop {
                        match call(&instance, "ok").await {
                            Ok(_) | Err(CallError::Overloaded { .. }) => tokio::task::yield_now().await,
                            Err(CallError::Closed(_)) => return,
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        until(|| script.ran() > 50).await;
        // the pool alone: the gate is open, as when a stop cuts a drain short
        rig.stop(&instance).await;
        for caller in callers {
            soon(caller).await.expect("every call was answered");
        }
        assert_eq!((script.alive(), instance.pool.waiting()), (0, 0));
    }
}
