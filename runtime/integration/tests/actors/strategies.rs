//! The strategy of the manifest, over actors: who gives up its state with another one, who ends and who goes on.

use super::*;

mod flood;
mod hands;
mod holds;

/// Actors that count what is added, and do what they are told.
pub(super) const LUA: &str = r#"
local function counter(name)
  return {
    init = function()
      if kv.get("bad") == name then error("cannot begin") end
      return { count = 0 }
    end,
    handle = function(state, message, ctx)
      if message == "get" then return { reply = state.count } end
      if message == "fail" then error("told to") end
      if message == "stop" then return { reply = "bye", stop = true } end
      if message == "wait" then services.call("gate.pass", 1) return { reply = state.count, state = { count = 9 } } end
      if message == "ask b" then return { reply = actors.call("b", "fail") } end
      state.count += 1
      return { state = state, reply = state.count }
    end,
  }
end
return {
  services = {
    ["shop.send"] = function(args) actors.send(args.actor, args.message) end,
    ["shop.try"] = function(args)
      local ok, fault = pcall(actors.call, args.actor, args.message)
      return if ok then { result = fault } else { kind = fault.kind, message = fault.message }
    end,
    ["shop.bad"] = function(name) kv.put("bad", name) end,
  },
  actors = { a = counter("a"), b = counter("b"), c = counter("c"), d = counter("d"), e = counter("e") },
}
"#;

