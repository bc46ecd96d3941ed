//! A flood of messages to an actor that goes down with another one again and again.

use std::time::Duration;

use super::*;

const SENDERS: [&str; 4] = ["one", "two", "three", "four"];
const MESSAGES: i64 = 400;
const FAILURES: usize = 100;

/// `keeper` rests on nobody and counts what `ledger` passes on, which rests on `flaky`.
const LUA: &str = r#"
return {
  services = {
    ["shop.send"] = function(args) actors.send("ledger", args) end,
    ["shop.fail"] = function() pcall(actors.call, "flaky", 1) end,
    ["shop.state"] = function() actors.call("ledger", "get") return actors.call("keeper", "get") end,
    ["shop.kept"] = function() return actors.call("keeper", "get") end,
    ["shop.begun"] = function() return kv.get("begun") end,
  },
  actors = {
    keeper = {
      init = function() return { sum = 0, wrong = 0, last = {} } end,
      handle = function(state, message)
        if message == "get" then return { reply = state } end
        if message.number ~= (state.last[message.sender] or 0) + 1 then state.wrong += 1 end
        state.last[message.sender] = message.number
        state.sum += 1
        return { state = state }
      end,
    },
    flaky = { handle = function() error("always") end },
    ledger = {
      init = function() kv.put("begun", (kv.get("begun") or 0) + 1) return 0 end,
      handle = function(state, message) if message ~= "get" then actors.send("keeper", message) end end,
    },
  },
}
"#;

#[cfg(feature = "rhai")]
const RHAI: &str = r#"
#{
  services: #{
    "shop.send": |args| { actors.send("ledger", args); },
    "shop.fail": |args| { try { actors.call("flaky", 1); } catch (fault) {} },
    "shop.state": |args| { actors.call("ledger", "get"); actors.call("keeper", "get") },
    "shop.kept": |args| actors.call("keeper", "get"),
    "shop.begun": |args| kv.get("begun"),
  },
  actors: #{
    keeper: #{
      init: |ctx| #{ sum: 0, wrong: 0, last: #{} },
      handle: |state, message, ctx| {
        if message == "get" { return #{ reply: state }; }
        let before = state.last[message.sender];
        if message.number != (if before == () { 0 } else { before }) + 1 { state.wrong += 1; }
        state.last[message.sender] = message.number;
        state.sum += 1;
        #{ state: state }
      },
    },
    flaky: #{ handle: |state, message, ctx| { throw "always"; } },
    ledger: #{
      init: |ctx| {
        let begun = kv.get("begun");
        kv.put("begun", (if begun == () { 0 } else { begun }) + 1);
        0
      },
      handle: |state, message, ctx| { if message != "get" { actors.send("keeper", message); } },
    },
  },
}
"#;

const MANIFEST: &str = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]\nruntime:\n  workers: 2\n  limits: { wallTime: 20s }\n  \
    supervision: { strategy: rest_for_one, intensity: 1000, period: 1ms }\n  \
    actors: [{ id: keeper, mailbox: 20000 }, { id: flaky }, { id: ledger, mailbox: 20000 }]\n";

async fn flood(world: Arc<World>) {
    let senders = SENDERS.map(|sender| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for number in 1..=MESSAGES {
                let message = Value::map([("sender", Value::from(sender)), ("number", Value::Int(number))]);
                world.call("shop", "shop.send", message).await.expect("it is queued");
            }
        })
    });
    for _ in 0..FAILURES {
        world.call("shop", "shop.fail", Value::Null).await.expect("it catches");
    }
    for sender in senders {
        sender.await.expect("it sent everything");
    }
    // the backlog is long: nobody waits for its end in one call
    let count = |state: &Value, key: &str| state.get(key).and_then(Value::as_i64).expect("a number");
    let all = MESSAGES * SENDERS.len() as i64;
    let through = async {
        loop {
            let state = world.call("shop", "shop.kept", Value::Null).await.expect("the state");
            if count(&state, "sum") >= all {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), through).await.expect("all come through");
    let state = world.call("shop", "shop.state", Value::Null).await.expect("the state");
    assert_eq!((count(&state, "sum"), count(&state, "wrong")), (all, 0), "{state:?}");
    let begun = world.call("shop", "shop.begun", Value::Null).await.expect("a number").as_i64();
    assert!(begun.is_some_and(|begun| begun > 5), "{begun:?} beginnings are no flood beside restarts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_handled_once_and_in_its_senders_order_beside_restarts_of_those_it_rests_on() {
    let world = Arc::new(World::new().await);
    world.serve(MANIFEST, LUA).await;
    flood(world).await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_rhai() {
    let world = Arc::new(World::new().await);
    world.serve_rhai(MANIFEST, RHAI).await;
    flood(world).await;
}
