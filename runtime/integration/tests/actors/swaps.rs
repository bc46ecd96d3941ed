//! What becomes of actors when the version changes that has their slot.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;

use super::*;

/// Counts what each sender sent, and what did not come in its order.
const SENDERS: &str = r#"
return {
  services = {
    ["shop.send"] = function(args) actors.send("counter", args) end,
    ["shop.call"] = function(args) return actors.call("counter", "get") end,
  },
  actors = { counter = {
    init = function() return { sum = 0, wrong = 0, last = {} } end,
    handle = function(state, message, ctx)
      if message == "get" then return { reply = { state = state, version = ctx.version } } end
      if message.number ~= (state.last[message.sender] or 0) + 1 then state.wrong += 1 end
      state.last[message.sender] = message.number
      state.sum += 1
      return { state = state }
    end,
  }, once = { handle = function() end }, front = { handle = function() end } },
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_each_sender_are_handled_once_and_in_order_while_a_hundred_versions_follow() {
    let world = Arc::new(World::new().await);
    let mut serving = world.serve(&manifest("1.0.0", ""), SENDERS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = ["one", "two", "three", "four"]
        .map(|sender| {
            let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let message = Value::map([("sender", Value::from(sender)), ("number", Value::Int(number))]);
                    // a script that sends may itself be in the version that goes
                    while world.call("shop", "shop.send", message.clone()).await.is_err() {
                        tokio::task::yield_now().await;
                    }
                }
                number
            })
        })
        .into_iter()
        .collect();
    for swap in 1..=100 {
        let next = world.start(&manifest(&format!("1.0.{swap}"), ""), SENDERS).await;
        world.publish(&next).await;
        world.rig.retire(&serving).await;
        serving = next;
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.expect("it sent everything");
    }
    let state = get(&world).await;
    assert_eq!((of_state(&state, "sum"), of_state(&state, "wrong")), (Some(sent), Some(0)));
    assert_eq!(text(&state, "version"), "1.0.100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_hand_ends_in_its_version_and_the_next_one_runs_in_the_new_one() {
    let (world, gate) = World::gated().await;
    let world = Arc::new(world);
    let text = |version: &str| manifest(version, "").replace("cpuTime: 50ms", "wallTime: 20s");
    let old = world.serve(&text("1.0.0"), SCRIPT).await;
    let caller = Arc::clone(&world);
    let in_hand = tokio::spawn(async move { caller.call("shop", "shop.call", asks("counter", "wait")).await });
    gate.reached(1).await;
    let new = world.serve(&text("2.0.0"), SCRIPT).await;
    world.call("shop", "shop.send", asks("counter", 1)).await.expect("it waits");
    world.rig.close(&old);
    gate.open(1);
    assert_eq!(in_hand.await.expect("no panic").expect("a reply"), Value::from("1.0.0"));
    let state = get(&world).await;
    assert_eq!((of_state(&state, "sum"), self::text(&state, "version")), (Some(1), &*new.key.version));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_traffic_shifts_the_candidate_calls_the_actors_of_the_baseline() {
    let world = World::new().await;
    let (old, new) = (shop(&world, "1.0.0").await, world.start(&manifest("2.0.0", ""), SCRIPT).await);
    world.shift(&old, &new, 50).await.expect("the same routes");
    // bucket 0 is the candidate's
    assert_eq!(text(&get(&world).await, "version"), "1.0.0");
    world.publish(&new).await;
    assert_eq!(text(&get(&world).await, "version"), "2.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_the_state_over_by_upgrade() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    tried(&world, "counter", 1).await;
    let upgrade =
        "upgrade = function(state, from, actor) state.from = from state.actor = actor return state end, actors";
    world.serve(&manifest("2.0.0", ""), &SCRIPT.replace("actors =", &format!("{upgrade} ="))).await;
    for _ in 0..2 {
        let state = get(&world).await.get("state").cloned().expect("a state");
        assert_eq!((text(&state, "from"), text(&state, "actor"), text(&state, "made")), ("1.0.0", "counter", "1.0.0"));
        assert_eq!(state.get("sum"), Some(&Value::Int(1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_does_not_fit_is_kept_for_a_version_that_takes_it() {
    let world = World::new().await;
    let old = shop(&world, "1.0.0").await;
    tried(&world, "counter", 1).await;
    let mut events = world.events.subscribe();
    let refuses = "upgrade = function() error(\"too old\") end, actors";
    world.serve(&manifest("2.0.0", ""), &SCRIPT.replace("actors =", &format!("{refuses} ="))).await;
    let failed = tried(&world, "counter", 2).await;
    assert_eq!(text(&failed, "kind"), "failed");
    assert!(text(&failed, "message").contains("too old"), "{failed:?}");
    loop {
        if let Event::ActorFailed { next, reason, .. } = &*events.recv().await.expect("an event") {
            assert_eq!(*next, "state kept");
            assert!(reason.contains("upgrade from 1.0.0"), "{reason}");
            break;
        }
    }
    world.call("shop", "shop.send", asks("counter", 2)).await.expect("it waits");
    world.publish(&old).await;
    let state = loop {
        let state = tried(&world, "counter", "get").await;
        if let Some(state) = state.get("result") {
            break state.clone();
        }
    };
    assert_eq!((of_state(&state, "sum"), of_state(&state, "wrong")), (Some(2), None), "{state:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_end_with_their_slot_and_begin_anew_with_the_next() {
    let (world, gate) = World::gated().await;
    let world = Arc::new(world);
    let text_of = manifest("1.0.0", "").replace("cpuTime: 50ms", "wallTime: 20s").replace("workers: 1", "workers: 4");
    let instance = world.serve(&text_of, SCRIPT).await;
    tried(&world, "counter", 1).await;
    world.call("shop", "shop.send", asks("counter", "wait")).await.expect("it is taken");
    gate.reached(1).await;
    // the call that sent the message is over as well
    until(|| instance.in_flight() == 1).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { tried(&world, "counter", "get").await })
        })
        .collect();
    until(|| instance.in_flight() == 4).await;
    world.remove("shop");
    for waiting in futures::stream::iter(waiting).then(|one| one).collect::<Vec<_>>().await {
        assert_eq!(text(&waiting.expect("no panic"), "kind"), "not-found");
    }
    gate.open(1);
    until(|| instance.in_flight() == 0).await;
    // the same instance is routed again: its slot is another one
    world.publish(&instance).await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_first_version_sends_before_it_serves_waits_for_it() {
    let world = World::new().await;
    let early = SCRIPT.replace(
        "return {\n  services",
        "return {\n  warmup = function() actors.send(\"counter\", 1) return { pcall(actors.call, \"counter\", \"get\") } end,\n  services",
    );
    let instance = world.start(&manifest("1.0.0", ""), &early).await;
    let call = instance.context("warmup", Duration::from_secs(5));
    let called = instance.call(replug_scripts::Handler::Warmup, Vec::new(), call).await.expect("it warms up");
    let Value::List(called) = called else { panic!("{called:?}") };
    assert_eq!(called[0], Value::Bool(false));
    assert_eq!(called[1].get("kind"), Some(&Value::from("not-found")));
    world.publish(&instance).await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_versions_leave_nothing_behind() {
    let world = World::new().await;
    let mut serving = shop(&world, "1.0.0").await;
    let mut left = Vec::new();
    for number in 0..1000 {
        tried(&world, "counter", number + 1).await;
        let next = world.start(&manifest(&format!("1.1.{number}"), ""), SCRIPT).await;
        world.publish(&next).await;
        world.rig.retire(&serving).await;
        left.push(Arc::downgrade(&serving));
        serving = next;
    }
    assert_eq!(of_state(&get(&world).await, "sum"), Some(1000));
    until(|| left.iter().all(|instance| instance.strong_count() == 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_version_that_never_serves_sent_ends_with_it() {
    let world = World::new().await;
    let early = SCRIPT.replace(
        "return {\n  services",
        "return {\n  warmup = function() actors.send(\"counter\", 1) timers.every(10, \"shop.beat\") end,\n  services",
    );
    let instance = world.start(&manifest("1.0.0", ""), &early).await;
    let call = instance.context("warmup", Duration::from_secs(5));
    instance.call(replug_scripts::Handler::Warmup, Vec::new(), call).await.expect("it warms up");
    world.rig.retire(&instance).await;
    let gone = Arc::downgrade(&instance);
    drop(instance);
    until(|| gone.strong_count() == 0).await;
    shop(&world, "1.0.1").await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(0), "nothing is left of the message");
}

/// 1.0.0, which takes no state back from 2.0.0.
async fn takes_nothing_back(world: &World) -> Arc<Instance> {
    let refuses =
        "upgrade = function(state, from) if from == \"2.0.0\" then error(\"too new\") end return state end, actors =";
    world.serve(&manifest("1.0.0", ""), &SCRIPT.replace("actors =", refuses)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_not_taken_back_is_the_one_of_before_the_swap_and_what_is_lost_by_that_is_told() {
    let world = World::new().await;
    let old = takes_nothing_back(&world).await;
    tried(&world, "counter", 1).await;
    world.serve(&manifest("2.0.0", ""), SCRIPT).await;
    for message in 2..5 {
        tried(&world, "counter", message).await;
    }
    assert_eq!(of_state(&get(&world).await, "sum"), Some(4));
    let mut events = world.events.subscribe();
    world.publish(&old).await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(1));
    loop {
        if let Event::ActorFailed { next, reason, .. } = &*events.recv().await.expect("an event") {
            assert_eq!(*next, "state of before the swap");
            assert!(reason.contains("too new") && reason.contains("without 4 messages since"), "{reason}");
            break;
        }
    }
    tried(&world, "counter", 2).await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(2), "it goes on from there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_a_version_is_confirmed_nothing_of_before_is_kept() {
    let world = World::new().await;
    let old = takes_nothing_back(&world).await;
    let large: Value = "x".repeat(1 << 20).as_str().into();
    tried(&world, "once", large).await;
    tried(&world, "counter", 1).await;
    let next = world.serve(&manifest("2.0.0", ""), SCRIPT).await;
    tried(&world, "counter", 2).await;
    let before = next.account().heap.values();
    world.router.settles("shop");
    // who answers may still be about to rest
    until(|| next.account().heap.values() < before).await;
    world.publish(&old).await;
    let refused = tried(&world, "counter", "get").await;
    assert!(text(&refused, "message").contains("too new"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_at_work_lets_what_was_before_go_once_it_rests() {
    let (world, gate) = World::gated().await;
    shop(&world, "1.0.0").await;
    tried(&world, "counter", 1).await;
    let next = shop(&world, "2.0.0").await;
    tried(&world, "counter", 2).await;
    let before = next.account().heap.values();
    world.call("shop", "shop.send", asks("counter", "wait")).await.expect("it is taken");
    gate.reached(1).await;
    world.router.settles("shop");
    gate.open(1);
    // no message comes after it
    until(|| next.account().heap.values() < before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_that_a_confirmed_version_does_not_declare_end_and_those_that_it_adds_begin() {
    let world = World::new().await;
    let old = shop(&world, "1.0.0").await;
    tried(&world, "counter", 1).await;
    tried(&world, "once", 1).await;
    let changed = manifest("2.0.0", "").replace("{ id: once, restart: temporary, mailbox: 2 }", "{ id: fresh }");
    let fresh = "fresh = { init = function() return 40 end, handle = function(state) return { state = state + 1, reply = state + 1 } end }, counter =";
    world.serve(&changed, &SCRIPT.replacen("counter =", fresh, 1)).await;
    assert_eq!(tried(&world, "fresh", 1).await.get("result"), Some(&Value::Int(41)));
    assert_eq!(text(&tried(&world, "once", 1).await, "kind"), "not-found");
    // until then a return finds what the actor knew
    world.publish(&old).await;
    assert_eq!(tried(&world, "once", 1).await.get("result"), Some(&Value::Int(2)));
    world.serve(&changed.replace("2.0.0", "2.0.1"), &SCRIPT.replacen("counter =", fresh, 1)).await;
    world.router.settles("shop");
    world.publish(&old).await;
    assert_eq!(tried(&world, "once", 1).await.get("result"), Some(&Value::Int(1)), "it begins anew");
    assert_eq!(of_state(&get(&world).await, "sum"), Some(1), "and the others went on");
}
