//! What a supervisor does when a child ends.

use super::*;

/// The middle one of three ends; `expect` is what happens to all of them.
async fn check(strategy: Strategy, restart: Restart, order: Order, expect: &str) {
    let mut family = Family::new(&[("a", Restart::Permanent), ("b", restart), ("c", Restart::Permanent)]);
    let supervisor = family.start(strategy, 5).await;
    family.end("b", order).await;
    let mut up = settled(&supervisor).await;
    up.insert(0, "up".into());
    let notes = format!("{}, {}", family.so_far().join(", "), up.join(" "));
    assert_eq!(notes.trim_start_matches(", "), expect, "{strategy:?}, {restart:?}");
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn a_child_that_failed_comes_back_with_those_its_strategy_names_unless_temporary() {
    for order in [|| Order::Fail, || Order::Panic, || Order::Kill] {
        for restart in [Restart::Permanent, Restart::Transient] {
            check(Strategy::OneForOne, restart, order(), "start b, up a b c").await;
            check(Strategy::RestForOne, restart, order(), "stop c, start b, start c, up a b c").await;
            check(Strategy::OneForAll, restart, order(), "stop c, stop a, start a, start b, start c, up a b c").await;
        }
        for strategy in [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll] {
            check(strategy, Restart::Temporary, order(), "up a c").await;
        }
    }
}

#[tokio::test]
async fn a_child_that_ended_normally_or_for_a_shutdown_comes_back_only_when_permanent() {
    let permanent = Restart::Permanent;
    for order in [|| Order::End, || Order::Shut] {
        check(Strategy::OneForOne, permanent, order(), "stop b, start b, up a b c").await;
        check(Strategy::RestForOne, permanent, order(), "stop b, stop c, start b, start c, up a b c").await;
        let all = "stop b, stop c, stop a, start a, start b, start c, up a b c";
        check(Strategy::OneForAll, permanent, order(), all).await;
        for restart in [Restart::Transient, Restart::Temporary] {
            for strategy in [Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll] {
                check(strategy, restart, order(), "stop b, up a c").await;
            }
        }
    }
}

#[tokio::test]
async fn a_killed_child_counts_as_failed() {
    let mut family = Family::new(&[("a", Restart::Transient)]);
    let supervisor = family.start(Strategy::OneForOne, 5).await;
    let actor = family.actor("a");
    actor.kill();
    soon(actor.wait(None)).await.expect("ends");
    assert_eq!(settled(&supervisor).await, ["a"]);
    assert_eq!(family.so_far(), ["start a"]);
    assert_eq!(family.failures(), 1);
}

#[tokio::test]
async fn a_temporary_child_that_went_down_with_the_others_stays_down() {
    let mut family = Family::new(&[("a", Restart::Permanent), ("b", Restart::Temporary), ("c", Restart::Transient)]);
    let supervisor = family.start(Strategy::OneForAll, 5).await;
    family.end("a", Order::Fail).await;
    assert_eq!(settled(&supervisor).await, ["a", "c"]);
    assert_eq!(family.so_far(), ["stop c", "stop b", "start a", "start c"]);
}

#[tokio::test]
async fn under_rest_for_one_a_temporary_child_stays_down_only_if_it_rests_on_the_one_that_failed() {
    let ids =
        [("a", Restart::Permanent), ("b", Restart::Temporary), ("c", Restart::Transient), ("d", Restart::Temporary)];
    let mut family = Family::new(&ids);
    let supervisor = family.start(Strategy::RestForOne, 5).await;
    family.end("c", Order::Fail).await;
    assert_eq!(family.next(2).await, ["stop d", "start c"]);
    assert_eq!(settled(&supervisor).await, ["a", "b", "c"]);
    family.end("a", Order::Fail).await;
    assert_eq!(family.next(4).await, ["stop c", "stop b", "start a", "start c"]);
    assert_eq!((settled(&supervisor).await, family.failures()), (vec!["a".to_owned(), "c".to_owned()], 2));
}

#[tokio::test]
async fn a_child_is_never_up_before_the_one_it_rests_on() {
    let mut family = Family::permanent(&["a", "b", "c", "d"]);
    let supervisor = family.start(Strategy::RestForOne, 5).await;
    // uses up the restart without a wait
    family.end("d", Order::Fail).await;
    assert_eq!(family.next(1).await, ["start d"]);
    // c and d wait to be started, and then b, on which they rest, fails too
    family.end("c", Order::Fail).await;
    family.end("b", Order::Fail).await;
    let mut notes = Vec::new();
    while settled(&supervisor).await.len() < 4 {
        notes.extend(family.next(1).await);
    }
    notes.extend(family.so_far());
    assert_eq!(notes[notes.len() - 3..], ["start b", "start c", "start d"], "{notes:?}");
}

#[tokio::test]
async fn intensity_counts_the_failures_and_not_the_children_that_go_down_with_them() {
    let restarts = [
        (Strategy::OneForOne, vec!["start b"]),
        (Strategy::RestForOne, vec!["stop c", "start b", "start c"]),
        (Strategy::OneForAll, vec!["stop c", "stop a", "start a", "start b", "start c"]),
    ];
    for (strategy, restarted) in restarts {
        let mut family = Family::permanent(&["a", "b", "c"]);
        let supervisor = family.start(strategy, 3).await;
        for _ in 0..3 {
            family.end("b", Order::Fail).await;
            assert_eq!(family.next(restarted.len()).await, restarted, "{strategy:?}");
        }
        assert_eq!((running(&supervisor).await.len(), family.failures()), (3, 3), "just not reached: {strategy:?}");
        family.end("b", Order::Fail).await;
        soon(supervisor.wait(None)).await.expect("ends");
        assert_eq!(family.so_far(), ["stop c", "stop a"], "{strategy:?}");
        assert_eq!(family.failures(), 4);
    }
}

#[tokio::test]
async fn a_failure_counts_for_a_period_and_no_longer() {
    let mut family = Family::permanent(&["a"]);
    let seconds = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&seconds);
    let clock: Clock = Arc::new(move || Duration::from_secs(told.load(Ordering::SeqCst)));
    let plan = Plan { clock, ..family.plan(Strategy::OneForOne, 2, Duration::from_secs(10)) };
    let (supervisor, _) = Supervisor::spawn(None, Supervisor, plan).await.expect("starts");
    assert_eq!(family.next(1).await, ["start a"]);
    // at 0 s, 6 s and 11 s: never three within ten seconds
    for pause in [6, 5, 0] {
        family.end("a", Order::Fail).await;
        assert_eq!(family.next(1).await, ["start a"]);
        seconds.fetch_add(pause, Ordering::SeqCst);
    }
    assert_eq!(running(&supervisor).await, ["a"]);
    // those of 6 s and 11 s still count
    seconds.fetch_add(4, Ordering::SeqCst);
    family.end("a", Order::Fail).await;
    soon(supervisor.wait(None)).await.expect("gives up");
    assert_eq!((family.so_far(), family.failures()), (Vec::new(), 4));
}