/// The same.
#[cfg(feature = "rhai")]
pub(super) const RHAI: &str = r#"
fn counter(name) {
  #{
    init: |ctx| {
      if kv.get("bad") == name { throw "cannot begin"; }
      #{ count: 0 }
    },
    handle: |state, message, ctx| {
      if message == "get" { return #{ reply: state.count }; }
      if message == "fail" { throw "told to"; }
      if message == "stop" { return #{ reply: "bye", stop: true }; }
      if message == "wait" { services.call("gate.pass", 1); return #{ reply: state.count, state: #{ count: 9 } }; }
      if message == "ask b" { return #{ reply: actors.call("b", "fail") }; }
      state.count += 1;
      #{ state: state, reply: state.count }
    },
  }
}
#{
  services: #{
    "shop.send": |args| { actors.send(args.actor, args.message); },
    "shop.try": |args| {
      try { return #{ result: actors.call(args.actor, args.message) }; }
      catch (fault) { return #{ kind: fault.kind, message: fault.message }; }
    },
    "shop.bad": |name| { kv.put("bad", name); },
  },
  actors: #{ a: counter("a"), b: counter("b"), c: counter("c"), d: counter("d"), e: counter("e") },
}
"#;

/// A script, with how it is served.
#[derive(Clone, Copy, Debug)]
pub(super) enum In {
    Lua,
    #[cfg(feature = "rhai")]
    Rhai,
}

pub(super) const LANGUAGES: &[In] = &[
    In::Lua,
    #[cfg(feature = "rhai")]
    In::Rhai,
];

impl In {
    pub(super) async fn serve(self, world: &World, manifest: &str) -> Arc<Instance> {
        match self {
            Self::Lua => world.serve(manifest, LUA).await,
            #[cfg(feature = "rhai")]
            Self::Rhai => world.serve_rhai(manifest, RHAI).await,
        }
    }
}

/// Five actors, of which `restart` is the type of the second.
pub(super) fn five(version: &str, (strategy, restart): (&str, &str), intensity: u32) -> String {
    format!(
        "id: shop\nversion: {version}\ncapabilities: [{{ id: shop }}]\nruntime:\n  workers: 4\n  limits: {{ wallTime: 20s }}\n  \
         supervision: {{ strategy: {strategy}, intensity: {intensity}, period: 1h }}\n  \
         actors: [{{ id: a }}, {{ id: b, restart: {restart} }}, {{ id: c, restart: transient }}, \
         {{ id: d, restart: temporary }}, {{ id: e, restart: transient }}]\n"
    )
}

/// What an actor says, or the kind of the error.
pub(super) async fn said(world: &World, actor: &str, message: &str) -> String {
    let answer = tried(world, actor, message).await;
    match (answer.get("kind"), answer.get("result")) {
        (Some(kind), _) => kind.as_str().expect("a kind").to_owned(),
        (None, Some(Value::Int(count))) => count.to_string(),
        (None, Some(Value::Text(text))) => text.clone(),
        _ => panic!("{answer:?}"),
    }
}

/// What became of each.
pub(super) async fn all(world: &World) -> String {
    let mut all = Vec::new();
    for actor in ["a", "b", "c", "d", "e"] {
        all.push(match &*said(world, actor, "get").await {
            "1" => "kept".to_owned(),
            "0" => "anew".to_owned(),
            "not-found" => "ended".to_owned(),
            other => other.to_owned(),
        });
    }
    all.join(" ")
}

/// What was told of actors so far: who, why, what follows, who goes along.
pub(super) fn told(events: &mut tokio::sync::broadcast::Receiver<Arc<Event>>) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        match &*event {
            Event::ActorFailed { actor, cause, next, with, .. } => {
                told.push(format!("{actor} {cause} {next} [{}]", with.join(" ")));
            }
            Event::CriticalError { reason, .. } => told.push(reason.clone()),
            _ => {}
        }
    }
    told
}

/// Ends the second of five actors, of which the last one has stopped; what became of each, and what was told.
async fn end(language: In, strategy: &str, restart: &str, way: &str) -> (String, Vec<String>) {
    let world = World::new().await;
    language.serve(&world, &five("1.0.0", (strategy, restart), 5)).await;
    for actor in ["a", "c", "d", "e"] {
        assert_eq!(said(&world, actor, "add").await, "1");
    }
    assert_eq!(said(&world, "e", "stop").await, "bye");
    let mut events = world.events.subscribe();
    match way {
        // one that has begun does not begin again
        "init" => {
            world.call("shop", "shop.bad", "b".into()).await.expect("it is noted");
            assert_eq!(said(&world, "b", "get").await, "failed");
            world.call("shop", "shop.bad", "nobody".into()).await.expect("it is noted");
        }
        way => {
            assert_eq!(said(&world, "b", "add").await, "1");
            assert_eq!(said(&world, "b", way).await, if way == "stop" { "bye" } else { "failed" });
        }
    }
    let told = told(&mut events);
    (all(&world).await, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_begins_anew_takes_along_those_that_its_strategy_names() {
    // a, b, c (transient), d (temporary), e (transient, had stopped)
    let along = [
        ("one_for_one", "kept anew kept kept ended", ""),
        ("one_for_all", "anew anew anew ended anew", "a c d e"),
        ("rest_for_one", "kept anew anew ended anew", "c d e"),
    ];
    for &language in LANGUAGES {
        for (strategy, became, with) in along {
            for (restart, way) in [
                ("permanent", "fail"),
                ("permanent", "init"),
                ("permanent", "stop"),
                ("transient", "fail"),
                ("transient", "init"),
            ] {
                let case = format!("{language:?}, {strategy}, {restart}, {way}");
                let (is, told) = end(language, strategy, restart, way).await;
                assert_eq!(is, became, "{case}");
                let cause = if way == "fail" { "handle" } else { way };
                let quiet = way == "stop" && with.is_empty();
                let tells = (!quiet).then(|| format!("b {cause} restarted [{with}]"));
                assert_eq!(told, Vec::from_iter(tells), "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_does_not_begin_anew_takes_nobody_along() {
    for &language in LANGUAGES {
        for strategy in ["one_for_one", "one_for_all", "rest_for_one"] {
            for (restart, way) in
                [("temporary", "fail"), ("temporary", "init"), ("temporary", "stop"), ("transient", "stop")]
            {
                let case = format!("{language:?}, {strategy}, {restart}, {way}");
                let (is, told) = end(language, strategy, restart, way).await;
                assert_eq!(is, "kept ended kept kept ended", "{case}");
                let cause = if way == "fail" { "handle" } else { way };
                let tells = (way != "stop").then(|| format!("b {cause} ended []"));
                assert_eq!(told, Vec::from_iter(tells), "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_actor_that_nobody_has_called_yet_is_not_ended_by_others() {
    let world = World::new().await;
    In::Lua.serve(&world, &five("1.0.0", ("one_for_all", "permanent"), 5)).await;
    assert_eq!(said(&world, "b", "fail").await, "failed");
    assert_eq!(said(&world, "d", "add").await, "1", "it begins now");
    assert_eq!(said(&world, "b", "fail").await, "failed");
    assert_eq!(said(&world, "d", "add").await, "not-found");
    In::Lua.serve(&world, &five("1.0.1", ("one_for_all", "permanent"), 5)).await;
    assert_eq!(said(&world, "d", "add").await, "1", "another version begins anew");
}
