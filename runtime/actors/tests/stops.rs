//! Drains, stops, and starts that come too late.

use super::*;

#[tokio::test]
async fn a_drain_waits_for_those_inside_and_refuses_new_ones() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |_| {}).await;
    let running = calling(&instance, "wait");
    script.begun().await;
    let waiting = calling(&instance, "ok");
    until(|| instance.pool.waiting() == 1).await;
    instance.close();
    assert!(matches!(call(&instance, "ok").await, Err(CallError::Closed(_))));
    assert_eq!(instance.in_flight(), 2);
    let drained = {
        let instance = Arc::clone(&instance);
        tokio::spawn(async move { instance.drained().await })
    };
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    script.release();
    result(running).await.expect("finished");
    result(waiting).await.expect("finished");
    soon(drained).await.expect("ends");
    // the farewell comes after the gate is closed
    let context = instance.context("farewell", SOON);
    let farewell = instance.call_after_close(Handler::Service("ok".into()), Vec::new(), context);
    soon(farewell).await.expect("answered");
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_stop_ends_idle_threads_at_once_and_answers_what_waits() {
    for (workers, queue) in [(1, 1), (4, 1), (4, 64)] {
        let (rig, script) = (Rig::new().await, Script::new());
        let instance = rig
            .start(&script, |manifest| {
                manifest.runtime.workers = workers;
                manifest.runtime.limits.queue = queue;
            })
            .await;
        // every worker is made to have a thread, then all but one are idle, and one holds a job
        let mut held = Vec::new();
        for _ in 0..workers {
            held.push(calling(&instance, "wait"));
            script.begun().await;
        }
        let waiting = calling(&instance, "ok");
        until(|| instance.pool.waiting() == 1).await;
        for _ in 1..workers {
            script.release();
        }
        until(|| script.ran() == workers + usize::from(workers > 1)).await;
        let stop = rig.stop(&instance);
        let finish = async {
            until(|| instance.pool.is_closed()).await;
            script.release();
        };
        let started = Instant::now();
        tokio::join!(stop, finish);
        assert!(started.elapsed() < Duration::from_secs(2), "did not wait for idle threads to park");
        assert_eq!(script.alive(), 0, "every thread has ended");
        for call in held {
            result(call).await.expect("what was held is finished");
        }
        match result(waiting).await {
            Err(CallError::Closed(_)) if workers == 1 => {}
            Ok(_) if workers > 1 => {}
            other => panic!("{other:?}"),
        }
        assert!(matches!(call(&instance, "ok").await, Err(CallError::Closed(_))));
    }
}

#[tokio::test]
async fn a_stop_leaves_a_script_that_runs_on_to_its_limits() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |_| {}).await;
    let held = calling(&instance, "wait");
    script.begun().await;
    rig.stop(&instance).await;
    assert_eq!(script.alive(), 1);
    script.release();
    result(held).await.expect("its caller is answered all the same");
    soon(instance.pool.ended()).await;
    assert_eq!(script.alive(), 0);
    // neither thread nor tree keeps the instance
    until(|| Arc::strong_count(&instance) == 1).await;
}

#[tokio::test]
async fn a_start_after_a_stop_starts_nothing() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |_| {}).await;
    rig.stop(&instance).await;
    assert!(matches!(rig.start_tree(&instance).await, Err(StartError::Actors { .. })));
    rig.stop(&instance).await;
    assert!(matches!(call(&instance, "ok").await, Err(CallError::Closed(_))));
}

#[tokio::test]
async fn a_tree_that_was_stopped_in_its_pause_does_not_start_again() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.supervision.intensity = 0).await;
    assert!(matches!(call(&instance, "panic").await, Err(CallError::Crashed(_))));
    rig.hear(critical).await;
    rig.stop(&instance).await;
    // the pause does not keep the instance alive
    until(|| Arc::strong_count(&instance) == 1).await;
    // what the timer will say
    rig.modules.send_message(ModulesMsg::Again(Arc::downgrade(&instance), 1)).expect("runs");
    assert!(rig.start_tree(&instance).await.is_err(), "and this is handled after it");
    assert!(rig.modules.get_children().is_empty());
}

#[tokio::test]
async fn a_stop_during_a_back_off_starts_no_worker() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.supervision.intensity = 1000).await;
    script.fail_init(usize::MAX);
    let calls: Vec<_> = (0..20).map(|_| calling(&instance, "ok")).collect();
    for _ in 0..5 {
        rig.hear(|event| matches!(event, Event::WorkerFailed { .. })).await;
    }
    rig.stop(&instance).await;
    for call in calls {
        assert!(matches!(result(call).await, Err(CallError::Script(_) | CallError::Closed(_))));
    }
    assert!(rig.modules.get_children().is_empty());
    until(|| Arc::strong_count(&instance) == 1).await;
}

#[tokio::test]
async fn the_end_of_the_supervisor_of_modules_ends_threads_and_answers_what_waits() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |_| {}).await;
    let held = calling(&instance, "wait");
    script.begun().await;
    let waiting = calling(&instance, "ok");
    until(|| instance.pool.waiting() == 1).await;
    rig.modules.stop(None);
    assert!(matches!(result(waiting).await, Err(CallError::Closed(_))));
    script.release();
    result(held).await.expect("finished");
    soon(instance.pool.ended()).await;
    assert_eq!(script.alive(), 0);
}

#[tokio::test]
async fn a_stop_waits_for_a_first_vm_that_is_on_its_way_up() {
    let (rig, script) = (Rig::new().await, Script::with(&[Handler::Init]));
    script.slow_init();
    let instance = instance(&script, |_| {});
    let starting = {
        let instance = Arc::clone(&instance);
        tokio::spawn(async move { instance.first_vm().await })
    };
    script.begun().await;
    // whoever started it may have given it up
    starting.abort();
    assert!(soon(starting).await.expect_err("it was given up").is_cancelled());
    let stop = rig.stop(&instance);
    let finish = async {
        until(|| instance.pool.is_closed()).await;
        assert_eq!(script.alive(), 1);
        script.release();
    };
    tokio::join!(stop, finish);
    assert_eq!((script.alive(), Arc::strong_count(&instance)), (0, 1), "its thread has ended");
    let late = instance.first_vm().await.expect_err("it was stopped");
    assert!(matches!(late, StartError::FirstVm { source: CallError::Closed(_), .. }), "{late:?}");
}