#[tokio::test]
async fn intensity_just_not_reached_keeps_the_supervisor() {
    let mut family = Family::permanent(&["a", "b"]);
    let supervisor = family.start(Strategy::OneForOne, 3).await;
    for id in ["a", "b", "a"] {
        family.end(id, Order::Fail).await;
        assert_eq!(family.next(1).await, [format!("start {id}")]);
    }
    assert_eq!(running(&supervisor).await, ["a", "b"]);
    assert_eq!(family.failures(), 3);
}

#[tokio::test]
async fn intensity_exceeded_stops_the_others_in_reverse_order_and_fails_the_supervisor() {
    let mut family = Family::permanent(&["a", "b", "c"]);
    let supervisor = family.start(Strategy::OneForOne, 1).await;
    family.end("b", Order::Fail).await;
    assert_eq!(family.next(1).await, ["start b"]);
    family.end("b", Order::Fail).await;
    soon(supervisor.wait(None)).await.expect("ends");
    assert_eq!(family.so_far(), ["stop c", "stop a"]);
}

#[tokio::test]
async fn an_intensity_of_zero_gives_up_at_the_first_failure() {
    let mut family = Family::permanent(&["a"]);
    let supervisor = family.start(Strategy::OneForOne, 0).await;
    family.end("a", Order::Panic).await;
    soon(supervisor.wait(None)).await.expect("ends");
    assert!(family.so_far().is_empty());
}

#[tokio::test]
async fn intensity_resets_after_the_period() {
    let mut family = Family::permanent(&["a"]);
    // a period so short that it is over before the next failure
    let supervisor = family.start_for(Strategy::OneForOne, 1, Duration::ZERO).await;
    for _ in 0..20 {
        family.end("a", Order::Fail).await;
        assert_eq!(family.next(1).await, ["start a"]);
    }
    assert_eq!(running(&supervisor).await, ["a"]);
}

#[tokio::test]
async fn a_supervisor_that_gives_up_is_a_failed_child_of_its_parent() {
    let mut family = Family::permanent(&["a", "b"]);
    let (inner, failed) =
        (Arc::new(family.plan(Strategy::OneForOne, 1, LONG).children), Arc::new(Mutex::new(Vec::new())));
    let failures = Arc::clone(&failed);
    let plan = Plan {
        clock: clock(),
        children: vec![ChildSpec {
            id: "inner".into(),
            restart: Restart::Transient,
            shutdown: SOON,
            start: Arc::new(move |parent| {
                let children = inner.to_vec();
                Box::pin(async move {
                    let intensity = Intensity { intensity: 1, period: LONG };
                    let on_failure: OnFailure = Box::new(|_, _| {});
                    let plan = Plan { children, strategy: Strategy::OneForOne, intensity, on_failure, clock: clock() };
                    Ok(Supervisor::spawn_linked(None, Supervisor, plan, parent).await?.0.get_cell())
                })
            }),
        }],
        strategy: Strategy::OneForOne,
        intensity: Intensity { intensity: 1, period: LONG },
        on_failure: Box::new(move |id, reason| failures.lock().unwrap().push(format!("{id}: {reason}"))),
    };
    let (outer, _) = Supervisor::spawn(None, Supervisor, plan).await.expect("starts");
    assert_eq!(family.next(2).await, ["start a", "start b"]);
    family.end("a", Order::Fail).await;
    assert_eq!(family.next(1).await, ["start a"]);
    family.end("a", Order::Fail).await;
    assert_eq!(family.next(3).await, ["stop b", "start a", "start b"]);
    assert_eq!(*failed.lock().unwrap(), ["inner: child a failed (told to fail) after 1 restarts within 3600s"]);
    // the parent's intensity holds over its child's
    for _ in 0..2 {
        family.end("b", Order::Fail).await;
        family.next(1).await;
    }
    soon(outer.wait(None)).await.expect("gives up too");
}
