//! Starts, failed starts and shutdowns.

use super::*;

#[tokio::test]
async fn children_start_in_order_and_stop_in_reverse() {
    let mut family = Family::permanent(&["a", "b", "c"]);
    let plan = family.plan(Strategy::OneForOne, 1, LONG);
    let (supervisor, _) = Supervisor::spawn(None, Supervisor, plan).await.expect("starts");
    assert_eq!(family.so_far(), ["start a", "start b", "start c"]);
    assert_eq!(running(&supervisor).await, ["a", "b", "c"]);
    shut_down(&supervisor).await;
    assert_eq!(family.so_far(), ["stop c", "stop b", "stop a"]);
}

#[tokio::test]
async fn a_bare_stop_stops_the_children_in_reverse_too() {
    let mut family = Family::permanent(&["a", "b", "c"]);
    let supervisor = family.start(Strategy::OneForOne, 1).await;
    supervisor.stop(None);
    soon(supervisor.wait(None)).await.expect("ends");
    assert_eq!(family.so_far(), ["stop c", "stop b", "stop a"]);
}

#[tokio::test]
async fn a_child_that_does_not_start_at_start_up_stops_those_before_it() {
    let mut family = Family::permanent(&["a", "b", "c", "d"]);
    family.refuse("c", 1);
    let plan = family.plan(Strategy::OneForOne, 5, LONG);
    let error = Supervisor::spawn(None, Supervisor, plan).await.expect_err("does not start").to_string();
    assert!(error.contains("child c does not start"), "{error}");
    assert_eq!(family.so_far(), ["start a", "start b", "refuse c", "stop b", "stop a"]);
    assert_eq!(family.failures(), 0, "a start is no restart");
}

#[tokio::test]
async fn a_child_that_does_not_start_again_counts_and_is_tried_again() {
    let mut family = Family::permanent(&["a", "b"]);
    let supervisor = family.start(Strategy::OneForOne, 3).await;
    family.refuse("a", 2);
    family.end("a", Order::Fail).await;
    assert_eq!(family.next(3).await, ["refuse a", "refuse a", "start a"]);
    assert_eq!(family.failures(), 3);
    assert_eq!(running(&supervisor).await, ["a", "b"]);
}

#[tokio::test]
async fn a_child_that_never_starts_again_exceeds_the_intensity() {
    let mut family = Family::permanent(&["a", "b"]);
    let supervisor = family.start(Strategy::OneForOne, 3).await;
    family.refuse("a", usize::MAX);
    family.end("a", Order::Fail).await;
    soon(supervisor.wait(None)).await.expect("ends");
    assert_eq!(family.so_far(), ["refuse a", "refuse a", "refuse a", "stop b"]);
}

#[tokio::test]
async fn a_group_in_which_one_does_not_start_goes_down_again_as_a_group() {
    let mut family = Family::permanent(&["a", "b", "c"]);
    let supervisor = family.start(Strategy::OneForAll, 5).await;
    family.refuse("b", 1);
    family.end("c", Order::Fail).await;
    let expect = ["stop b", "stop a", "start a", "refuse b", "stop a", "start a", "start b", "start c"];
    assert_eq!(family.next(expect.len()).await, expect);
    assert_eq!(running(&supervisor).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_shutdown_gets_in_between_restart_tries() {
    let mut family = Family::permanent(&["a", "b"]);
    let supervisor = family.start(Strategy::OneForOne, 1000).await;
    family.refuse("b", usize::MAX);
    family.end("b", Order::Fail).await;
    assert_eq!(family.next(4).await, ["refuse b"; 4]);
    shut_down(&supervisor).await;
    let notes = family.so_far();
    assert_eq!(notes.last().map(String::as_str), Some("stop a"), "{notes:?}");
}

#[tokio::test]
async fn a_child_that_ignores_its_shutdown_is_killed_after_its_time() {
    let mut family = Family::permanent(&["a", "b", "c"]);
    family.children[1].shutdown = Duration::from_millis(20);
    let supervisor = family.start(Strategy::OneForOne, 1).await;
    let stubborn = family.actor("b");
    stubborn.send_message(Order::Hang).expect("runs");
    assert_eq!(family.next(1).await, ["hang b"]);
    shut_down(&supervisor).await;
    assert_eq!(stubborn.get_status(), ractor::ActorStatus::Stopped);
    assert_eq!(family.so_far(), ["stop c", "stop a"]);
}

#[tokio::test]
async fn a_stubborn_child_does_not_hold_up_the_restart_of_its_group_for_ever() {
    let mut family = Family::permanent(&["a", "b"]);
    family.children[1].shutdown = Duration::from_millis(20);
    let supervisor = family.start(Strategy::OneForAll, 1).await;
    family.actor("b").send_message(Order::Hang).expect("runs");
    assert_eq!(family.next(1).await, ["hang b"]);
    family.end("a", Order::Fail).await;
    assert_eq!(family.next(2).await, ["start a", "start b"]);
    assert_eq!(running(&supervisor).await, ["a", "b"]);
    assert_eq!(family.failures(), 1, "the kill is no failure of its own");
}
