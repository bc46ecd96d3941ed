//! Whose doing it is that an `init` fails: what others did is never held against the version.

use super::*;

/// `b` begins by `way`; `a` fails with what the host says to it.
fn script(way: &str) -> String {
    let script = r#"
local function ways()
  return {
    host = function() services.call("gate.pass", 1) end,
    call = function() actors.call("a", "ask") end,
    words = function() if not pcall(actors.call, "a", "ask") then error("a is of no use") end end,
    service = function() services.call("desk.ask", 1) end,
    ended = function() actors.send("gone", 1) end,
    itself = function() actors.call("b", "x") end,
    ghost = function() actors.call("ghost", "x") end,
  }
end
return {
  services = {
    ["shop.end"] = function() actors.call("gone", "stop") end,
    ["shop.try"] = function()
      local ok, fault = pcall(actors.call, "b", "get")
      return if ok then "ok" else fault.kind
    end,
  },
  actors = {
    a = { handle = function() return { reply = http.get("http://not.granted/") } end },
    b = { init = function() return ways().WAY() end, handle = function() return { reply = "ok" } end },
    gone = { handle = function() return { stop = true } end },
  },
}
"#;
    script.replace("WAY", way)
}

const MANIFEST: &str = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop, requirements: [\"desk@^1\"] }]\n\
    runtime: { workers: 2, supervision: { intensity: 2, period: 1h }, \
    actors: [{ id: a, restart: temporary }, { id: b }, { id: gone, restart: transient }] }\n";

/// A module whose service asks an actor of its own, which fails.
const DESK: (&str, &str) = (
    "id: desk\nversion: 1.0.0\ncapabilities: [{ id: desk, version: 1.0.0 }]\nruntime: { actors: [{ id: a }] }\n",
    r#"return {
        services = { ["desk.ask"] = function() return actors.call("a", "ask") end },
        actors = { a = { handle = function() error("the desk is closed") end } },
    }"#,
);

/// What `a` meets.
const DENIED: &str = "permission denied: http.get";

/// Has `b` begin three times, which is once too often, and fail for this reason; what follows, and whether the version is to blame.
async fn begin(world: &World, (way, why): (&str, &str)) -> (&'static str, bool) {
    world.serve(DESK.0, DESK.1).await;
    let instance = world.serve(MANIFEST, &script(way)).await;
    world.call("shop", "shop.end", Value::Null).await.expect("it stops");
    let mut events = world.events.subscribe();
    let (mut last, mut reasons) = ("nothing", Vec::new());
    for _ in 0..3 {
        let kind = world.call("shop", "shop.try", Value::Null).await.expect("it catches");
        assert_ne!(kind, Value::from("ok"), "{way}");
    }
    while let Ok(event) = events.try_recv() {
        if let Event::ActorFailed { actor, next, cause, reason, .. } = &*event
            && actor == "b"
        {
            assert_eq!(*cause, "init", "{way}: {reason}");
            reasons.push(reason.clone());
            last = next;
        }
    }
    assert!(reasons.len() == 3 && reasons[0].contains(why), "{way}: {reasons:?}");
    (last, instance.gave_up().is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_never_works_is_given_up_by_every_error_that_no_client_makes() {
    for kind in HostErrorKind::ALL {
        let (world, host) = World::failing(kind, usize::MAX).await;
        let passes = matches!(kind, HostErrorKind::Overloaded | HostErrorKind::Timeout);
        assert_eq!(begin(&world, ("host", "the host says no")).await, ("held", !passes), "{kind:?}");
        assert_eq!(host.asked(), 3);
    }
    for way in [("itself", "shop/b -> shop/b"), ("ghost", "runtime: { actors")] {
        assert_eq!(begin(&World::new().await, way).await, ("held", true), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_actor_did_is_never_the_version_s_fault_by_whatever_error_and_words_it_comes() {
    for way in
        [("call", DENIED), ("words", "a is of no use"), ("service", "the desk is closed"), ("ended", "it has ended")]
    {
        assert_eq!(begin(&World::new().await, way).await, ("held", false), "{way:?}");
    }
}
