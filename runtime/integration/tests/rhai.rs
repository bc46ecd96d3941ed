//! Actors, events and timers of a script in Rhai: what the tests beside this one hold for Lua, in one walk.

use replug_scripts::Value;

use super::World;

const MANIFEST: &str = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]\n\
                        runtime: { workers: 1, actors: [{ id: counter }, { id: once, restart: temporary }] }";

const SCRIPT: &str = r#"
fn tried(actor, message) {
  try { return #{ result: actors.call(actor, message) }; }
  catch (fault) { return #{ kind: fault.kind, message: fault.message }; }
}
#{
  services: #{
    "shop.call": |args| tried(args.actor, args.message),
    "shop.send": |args| actors.send(args.actor, args.message),
    "shop.publish": |payload| events.publish("shop.made", payload),
    "shop.beat": |payload| timers.every(10, "shop.made", payload, #{ id: "beat" }),
    "shop.cancel": |id| timers.cancel(id),
    "shop.heard": |args| kv.get("heard"),
  },
  events: #{
    "shop.made": |message, ctx| kv.put("heard", #{ payload: message.payload, topic: message.topic, by: ctx.caller }),
  },
  actors: #{
    counter: #{
      init: |ctx| #{ sum: 0, made: ctx.version },
      handle: |state, message, ctx| {
        if message == "fail" { throw "told to"; }
        if message == "self" { return #{ reply: actors.call("counter", 1) }; }
        if message == "get" { return #{ reply: state }; }
        if message == "nothing" { return; }
        state.sum += message;
        #{ state: state, reply: state.sum }
      },
    },
    once: #{ handle: |state, message| { if message == "stop" { #{ stop: true } } else { #{ reply: message } } } },
  },
}
"#;

fn asks(actor: &str, message: impl Into<Value>) -> Value {
    Value::map([("actor", Value::from(actor)), ("message", message.into())])
}

async fn call(world: &World, actor: &str, message: impl Into<Value>) -> Value {
    world.call("shop", "shop.call", asks(actor, message)).await.expect("it catches")
}

fn text<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key}: {answer:?}"))
}

async fn heard(world: &World, payload: &Value) -> Value {
    loop {
        let heard = world.call("shop", "shop.heard", Value::Null).await.expect("an answer");
        if heard.get("payload") == Some(payload) {
            return heard;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_of_a_script_in_rhai_keep_their_state_and_are_upgraded() {
    let world = World::new().await;
    world.serve_rhai(MANIFEST, SCRIPT).await;
    assert_eq!(call(&world, "counter", 2).await.get("result"), Some(&Value::Int(2)));
    world.call("shop", "shop.send", asks("counter", 3)).await.expect("it is queued");
    assert_eq!(call(&world, "counter", "nothing").await.get("result"), Some(&Value::Null));
    assert_eq!(call(&world, "counter", 1).await.get("result"), Some(&Value::Int(6)));
    assert_eq!(text(&call(&world, "counter", "self").await, "kind"), "conflict");
    let upgrade = "upgrade: |state, from, actor| { state.from = `${actor} of ${from}`; state }, actors:";
    world.serve_rhai(&MANIFEST.replace("1.0.0", "2.0.0"), &SCRIPT.replace("actors:", upgrade)).await;
    // the conflict was a failure of the handler, which cost the state
    let state = call(&world, "counter", "get").await.get("result").cloned().expect("a state");
    assert_eq!(state.get("sum"), Some(&Value::Int(0)), "{state:?}");
    world.serve_rhai(&MANIFEST.replace("1.0.0", "3.0.0"), &SCRIPT.replace("actors:", upgrade)).await;
    let state = call(&world, "counter", "get").await.get("result").cloned().expect("a state");
    assert_eq!((text(&state, "from"), text(&state, "made")), ("counter of 2.0.0", "2.0.0"));
    let failed = call(&world, "counter", "fail").await;
    assert!(text(&failed, "kind") == "failed" && text(&failed, "message").contains("told to"), "{failed:?}");
    assert_eq!(call(&world, "once", "stop").await.get("result"), Some(&Value::Null));
    loop {
        let ended = call(&world, "once", 1).await;
        if ended.get("kind").is_some() {
            assert_eq!(text(&ended, "kind"), "not-found");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_in_rhai_hears_events_and_timers() {
    let world = World::new().await;
    world.serve_rhai(MANIFEST, SCRIPT).await;
    world.call("shop", "shop.publish", Value::Int(7)).await.expect("it publishes");
    let event = heard(&world, &Value::Int(7)).await;
    assert_eq!((text(&event, "topic"), text(&event, "by")), ("shop.made", "shop"));
    let id = world.call("shop", "shop.beat", Value::Int(8)).await.expect("an id");
    heard(&world, &Value::Int(8)).await;
    assert_eq!(world.call("shop", "shop.cancel", id).await.expect("an answer"), Value::Bool(true));
}
