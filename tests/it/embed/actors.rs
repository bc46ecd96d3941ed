//! Script actors under a load while their versions change, each in another language and with another state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use replug::{ActivationStrategy, Event};
use serde_json::{Value, json};

use super::Embedded;
use crate::support::Module;

const SENDERS: u64 = 4;
const SWAPS: usize = 100;

const MANIFEST: &str = "capabilities: [{ id: counter }]\nruntime: { workers: 2, limits: { queue: 256 }, actors: [{ id: counter, mailbox: 4096 }] }";

/// Counts in `applied`, `wrong` and `last`; what it takes over is of the other form.
const LUA: &str = r#"return {
  services = {
    ["counter.add"] = function(args) actors.send("counter", args) end,
    ["counter.state"] = function() return actors.call("counter", "state", 20000) end,
  },
  upgrade = function(state, from)
    return { applied = state.count, wrong = state.faults, last = state.seen, moves = state.moves + 1, from = from }
  end,
  actors = { counter = {
    init = function() return { applied = 0, wrong = 0, last = {}, moves = 0 } end,
    handle = function(state, message)
      if message == "state" then return { reply = state } end
      if message.number ~= (state.last[message.sender] or 0) + 1 then state.wrong += 1 end
      state.last[message.sender] = message.number
      state.applied += 1
      return { state = state }
    end,
  } },
}"#;

/// The same in `count`, `faults` and `seen`.
const RHAI: &str = r#"#{
  services: #{
    "counter.add": |args| { actors.send("counter", args); },
    "counter.state": || actors.call("counter", "state", 20000),
  },
  upgrade: |state, from, actor| {
    #{ count: state.applied, faults: state.wrong, seen: state.last, moves: state.moves + 1, from: from }
  },
  actors: #{ counter: #{
    init: |ctx| #{ count: 0, faults: 0, seen: #{}, moves: 0 },
    handle: |state, message, ctx| {
      if message == "state" { return #{ reply: state }; }
      let before = state.seen[message.sender];
      if message.number != (if before == () { 0 } else { before }) + 1 { state.faults += 1; }
      state.seen[message.sender] = message.number;
      state.count += 1;
      #{ state: state }
    },
  } },
}"#;

/// Messages between two swaps, at least: ten thousand for each hundred.
const BETWEEN: u64 = 100;

