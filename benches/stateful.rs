//! Script actors while their versions change: four senders give a counter 10,000 messages a second, and its module is swapped a hundred
//! times. Each message must be applied once, in its sender's order; the run fails if one is not. What is told: the rate that was
//! reached, and what a swap does to the time that a message takes to be accepted.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/report.rs"]
mod report;
#[path = "support/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use replug::ActivationStrategy;
use serde_json::{Value, json};

use report::Report;
use world::World;

const SENDERS: u64 = 4;
/// Of all senders together, a second.
const RATE: u64 = 10_000;

const MANIFEST: &str = "capabilities: [{ id: counter, interfaces: [{ name: calls, methods: [add, state] }] }]
runtime: { workers: 2, limits: { queue: 256 }, actors: [{ id: counter, mailbox: 65536 }] }
";

const SCRIPT: &str = r#"return {
  services = {
    ["counter.add"] = function(args) actors.send("counter", args) end,
    ["counter.state"] = function() return actors.call("counter", "state", 30000) end,
  },
  actors = { counter = {
    init = function() return { applied = 0, wrong = 0, last = {} } end,
    upgrade = function(state) return state end,
    handle = function(state, message)
      if message == "state" then return { reply = state } end
      if message.number ~= (state.last[message.sender] or 0) + 1 then state.wrong += 1 end
      state.last[message.sender] = message.number
      state.applied += 1
      return { state = state }
    end,
  } },
}"#;

/// Sends at its share of the rate until it is told to stop; how many it sent, and how long each took to be accepted.
async fn send(world: Arc<World>, sender: u64, stop: Arc<AtomicBool>) -> (u64, Vec<Duration>) {
    let (began, mut number, mut took) = (Instant::now(), 0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let message = json!({ "sender": format!("s{sender}"), "number": number });
        let asked = Instant::now();
        world.runtime.call::<Value>("counter", "add", &message).await.expect("it is accepted");
        took.push(asked.elapsed());
        let due = Duration::from_nanos(number * SENDERS * 1_000_000_000 / RATE);
        if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > Duration::from_millis(1)) {
            tokio::time::sleep(early).await;
        }
    }
    (number, took)
}

/// Runs the senders while `work` runs; the messages of all, their rate, and the 99th percentile of what they took.
async fn under_load(world: &Arc<World>, work: impl Future<Output = ()>) -> (u64, f64, Duration) {
    let (stop, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let senders: Vec<_> =
        (0..SENDERS).map(|sender| tokio::spawn(send(Arc::clone(world), sender, Arc::clone(&stop)))).collect();
    work.await;
    stop.store(true, Ordering::Relaxed);
    let (mut sent, mut took) = (0, Vec::new());
    for sender in senders {
        let (of_one, each) = sender.await.expect("a sender");
        sent += of_one;
        took.extend(each);
    }
    let rate = sent as f64 / began.elapsed().as_secs_f64();
    took.sort_unstable();
    (sent, rate, took[took.len() * 99 / 100])
}

/// A new runtime with the counter in two versions, the first of which serves.
async fn counter() -> Arc<World> {
    let world = World::new().await;
    world.install("counter", "1.0.0", MANIFEST, "lua", SCRIPT).await;
    world.register("counter", "1.1.0", MANIFEST, "lua", SCRIPT).await;
    Arc::new(world)
}

async fn assert_all_applied(world: Arc<World>, sent: u64) {
    let state: Value = world.runtime.call("counter", "state", &json!({})).await.expect("the state");
    assert_eq!((&state["applied"], &state["wrong"]), (&json!(sent), &json!(0)), "{state}");
    Arc::into_inner(world).expect("the senders have ended").end().await;
}

fn main() {
    let report = Report::from_args();
    if !report.wants("a counter") {
        return;
    }
    let swaps = if report.is_quick { 10 } else { 100 };
    world::tokio().block_on(async {
        let world = counter().await;
        let calm = Duration::from_millis(if report.is_quick { 500 } else { 5000 });
        let (sent, rate, of_calm) = under_load(&world, tokio::time::sleep(calm)).await;
        assert_all_applied(world, sent).await;
        report.tell("a counter, calm", &format!("{rate:.0} messages/s, p99 {:.2} ms", of_calm.as_secs_f64() * 1e3));

        let world = counter().await;
        let (sent, rate, of_swaps) = under_load(&world, async {
            for n in 0..swaps {
                let version = if n % 2 == 0 { "counter@1.1.0" } else { "counter@1.0.0" };
                let done = world.runtime.activate(version).strategy(ActivationStrategy::Instant).await;
                done.expect("an activation").ensure_serves().expect("it serves");
                world.runtime.confirm("counter").await.expect("it serves");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert_all_applied(world, sent).await;
        report.tell(
            &format!("a counter, {swaps} swaps"),
            &format!(
                "{rate:.0} messages/s, p99 {:.2} ms, x{:.2}; all {sent} applied once and in order",
                of_swaps.as_secs_f64() * 1e3,
                of_swaps.as_secs_f64() / of_calm.as_secs_f64()
            ),
        );
    });
}
