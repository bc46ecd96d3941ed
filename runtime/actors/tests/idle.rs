//! Threads and VMs exist while there is work.

use std::sync::atomic::Ordering;

use super::*;

#[tokio::test]
async fn an_idle_module_gives_its_vms_and_threads_back() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = restless(&script, |manifest| manifest.runtime.workers = 3);
    rig.start_tree(&instance).await.expect("starts");
    assert_eq!(script.made(), 0, "a VM is made on demand");
    for round in 1..5 {
        call(&instance, "ok").await.expect("answered");
        until(|| script.alive() == 0).await;
        assert_eq!(script.made(), round);
    }
    rig.stop(&instance).await;
}

#[tokio::test]
async fn never_more_threads_than_workers() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.workers = 3).await;
    let calls: Vec<_> = (0..9).map(|_| calling(&instance, "wait")).collect();
    for _ in 0..3 {
        script.begun().await;
    }
    until(|| instance.pool.waiting() == 6).await;
    assert_eq!(script.alive(), 3, "each call that waits has woken all that can serve it");
    for _ in 0..9 {
        script.release();
    }
    for call in calls {
        result(call).await.expect("answered");
    }
    assert_eq!(script.made(), 4, "the first VM and one a worker");
    rig.stop(&instance).await;
}

#[tokio::test]
async fn one_thread_serves_calls_that_come_one_by_one() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.workers = 3).await;
    for _ in 0..50 {
        call(&instance, "ok").await.expect("answered");
        // the thread is back in line before the next call comes
        until(|| instance.pool.idle_threads() > 0).await;
    }
    assert_eq!(script.alive(), 1);
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_worker_thread_has_the_modules_name_and_a_stack_for_deep_values() {
    let (rig, script) = (Rig::new().await, Script::new());
    let instance = rig.start(&script, |manifest| manifest.runtime.limits.memory = 1 << 20).await;
    assert_eq!(call(&instance, "thread").await.expect("answered"), Value::from("vm:sample"));
    // at least 16 MiB: eight times what a thread gets by default
    call(&instance, "deep").await.expect("answered");
    rig.stop(&instance).await;
}

#[tokio::test]
async fn a_thread_whose_worker_went_does_not_wait_for_its_next_job() {
    let (mut rig, script) = (Rig::new().await, Script::new());
    let instance = rig
        .start(&script, |manifest| {
            manifest.runtime.workers = 2;
            manifest.runtime.supervision.strategy = RestartStrategy::OneForAll;
        })
        .await;
    // both have threads; one crashes and the other, idle, is restarted with it
    let held: Vec<_> = (0..2).map(|_| calling(&instance, "wait")).collect();
    script.begun().await;
    script.begun().await;
    script.release();
    script.release();
    for call in held {
        result(call).await.expect("answered");
    }
    until(|| instance.pool.idle_threads() == 2).await;
    assert!(matches!(call(&instance, "panic").await, Err(CallError::Crashed(_))));
    rig.hear(|event| matches!(event, Event::WorkerFailed { .. })).await;
    until(|| script.alive() == 0).await;
    call(&instance, "ok").await.expect("the new ones serve");
    rig.stop(&instance).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn threads_have_the_stack_that_the_manifest_asks_for_and_never_less_than_is_safe() {
    const MIB: usize = 1 << 20;
    // larger ones last, and all larger than those of other tests: the system gives stacks of threads that ended again
    for (asked, expected) in [(Some(1 << 20), 272 * MIB), (Some(400 << 20), 400 * MIB), (None, 512 * MIB)] {
        let (rig, script) = (Rig::new().await, Script::new());
        let instance = restless(&script, |manifest| {
            manifest.runtime.limits.memory = 128 << 20;
            manifest.permissions.resources.memory.max_stack_size = asked;
        });
        let had = |what: &str| {
            let left = script.stack.swap(0, Ordering::SeqCst);
            assert!((expected - MIB..=expected).contains(&left), "{asked:?}, {what}: {left}");
        };
        instance.first_vm().await.expect("a first VM");
        had("the first VM");
        rig.start_tree(&instance).await.expect("starts");
        call(&instance, "ok").await.expect("answered");
        had("a worker");
        rig.stop(&instance).await;
    }
}
