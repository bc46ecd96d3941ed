//! What is told as denied to a module is what the runtime denied to it, whatever others say.

use replug_scripts::Value;
use serde_json::Value as Json;

use super::World;
use crate::store::audit::Kind;

const FORGER: &str = "
id: forger
version: 1.0.0
capabilities: [{ id: forger }]
apis: [{ path: /api/forger, methods: [GET] }]
runtime: { workers: 1 }
";

#[cfg(feature = "rhai")]
const RHAI_FORGER: &str =
    "id: rhai-forger\nversion: 1.0.0\ncapabilities: [{ id: rhai-forger }]\nruntime: { workers: 1 }";

/// Throws what reads as a denial of its caller, and what it was really denied itself.
const FORGERS_SCRIPT: &str = r#"
local function forge(function_, n)
  error({ kind = "permission-denied", message = `permission denied: {function_}: FORGED {n}` })
end
return {
  apis = { ["GET /api/forger"] = function() forge("services.request", 1) end },
  pages = { Forged = function() forge("services.render", 1) end },
  services = {
    ["forger.forge"] = function(n) forge("services.call", n) end,
    ["forger.read"] = function() return fs.read("secret") end,
    ["forger.hand_on"] = function()
      local ok, denial = pcall(fs.read, "secret")
      error({ kind = denial.kind, message = (denial.message:gsub("fs.read", "services.call")) })
    end,
  },
}
"#;

const CALLER: &str = "
id: caller
version: 1.0.0
capabilities: [{ id: caller }]
dependencies: [{ id: forger }, { id: rhai-forger }]
permissions: { application: { apis: [/api/forger], components: [Forged] } }
runtime: { workers: 1 }
";

const CALLERS_SCRIPT: &str = r#"
local functions = { call = services.call, request = services.request, render = services.render }
return { services = { ["caller.try"] = function(args)
  local ok, result = pcall(functions[args.f], args.a, args.b)
  return if ok then "no error" else `{result.kind}: {result.message}`
end } }
"#;

/// A module of the runtime's that provides what `caller` does not depend on.
const STRANGER: &str = "id: stranger\nversion: 1.0.0\ncapabilities: [{ id: stranger }]";

async fn world() -> World {
    let world = World::new().await;
    world
        .serve(&FORGER.replace("runtime:", "routes: [{ path: /forged, component: Forged }]\nruntime:"), FORGERS_SCRIPT)
        .await;
    world.serve(STRANGER, r#"return { services = { ["stranger.hello"] = function() return 1 end } }"#).await;
    world.grant(CALLER).await;
    world.serve(CALLER, CALLERS_SCRIPT).await;
    world
}

async fn attempt(world: &World, f: &str, a: &str, b: impl Into<Value>) -> String {
    let args = Value::map([("f", Value::from(f)), ("a", Value::from(a)), ("b", b.into())]);
    let answer = world.call("caller", "caller.try", args).await.expect("the caller answers");
    answer.as_str().expect("a text").to_owned()
}

/// Who was told as denied, of which function, and why, once all is written.
async fn told(world: &World) -> Vec<(String, String, String)> {
    world.supplies.permissions.close().await;
    let rows = world.audit.read(1, 1000).await.expect("it can be read");
    let entries = rows.iter().map(|row| row.entry().expect("no damage")).filter(|entry| entry.kind == Kind::CallDenied);
    let told = entries.map(|entry| {
        let data: Json = serde_json::from_str(entry.data.get()).expect("JSON");
        let text = |key: &str| data[key].as_str().expect("a text").to_owned();
        (entry.subject.clone(), text("call"), text("reason"))
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_callee_throws_is_no_denial_of_its_caller_however_it_reads() {
    let world = world().await;
    for n in 0..70 {
        let said = attempt(&world, "call", "forger.forge", n).await;
        assert_eq!(said, format!("permission-denied: permission denied: services.call: FORGED {n}"));
    }
    let said = attempt(&world, "request", "GET", "/api/forger").await;
    assert_eq!(said, "permission-denied: permission denied: services.request: FORGED 1");
    let said = attempt(&world, "render", "Forged", Value::Null).await;
    assert_eq!(said, "permission-denied: permission denied: services.render: FORGED 1");
    #[cfg(feature = "rhai")]
    {
        let script = r#"#{ services: #{ "rhai-forger.forge": |n| throw #{ kind: "permission-denied",
            message: "permission denied: services.call: FORGED " + n } } }"#;
        world.serve_rhai(RHAI_FORGER, script).await;
        let said = attempt(&world, "call", "rhai-forger.forge", 1).await;
        assert_eq!(said, "permission-denied: permission denied: services.call: FORGED 1");
    }
    // its own one, after more forged ones than are told apart
    let own = attempt(&world, "call", "stranger.hello", Value::Null).await;
    let reason = own.strip_prefix("permission-denied: ").expect("it is denied");
    assert_eq!(told(&world).await, [("caller@1.0.0".to_owned(), "services.call".to_owned(), reason.to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_callee_was_denied_itself_is_told_of_the_callee_alone() {
    let world = world().await;
    for service in ["forger.read", "forger.hand_on"] {
        let said = attempt(&world, "call", service, Value::Null).await;
        assert!(said.starts_with("permission-denied: permission denied: "), "{said}");
    }
    let told = told(&world).await;
    let [(subject, call, reason)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((subject.as_str(), call.as_str()), ("forger@1.0.0", "fs.read"));
    assert!(reason.starts_with("permission denied: fs.read: this module does not ask for"), "{reason}");
}
