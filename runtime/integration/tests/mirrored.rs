//! What a copy of a request may do, of every host function and in both languages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use replug_scripts::api::FUNCTIONS;
use replug_scripts::{CallContext, Handler, HostFn, Mirrored, Request, Value};
use serde_json::{Value as Json, json};

use super::World;
use crate::actors::router::Instance;
use crate::integration::database::{DatabaseError, Databases};
use crate::sandbox::ports::{Database, Statement};

mod hosts;
mod wrong;

const SOON: Duration = Duration::from_secs(20);

/// What a copy may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All that it does.
    Carried,
    /// Nothing.
    Refused,
}

use Fate::{Carried, Refused};

/// Calls of a function, and what becomes of each in a copy. A new function must be thought about here: what it leaves behind is
/// refused to copies.
fn calls(function: HostFn) -> Vec<(Json, Fate)> {
    use HostFn as F;
    let (insert, select) = ("insert into t (n) values (1)", "select n from t");
    match function {
        F::LogTrace | F::LogVerbose | F::LogInfo | F::LogWarn | F::LogError => vec![(json!(["said"]), Carried)],
        F::JsonEncode => vec![(json!([1]), Carried)],
        F::JsonDecode => vec![(json!(["1"]), Carried)],
        F::TimeNow | F::CryptoUuid => vec![(json!([]), Carried)],
        F::TimeFormat | F::CryptoRandom => vec![(json!([16]), Carried)],
        F::TimeParse => vec![(json!(["2026-01-01T00:00:00Z"]), Carried)],
        F::CryptoHash => vec![(json!(["sha256", "x"]), Carried)],
        F::CryptoSha256 | F::CryptoPasswordHash | F::CryptoJwtKeyId => vec![(json!(["x"]), Carried)],
        F::CryptoHmac | F::CryptoEqual | F::CryptoPasswordVerify | F::CryptoJwtVerify => {
            vec![(json!(["x", "y"]), Carried)]
        }
        F::CryptoEncode => vec![(json!(["hex", "x"]), Carried)],
        F::CryptoDecode => vec![(json!(["hex", "00"]), Carried)],
        F::CryptoJwtSign => vec![(json!([{ "exp": 1 }, "x".repeat(32), "k"]), Carried)],
        F::ConfigGet => vec![(json!(["depth"]), Carried)],
        F::ConfigOf => vec![(json!(["other", "depth"]), Carried)],
        F::KvGet => vec![(json!(["a"]), Carried)],
        F::KvList => vec![(json!([""]), Carried)],
        F::KvPut => vec![(json!(["a", 2]), Refused)],
        F::KvDelete => vec![(json!(["a"]), Refused)],
        F::KvCas => vec![(json!(["a", 1, 3]), Refused)],
        F::DbQuery => vec![(json!([select, []]), Carried), (json!([format!("{insert} returning n"), []]), Refused)],
        F::DbExecute => vec![(json!([insert, []]), Refused)],
        F::DbTransaction => vec![(json!([[select]]), Carried), (json!([[select, insert]]), Refused)],
        // nobody calls a copy
        F::DbForCaller => vec![(json!([select, []]), Carried)],
        F::DbOf => vec![
            (json!(["other", select, []]), Carried),
            (json!(["other", insert, []]), Refused),
            (json!(["shop", insert, []]), Refused),
        ],
        F::HttpRequest => vec![(json!([{ "url": "http://127.0.0.1:9/" }]), Refused)],
        F::HttpGet | F::HttpPost => vec![(json!(["http://127.0.0.1:9/"]), Refused)],
        F::FsRead | F::FsStat | F::FsExists => vec![(json!(["data/a"]), Carried)],
        F::FsList => vec![(json!(["data"]), Carried)],
        F::FsWrite | F::FsAppend => vec![(json!(["data/b", "x"]), Refused)],
        F::FsRemove => vec![(json!(["data/a"]), Refused)],
        F::FsMkdir => vec![(json!(["data/c"]), Refused)],
        F::EnvGet => vec![(json!(["PATH"]), Carried)],
        F::MetricsCount => vec![(json!(["asked"]), Carried)],
        F::MetricsGauge | F::MetricsObserve => vec![(json!([format!("held_{}", function as usize), 1]), Carried)],
        F::EventsPublish => vec![(json!(["shop.made", 1]), Refused)],
        F::ActorsSend | F::ActorsCall => vec![(json!(["counter", 1]), Refused)],
        F::TimersAfter | F::TimersEvery => vec![(json!([10, "shop.made", 1]), Refused)],
        F::TimersCancel => vec![(json!(["t"]), Refused)],
        F::ServicesInvalidate => vec![(json!(["shop"]), Refused)],
        // its VMs are those that clients ask
        F::ServicesCall => vec![(json!(["other.read", {}]), Refused), (json!(["other.write_of_caller", {}]), Refused)],
        F::ServicesRequest => {
            vec![(json!(["GET", "/api/other/read"]), Refused), (json!(["GET", "/t/kv-get-0"]), Refused)]
        }
        F::ServicesRender => vec![(json!(["Reads"]), Refused)],
    }
}

