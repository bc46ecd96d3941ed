//! What a crash costs, and what does not count as one.

use super::*;

#[tokio::test]
async fn a_panic_costs_the_call_in_hand_and_no_other() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |_| {}).await;
    let held = calling(&instance, "wait");
    script.begun().await;
    let mut calls = Vec::new();
    for (place, name) in ["ok", "panic", "ok", "ok"].into_iter().enumerate() {
        calls.push(calling(&instance, name));
        until(|| instance.pool.waiting() == place + 1).await;
    }
    script.release();
    result(held).await.expect("answered");
    for (place, call) in calls.into_iter().enumerate() {
        match (place, result(call).await) {
            (1, Err(CallError::Crashed(_))) | (0 | 2 | 3, Ok(_)) => {}
            (place, other) => panic!("call {place}: {other:?}"),
        }
    }
    assert_eq!(rig.failures(), ["worker-0: panicked: told to panic"]);
    until(|| instance.in_flight() == 0).await;
    rig.stop(&instance).await;
}

#[tokio::test]
async fn limit_verdicts_and_script_errors_are_no_crashes() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.supervision.intensity = 0).await;
    call(&instance, "ok").await.expect("answered");
    let before = script.made();
    for _ in 0..20 {
        assert!(matches!(call(&instance, "throw").await, Err(CallError::Script(_))));
    }
    assert_eq!(script.made(), before, "a script error keeps the VM");
    for _ in 0..20 {
        match call(&instance, "limit").await {
            Err(CallError::Script(error)) => assert!(error.retires_vm()),
            other => panic!("a verdict, not {other:?}"),
        }
    }
    call(&instance, "ok").await.expect("serves on");
    assert_eq!(script.made(), before + 20, "a verdict costs the VM");
    assert!(rig.failures().is_empty());
    rig.stop(&instance).await;
    assert_eq!(script.alive(), 0);
}

#[tokio::test]
async fn a_vm_whose_end_panics_is_a_crash_of_its_worker() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = restless(&script, |_| {});
    rig.start_tree(&instance).await.expect("starts");
    call(&instance, "brittle").await.expect("answered before its VM ends");
    rig.hear(|event| matches!(event, Event::WorkerFailed { .. })).await;
    soon(call(&instance, "ok")).await.expect("the next worker serves");
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_failing_init_costs_a_call_each_then_raises_an_error_and_pauses() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.supervision.intensity = 2).await;
    script.fail_init(3);
    let calls: Vec<_> = (0..5).map(|_| calling(&instance, "ok")).collect();
    let Event::CriticalError { reason, .. } = &*rig.hear(critical).await else { unreachable!() };
    assert!(reason.contains("init failed: told to fail"), "{reason}");
    // three were told why; two wait for the tree to come back after its pause, and are served then
    let mut results = Vec::new();
    for call in calls {
        results.push(result(call).await);
    }
    let failed = results.iter().filter(|r| matches!(r, Err(CallError::Script(_)))).count();
    assert_eq!((failed, results.iter().filter(|r| r.is_ok()).count()), (3, 2), "{results:?}");
    rig.stop(&instance).await;
}

#[tokio::test]
async fn an_init_that_always_fails_tries_no_oftener_than_its_intensity_allows() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.supervision.intensity = 2).await;
    script.fail_init(usize::MAX);
    let calls: Vec<_> = (0..50).map(|_| calling(&instance, "ok")).collect();
    rig.hear(critical).await;
    // the one that failed first is heard of before the queue is: nothing runs during the pause
    assert_eq!(usize::MAX - script.failing.load(std::sync::atomic::Ordering::SeqCst), 3);
    assert_eq!(instance.pool.waiting(), 47);
    rig.stop(&instance).await;
    let mut closed = 0;
    for call in calls {
        closed += usize::from(matches!(result(call).await, Err(CallError::Closed(_))));
    }
    assert_eq!(closed, 47, "what waited in the pause was answered by the stop");
    assert_eq!(instance.in_flight(), 0);
}

#[tokio::test]
async fn a_crash_storm_in_one_module_does_not_touch_another() {
    let (rig, wild, calm) = (Rig::new().await, Script::new(), Script::new());
    let stormy = rig.start(&wild, |manifest| manifest.runtime.limits.queue = 8).await;
    let steady = rig.start(&calm, |_| {}).await;
    let storm: Vec<_> = (0..40).map(|_| calling(&stormy, "panic")).collect();
    for _ in 0..200 {
        soon(call(&steady, "ok")).await.expect("untouched");
    }
    rig.stop(&stormy).await;
    for call in storm {
        assert!(result(call).await.is_err());
    }
    call(&steady, "ok").await.expect("untouched");
    assert_eq!((calm.ran(), calm.made()), (201, 2), "the first VM and one that serves");
    rig.stop(&steady).await;
}

#[tokio::test]
async fn one_for_all_restarts_the_others_without_losing_what_they_hold() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig
        .start(&script, |manifest| {
            manifest.runtime.workers = 3;
            manifest.runtime.supervision.strategy = RestartStrategy::OneForAll;
        })
        .await;
    let held: Vec<_> = (0..2).map(|_| calling(&instance, "wait")).collect();
    script.begun().await;
    script.begun().await;
    assert!(matches!(call(&instance, "panic").await, Err(CallError::Crashed(_))));
    // the new workers serve while the threads of the old ones finish
    call(&instance, "ok").await.expect("answered");
    assert_eq!(rig.failures().len(), 1);
    script.release();
    script.release();
    for call in held {
        result(call).await.expect("finished by a thread whose worker went");
    }
    rig.stop(&instance).await;
    assert_eq!(script.alive(), 0);
}

#[tokio::test]
async fn killed_workers_lose_neither_the_calls_in_hand_nor_those_on_their_way() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.workers = 2).await;
    let tree = rig.modules.get_children().pop().expect("a tree");
    let held = calling(&instance, "wait");
    script.begun().await;
    let on_its_way = calling(&instance, "ok");
    // submitted, and its wake-up perhaps sent and not yet read
    until(|| instance.pool.waiting() == 1).await;
    let children = tree.get_children();
    for child in &children {
        child.kill();
    }
    for child in children {
        soon(child.wait(None)).await.expect("ends");
    }
    result(on_its_way).await.expect("served by those that came after");
    script.release();
    result(held).await.expect("finished by its thread");
    // two workers and the prober
    for _ in 0..3 {
        rig.hear(|event| matches!(event, Event::WorkerFailed { .. })).await;
    }
    rig.stop(&instance).await;
    assert_eq!((script.alive(), instance.in_flight()), (0, 0));
}