/// Sends without a pause until it is told to stop, and counts in `sent`; how many it sent itself.
async fn send(world: Arc<Embedded>, sender: u64, (sent, stop): (Arc<AtomicU64>, Arc<AtomicBool>)) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let message = json!({ "sender": format!("s{sender}"), "number": number });
        // a full mailbox refuses it: it was not sent
        while let Err(refused) = world.runtime.call::<Value>("counter", "add", &message).await {
            assert!(refused.to_string().contains("mailbox is full"), "{refused}");
            tokio::task::yield_now().await;
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_applied_once_and_in_its_senders_order_over_a_hundred_swaps_between_two_languages() {
    let world = Embedded::new(|builder| builder).await;
    world.install(&Module::new("counter", "1.0.0").manifest(MANIFEST).lua(LUA)).await;
    world.register(&Module::new("counter", "2.0.0").manifest(MANIFEST).rhai(RHAI)).await;
    let state: Value = world.runtime.call("counter", "state", &json!({})).await.expect("it begins");
    assert_eq!(state["moves"], 0);
    let (world, counted, stop) = (Arc::new(world), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let sends = |sender| send(Arc::clone(&world), sender, (Arc::clone(&counted), Arc::clone(&stop)));
    let senders: Vec<_> = (0..SENDERS).map(|sender| tokio::spawn(sends(sender))).collect();
    for version in ["2.0.0", "1.0.0"].into_iter().cycle().take(SWAPS) {
        let activation = world.runtime.activate(format!("counter@{version}"));
        let report = activation.strategy(ActivationStrategy::Instant).await.expect("it is activated");
        report.ensure_serves().expect("it serves");
        assert_eq!(report.lost, 0);
        world.runtime.confirm("counter").await.expect("it is confirmed");
        let until = counted.load(Ordering::Relaxed) + BETWEEN;
        while counted.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for sender in senders {
        sent += sender.await.expect("a sender");
    }
    let state: Value = world.runtime.call("counter", "state", &json!({})).await.expect("the state");
    // an even number of swaps: it is of the first form again
    assert_eq!((&state["applied"], &state["wrong"]), (&json!(sent), &json!(0)), "{state}");
    assert_eq!((&state["moves"], &state["from"]), (&json!(SWAPS), &json!("2.0.0")), "{state}");
    let world = Arc::into_inner(world).expect("the senders have ended");
    tokio::time::timeout(Duration::from_secs(20), world.end()).await.expect("it stops");
}

/// The second version, whose other actor cannot begin: all of them go with it.
const BRITTLE: &str = "capabilities: [{ id: counter }]
runtime:
  workers: 2
  supervision: { strategy: one_for_all, intensity: 2 }
  actors: [{ id: counter, mailbox: 4096 }, { id: fresh }]
lifecycle:
  activation: { trafficShifting: { interval: 20ms }, confirmWindow: 1h }
  rollback: { notificationChannels: [events] }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_whose_actors_give_up_while_it_is_provisional_is_returned_from_with_the_states_of_before() {
    let world = Embedded::new(|builder| builder).await;
    world.install(&Module::new("counter", "1.0.0").manifest(MANIFEST).lua(LUA)).await;
    let add = |number: u64| json!({ "sender": "one", "number": number });
    for number in 1..=3 {
        world.runtime.call::<Value>("counter", "add", &add(number)).await.expect("it is queued");
    }
    let fresh = RHAI
        .replace("actors: #{ counter:", "actors: #{ fresh: #{ init: || throw \"no ink\", handle: || () }, counter:")
        .replace("services: #{", "services: #{ \"counter.fresh\": || { actors.send(\"fresh\", 1); },");
    world.register(&Module::new("counter", "2.0.0").manifest(BRITTLE).rhai(&fresh)).await;
    let mut events = world.runtime.events();
    let report = world.runtime.activate("counter@2.0.0").await.expect("it runs");
    report.ensure_serves().expect("it serves");
    world.runtime.call::<Value>("counter", "add", &add(4)).await.expect("it is queued");
    let state: Value = world.runtime.call("counter", "state", &json!({})).await.expect("the state");
    assert_eq!((&state["count"], &state["moves"]), (&json!(4), &json!(1)), "{state}");
    world.runtime.call::<Value>("counter", "fresh", &json!({})).await.expect("it is queued");
    let reason = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let event = events.next().await.expect("the runtime runs").expect("nothing is lost");
            if let Event::RolledBack { reason, serving, .. } = &*event {
                assert_eq!(serving.as_deref(), Some("1.0.0"));
                return reason.clone();
            }
        }
    });
    let reason = reason.await.expect("it is returned from");
    assert!(reason.starts_with("criticalError: actor fresh failed (init: ") && reason.contains("no ink"), "{reason}");
    assert!(reason.contains("after 2 restarts within 10s"), "{reason}");
    // it went down with the other one, and what the second version made of it is lost
    assert!(reason.ends_with("messages to its actors whose effects are lost: 2"), "{reason}");
    let state: Value = world.runtime.call("counter", "state", &json!({})).await.expect("the state");
    assert_eq!((&state["applied"], &state["wrong"], &state["moves"]), (&json!(3), &json!(0), &json!(0)), "{state}");
    let rows = world.runtime.audit().read(1, 1000).await.expect("it can be read");
    let entries = rows.iter().map(|row| row.entry().expect("no damage"));
    let kinds: Vec<&str> = entries.map(|entry| entry.kind.name()).collect();
    assert!(kinds.contains(&"limit-exceeded") && kinds.contains(&"actor-failed"), "{kinds:?}");
    world.end().await;
}