const SHOP: &str = r#"
id: shop
version: 1.0.0
capabilities: [{ id: shop }]
dependencies: [{ id: other }]
database: { migrations: [{ version: 1.0.0, file: one.sql }] }
config: { schema: { depth: { type: number, default: 1 } } }
runtime: { actors: [{ id: counter }] }
permissions:
  system:
    database: [{ module: other, access: write }, { module: caller, access: write }]
    filesystem: [{ path: data, access: write }]
    network: [{ host: "127.0.0.1", ports: [9] }]
    environment: [PATH]
  application:
    apis: [/api/other/*, /t/*]
    components: [Reads]
    configurations: [{ module: other, keys: [depth] }]
"#;

const OTHER: &str = r#"
id: other
version: 1.0.0
capabilities: [{ id: other }]
database: { migrations: [{ version: 1.0.0, file: one.sql }] }
config: { schema: { depth: { type: number, default: 1 } } }
apis:
  - { path: /api/other/read, methods: [GET] }
routes:
  - { path: /reads, component: Reads }
permissions: { system: { database: [{ module: caller, access: write }] } }
"#;

const OTHERS_SCRIPT: &str = r#"
local asked = 0
local function read() asked = asked + 1 return { body = tostring(asked) } end
return {
  services = {
    ["other.read"] = read,
    ["other.asked"] = function() return asked end,
    ["other.write_of_caller"] = function() return db.for_caller("insert into t (n) values (7)") end,
  },
  apis = { ["GET /api/other/read"] = read },
  pages = { Reads = read },
}"#;

/// A literal of a language.
fn literal(value: &Json, rhai: bool) -> String {
    let all = |parts: Vec<String>| parts.join(", ");
    match value {
        Json::Array(items) if rhai => format!("[{}]", all(items.iter().map(|item| literal(item, rhai)).collect())),
        Json::Array(items) => format!("{{{}}}", all(items.iter().map(|item| literal(item, rhai)).collect())),
        Json::Object(map) if rhai => {
            format!("#{{{}}}", all(map.iter().map(|(key, value)| format!("{key}: {}", literal(value, rhai))).collect()))
        }
        Json::Object(map) => {
            format!("{{{}}}", all(map.iter().map(|(key, value)| format!("{key} = {}", literal(value, rhai))).collect()))
        }
        plain => plain.to_string(),
    }
}

/// Every call with its name and what becomes of it.
fn table() -> Vec<(String, HostFn, Json, Fate)> {
    let all = FUNCTIONS.iter().filter(|row| cfg!(feature = "http-client") || row.group != "http");
    let all = all.flat_map(|row| {
        let calls = calls(row.id);
        assert!(!calls.is_empty(), "{}", row.id.path());
        let named = calls.into_iter().enumerate();
        named.map(|(index, (args, fate))| (format!("{}-{index}", row.id.path().replace('.', "-")), row.id, args, fate))
    });
    all.collect()
}

/// A manifest with an api for each call, and the script that makes it and tells how it ended.
fn module(rhai: bool) -> (String, String) {
    let (mut apis, mut handlers) = (String::from("apis:\n"), String::new());
    for (name, function, args, _) in table() {
        apis += &format!("  - {{ path: /t/{name}, methods: [GET] }}\n");
        let args: Vec<_> = args.as_array().expect("a list").iter().map(|arg| literal(arg, rhai)).collect();
        let call = format!("{}({})", function.path(), args.join(", "));
        handlers += &if rhai {
            format!(
                "    \"GET /t/{name}\": |req| {{ let told = \"done\";\n\
                 try {{ {call}; }} catch (fault) {{ told = fault.kind; }}\n#{{ body: told }} }},\n"
            )
        } else {
            format!(
                "    [\"GET /t/{name}\"] = function() local ok, fault = pcall(function() return {call} end)\n\
                 return {{ body = if ok then \"done\" else fault.kind }} end,\n"
            )
        };
    }
    let heard = if rhai {
        "events: #{ \"shop.made\": |message| kv.put(\"heard\", true) },\n\
         actors: #{ counter: #{ handle: |state, message| { kv.put(\"counted\", true); #{ reply: 1 } } } }"
    } else {
        "events = { [\"shop.made\"] = function() kv.put(\"heard\", true) end },\n\
         actors = { counter = { handle = function() kv.put(\"counted\", true) return { reply = 1 } end } }"
    };
    let script = if rhai {
        format!("#{{ apis: #{{\n{handlers}  }},\n{heard} }}")
    } else {
        format!("return {{ apis = {{\n{handlers}  }},\n{heard} }}")
    };
    (format!("{SHOP}{apis}"), script)
}

/// The two modules with something in each of their stores.
struct Shop {
    world: World,
    databases: Arc<Databases>,
    instance: Arc<Instance>,
}

impl Shop {
    async fn new(rhai: bool) -> Self {
        let mut world = World::new().await;
        let databases = Arc::new(Databases::open(world.dir.path().join("databases")).expect("a folder"));
        for id in ["shop", "other"] {
            databases.create(id).expect("a file");
            let made: Result<(), DatabaseError> = databases.change(id, Instant::now() + SOON, |change| {
                change.script("create table t (n integer)", |_| Ok(())).expect("it is right");
                Ok(())
            });
            made.expect("a table");
        }
        world.keep_in(Arc::clone(&databases) as _);
        let data = world.dir.path().join("files/shop/data");
        std::fs::create_dir_all(&data).expect("a folder");
        std::fs::write(data.join("a"), "kept").expect("a file");
        world.grant(OTHER).await;
        world.serve(OTHER, OTHERS_SCRIPT).await;
        let (manifest, script) = module(rhai);
        world.grant(&manifest).await;
        let entry = if rhai { "main.rhai" } else { "main.lua" };
        let files = BTreeMap::from([(entry.to_owned(), Arc::from(script.as_str()))]);
        let instance = world.start_files(&manifest, files).await;
        world.publish(&instance).await;
        for id in ["shop", "other"] {
            let entry = crate::store::KvEntry::new(b"1".to_vec());
            let put = || world.supplies.kv.put(id, "a", entry, 1 << 20, 0);
            tokio::task::block_in_place(put).expect("there is room");
        }
        Self { world, databases, instance }
    }

    /// How the call of this name ended, and whether something was refused to it.
    async fn ask(&self, name: &str, mirrored: bool) -> (String, bool) {
        let mark = Arc::new(Mirrored::default());
        let call = CallContext {
            mirrored: mirrored.then(|| Arc::clone(&mark)),
            ..self.instance.context("copy", Duration::from_secs(10))
        };
        let request = Request {
            id: "copy".into(),
            method: Method::GET,
            path: format!("/t/{name}"),
            params: Vec::new(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Default::default(),
            principal: None,
        };
        let handler = Handler::Api(format!("GET /t/{name}").into());
        let answer = self.instance.respond(handler, Box::new(request), call).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        (String::from_utf8(answer.body.to_vec()).expect("text"), mark.was_refused())
    }

    /// All that the two modules keep, anywhere.
    fn state(&self) -> String {
        let mut told = String::new();
        for id in ["shop", "other"] {
            for key in self.world.supplies.kv.list(id, "", None, 1000, 0).expect("a list") {
                let value = self.world.supplies.kv.get(id, &key, 0).expect("a value");
                told += &format!("{id} {key} {value:?}\n");
            }
            let statement = Statement { sql: "select n from t order by n".to_owned(), params: Vec::new() };
            let rows = self.databases.run(id, None, &[statement], Instant::now() + SOON).expect("rows");
            told += &format!("{id} {rows:?}\n");
        }
        let mut folders = vec![self.world.dir.path().join("files")];
        while let Some(folder) = folders.pop() {
            let mut entries: Vec<_> =
                std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("one").path()).collect();
            entries.sort();
            for path in entries {
                let text = if path.is_dir() { None } else { Some(std::fs::read_to_string(&path).expect("text")) };
                told += &format!("{} {text:?}\n", path.strip_prefix(self.world.dir.path()).expect("below").display());
                folders.extend(path.is_dir().then_some(path));
            }
        }
        told
    }

    /// How many calls of the two modules were denied.
    fn denials(&self) -> u64 {
        let snapshot = self.world.router.load();
        let instances = ["shop", "other"].map(|id| snapshot.instance(id, 0).expect("it serves").key.clone());
        instances.iter().map(|key| self.world.rig.metrics.permission_checks(key, "denied").get()).sum()
    }
}

/// Every function is called by a copy, and nothing is there afterwards that was not there before; then by a request, in which
/// nothing is refused for being a copy's.
async fn nothing_is_left_of_copies(rhai: bool) {
    let shop = Shop::new(rhai).await;
    let before = shop.state();
    for (name, _, args, fate) in table() {
        let (ended, refused) = shop.ask(&name, true).await;
        assert_eq!((ended == "mirrored", refused), (fate == Refused, fate == Refused), "{name} {args}: {ended}");
    }
    assert_eq!(shop.state(), before);
    assert_eq!(shop.denials(), 0, "a refusal is no denial");
    let samples = shop.world.rig.metrics.render();
    assert!(!samples.contains("replug_module_asked") && !samples.contains("replug_module_held"), "{samples}");
    let failed = |id: &str| {
        let snapshot = shop.world.router.load();
        let stats = snapshot.instance(id, 0).expect("it serves").metrics.stats.sample();
        (stats.requests(), stats.errors())
    };
    assert_eq!(failed("other"), (0, 0), "what copies ask of others is counted nowhere");
    let asked = shop.world.call("other", "other.asked", Value::Null).await.expect("it answers");
    assert_eq!(asked.as_i64(), Some(0), "no script of another module ran for a copy, so that none remembers it");
    for (name, _, args, _) in table() {
        let (ended, refused) = shop.ask(&name, false).await;
        assert!(ended != "mirrored" && !refused, "{name} {args}: {ended}");
    }
    assert_ne!(shop.state(), before, "a client's request may");
    assert!(shop.world.rig.metrics.render().contains("replug_module_asked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_copies_that_a_script_in_lua_answers() {
    nothing_is_left_of_copies(false).await;
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_copies_that_a_script_in_rhai_answers() {
    nothing_is_left_of_copies(true).await;
}

/// The one connection that copies have is none of those of requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_that_read_without_end_keep_no_request_from_its_database() {
    let endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c";
    let shop = Arc::new(Shop::new(false).await);
    let manifest = SHOP.replace("1.0.0\ncap", "2.0.0\ncap").replace(
        "runtime: { ",
        "apis: [{ path: /spin, methods: [GET] }]\nruntime: { workers: 6, limits: { wallTime: 8s, cpuTime: 8s, memory: 8MiB }, ",
    );
    let script = format!(
        "return {{ apis = {{ [\"GET /spin\"] = function() return {{ body = db.query(\"{endless}\") }} end }},\n\
         actors = {{ counter = {{ handle = function() end }} }} }}"
    );
    let candidate = shop.world.start(&manifest, &script).await;
    let begun = shop.world.rig.metrics.host_calls(&candidate.key, "db.query");
    let spin = |seconds: u64| {
        let (candidate, mark) = (Arc::clone(&candidate), Arc::new(Mirrored::default()));
        let mirrored = Some(Arc::clone(&mark));
        let call = CallContext { mirrored, ..candidate.context("copy", Duration::from_secs(seconds)) };
        let answer = tokio::spawn(async move {
            let request = Request {
                id: "copy".into(),
                method: Method::GET,
                path: "/spin".to_owned(),
                params: Vec::new(),
                query: Vec::new(),
                headers: HeaderMap::new(),
                body: Default::default(),
                principal: None,
            };
            candidate.respond(Handler::Api("GET /spin".into()), Box::new(request), call).await
        });
        (answer, mark)
    };
    // a busy machine must begin all of them before the first one ends
    let mut spins = vec![spin(8)];
    super::gatekeeper::until(|| begun.get() == 1).await;
    spins.extend((0..5).map(|_| spin(7)));
    super::gatekeeper::until(|| begun.get() == 6).await;
    for _ in 0..10 {
        assert_eq!(shop.ask("db-query-0", false).await.0, "done");
    }
    assert!(spins.iter().all(|(spin, _)| !spin.is_finished()), "they went on meanwhile");
    let mut marks = Vec::new();
    for (spin, mark) in spins {
        spin.await.expect("no panic").expect_err("it ends at its deadline");
        marks.push(mark);
    }
    // no fault of those that got no connection
    super::gatekeeper::until(|| marks.iter().any(|mark| mark.was_crowded())).await;
}
