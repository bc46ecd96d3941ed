//! Health checks of real instances: a Lua script, other modules behind the router, a SQLite file.

use crossbeam_channel::{Receiver, Sender, bounded};
use replug_scripts::HostError;

use super::*;
use crate::actors::health::examine;
use crate::integration::database::{DatabaseError, Databases};
use crate::integration::migrations::Migrations;
use crate::monitor::HealthStatus::{self, Degraded, Healthy, Unhealthy, Unknown};
use crate::monitor::health::Report;
use crate::sandbox::ports::{Guest, Statement};

/// `set` says how each of its three answers turns out from now on; `once` fails once.
const SCRIPT: &str = r#"
local function act(what)
  local mode = kv.get(what) or "well"
  if mode == "throw" then error("no luck") end
  if mode == "spin" then while true do end end
  if mode == "once" then kv.put(what, "well") error("a hiccup") end
  return mode
end
local function set(args) kv.put(args.what, args.mode) end
local function ping(args) act("service") assert(next(args) == nil) return true end
return {
  health = function()
    local mode = act("health")
    if mode == "well" then return nil end
    return { status = mode, detail = "says so" }
  end,
  apis = { ["GET /health"] = function()
    local mode = act("api")
    if mode == "down" then return { status = 503 } end
    if mode == "gone" then error({ status = 404, title = "no such light" }) end
    if mode == "moved" then return { status = 302 } end
    return "ok"
  end },
  services = {
    ["own.set"] = set, ["own.ping"] = ping, ["other.set"] = set, ["other.ping"] = ping,
  },
}
"#;

/// Ticks do not end a script that spins: the check's own timeout does.
const RUNTIME: &str = "runtime: { workers: 1, limits: { ticks: 100000000000, cpuTime: 60s, wallTime: 60s } }\n";

/// The module `own` with these checks, besides what else it declares.
fn own(more: &str, checks: &str) -> String {
    format!(
        "id: own\nversion: 1.0.0\ncapabilities: [{{ id: own }}]\n{RUNTIME}{more}\nlifecycle: {{ activation: {{ healthChecks: [{checks}] }} }}"
    )
}

async fn set(world: &World, module: &str, what: &str, mode: &str) {
    let args = Value::map([("what", Value::from(what)), ("mode", Value::from(mode))]);
    world.call(module, &format!("{module}.set"), args).await.expect("it is set");
}

/// Status, status of the only check, and its detail.
fn only(report: &Report) -> (HealthStatus, HealthStatus, &str) {
    assert_eq!(report.checks.len(), 1, "{report:?}");
    (report.status, report.checks[0].status, &report.checks[0].detail)
}

/// What the check came to when `what` of the module was in that mode.
async fn seen(world: &World, instance: &Arc<Instance>, what: (&str, &str), mode: &str) -> Report {
    set(world, what.0, what.1, mode).await;
    let report = examine(instance).await;
    set(world, what.0, what.1, "well").await;
    report
}

const API: &str =
    "apis: [{ path: /health, methods: [GET], permissions: [own.view] }]\nconfig: { permissions: [own.view] }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_passes_below_400_whoever_may_ask_it() {
    let world = World::new().await;
    let instance = world.serve(&own(API, "{ endpoint: /health, retries: 0, timeout: 300ms }"), SCRIPT).await;
    for (mode, status, detail) in [
        ("well", Healthy, ""),
        ("moved", Healthy, ""),
        ("down", Unhealthy, "answered 503 Service Unavailable"),
        ("gone", Unhealthy, "404 no such light"),
    ] {
        let report = seen(&world, &instance, ("own", "api"), mode).await;
        assert_eq!(only(&report), (status, status, detail), "{mode}");
    }
    let thrown = seen(&world, &instance, ("own", "api"), "throw").await;
    assert!(thrown.status == Unhealthy && thrown.checks[0].detail.contains("no luck"), "{thrown:?}");
    // `health` is ill, and nobody asks it
    assert_eq!(seen(&world, &instance, ("own", "health"), "unhealthy").await.status, Healthy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_asked_in_the_instance_and_not_in_the_version_that_serves() {
    let world = World::new().await;
    let checks = "{ endpoint: /health, retries: 0 }, { service: own.ping, retries: 0 }";
    world.serve(&own(API, checks), SCRIPT).await;
    let broken = r#"local function no() error("the newer one") end
        return { apis = { ["GET /health"] = no }, services = { ["own.ping"] = no } }"#;
    let candidate = world.start(&own(API, checks).replace("1.0.0", "2.0.0"), broken).await;
    let report = examine(&candidate).await;
    assert!(report.checks.iter().all(|check| check.detail.contains("the newer one")), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_an_api_is_what_health_says() {
    let world = World::new().await;
    for check in ["endpoint: /health", "custom: lights"] {
        let instance =
            world.serve(&own("", &format!("{{ {check}, retries: 0, timeout: 300ms }}")), SCRIPT_WITHOUT_API).await;
        for (mode, status, detail) in
            [("well", Healthy, ""), ("degraded", Degraded, "says so"), ("unhealthy", Unhealthy, "says so")]
        {
            let report = seen(&world, &instance, ("own", "health"), mode).await;
            assert_eq!(only(&report), (status, status, detail), "{check}: {mode}");
        }
        world.remove("own");
    }
    let none =
        world.start(&own("", "{ endpoint: /health, retries: 0 }, { custom: lights, retries: 0 }"), "return {}").await;
    let detail = "/health: the module has neither an api GET /health nor a `health` in its script; lights: the script has no `health`";
    assert_eq!(examine(&none).await.detail(), detail);
}

const SCRIPT_WITHOUT_API: &str = r#"
return {
  health = function()
    local mode = kv.get("health") or "well"
    if mode == "well" then return nil end
    return { status = mode, detail = "says so" }
  end,
  services = { ["own.set"] = function(args) kv.put(args.what, args.mode) end },
}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_asked_of_whichever_module_provides_it() {
    let world = World::new().await;
    let other =
        format!("id: other\nversion: 1.0.0\ncapabilities: [{{ id: other }}]\n{RUNTIME}{API}").replace("own.", "other.");
    let check = "{ service: other.ping, retries: 0, timeout: 300ms }";
    let instance = world.serve(&own("", check), SCRIPT_WITHOUT_API).await;
    let absent = examine(&instance).await;
    assert!(absent.status == Unhealthy && absent.detail().contains("other"), "{absent:?}");
    world.serve(&other, SCRIPT).await;
    assert_eq!(only(&examine(&instance).await), (Healthy, Healthy, ""));
    let thrown = seen(&world, &instance, ("other", "service"), "throw").await;
    assert!(thrown.status == Unhealthy && thrown.detail().contains("other.ping: other failed"), "{thrown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_does_not_answer_in_time_fails_and_only_its_own_check() {
    let world = World::new().await;
    let checks = "{ endpoint: /health, retries: 0, timeout: 100ms }, { service: own.ping, retries: 0, timeout: 20s }";
    let instance = world.serve(&own(API, checks), SCRIPT).await;
    set(&world, "own", "api", "spin").await;
    let report = examine(&instance).await;
    let found: Vec<_> = report.checks.iter().map(|check| (check.id.as_str(), check.status)).collect();
    assert_eq!(found, [("/health", Unhealthy), ("own.ping", Healthy)], "{report:?}");
    assert!(report.checks[0].detail == "no answer within 100 ms" && report.checks[0].latency_ms >= 100.0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_within_the_retries_is_forgiven_when_the_next_answer_is_well() {
    let world = World::new().await;
    for (retries, status, failures) in [(0, Unhealthy, 1), (1, Healthy, 0)] {
        let instance = world.serve(&own(API, &format!("{{ endpoint: /health, retries: {retries} }}")), SCRIPT).await;
        let report = seen(&world, &instance, ("own", "api"), "once").await;
        assert_eq!((report.status, report.checks[0].failures), (status, failures), "{report:?}");
        world.remove("own");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_is_not_critical_only_degrades() {
    let world = World::new().await;
    let checks = "{ endpoint: /health, retries: 0, critical: false }, { custom: lights, retries: 0 }";
    let instance = world.serve(&own(API, checks), SCRIPT).await;
    let report = seen(&world, &instance, ("own", "api"), "down").await;
    let statuses: Vec<_> = report.checks.iter().map(|check| (check.status, check.critical)).collect();
    assert_eq!((report.status, statuses), (Degraded, vec![(Unhealthy, false), (Healthy, true)]));
    assert_eq!(report.detail(), "/health: answered 503 Service Unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latency_of_a_check_is_measured() {
    let world = World::new().await;
    let instance = world.serve(&own(API, "{ endpoint: /health }"), SCRIPT).await;
    examine(&instance).await;
    let text = world.rig.metrics.render();
    let counted = r#"replug_health_check_seconds_count{check="/health",module="own",version="1.0.0"} 1"#;
    assert!(text.contains(counted), "{text}");
}

const DATABASE: &str = "database: { migrations: [{ version: 1.0.0, file: 1.sql }] }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_passes_while_every_table_of_its_migrations_is_there() {
    let (mut world, dir) = (World::new().await, TempDir::new().expect("a directory"));
    let databases = Databases::open(dir.path().to_owned()).expect("a directory");
    world.keep_in(Arc::new(databases.clone()));
    let instance = world.start(&own(DATABASE, "{ database: tables, retries: 0 }"), "return {}").await;
    let missing = examine(&instance).await;
    assert!(
        missing.status == Unhealthy && missing.detail().starts_with("tables: module own has no database"),
        "{missing:?}"
    );
    let files = BTreeMap::from([(
        "1.sql".to_owned(),
        "create table notes (id integer); create table tags (id integer)".into(),
    )]);
    Migrations::new(databases.clone()).up("own", &instance.manifest, &files).expect("they run");
    assert_eq!(only(&examine(&instance).await), (Healthy, Healthy, ""));
    let dropped = databases.change("own", Instant::now() + Duration::from_secs(5), |change| {
        change.script("drop table tags", |_| Ok(())).expect("it is dropped");
        Ok::<_, DatabaseError>(())
    });
    dropped.expect("it is committed");
    let report = examine(&instance).await;
    let detail = "tables: database of module own: tables are missing that its migrations made: tags";
    assert_eq!((report.status, report.detail().as_str()), (Unhealthy, detail));
}

/// A database whose disk does not answer: each look is told and waits for a word.
struct Hung {
    looks: Sender<()>,
    word: Receiver<()>,
}

impl Database for Hung {
    fn size(&self, _: &str) -> u64 {
        0
    }

    fn run_within(
        &self,
        _: u64,
        _: &str,
        _: Option<Guest<'_>>,
        _: &[Statement],
        _: Instant,
    ) -> Result<Vec<Value>, HostError> {
        Ok(Vec::new())
    }

    fn check(&self, _: &str, _: Instant) -> Result<(), HostError> {
        self.looks.send(()).expect("the test listens");
        self.word.recv().expect("a word");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_fails_in_time_and_holds_one_thread_however_often_it_is_asked() {
    let mut world = World::new().await;
    let ((looks, looked), (tell, word)) = (bounded(10), bounded(10));
    world.keep_in(Arc::new(Hung { looks, word }));
    let instance = world.start(&own(DATABASE, "{ database: tables, retries: 2, timeout: 50ms }"), "return {}").await;
    let report = examine(&instance).await;
    assert_eq!((report.checks[0].failures, only(&report)), (3, (Unhealthy, Unhealthy, "no answer within 50 ms")));
    assert_eq!(looked.len(), 1);
    tell.send(()).expect("it waits");
    tell.send(()).expect("it will ask");
    assert_eq!(examine(&instance).await.status, Healthy);
    assert_eq!(looked.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_checks_health_is_the_only_one_and_without_it_nothing_is_known() {
    let world = World::new().await;
    let plain = "id: own\nversion: 1.0.0\ncapabilities: [{ id: own }]\n";
    let instance = world.serve(plain, SCRIPT_WITHOUT_API).await;
    let report = seen(&world, &instance, ("own", "health"), "unhealthy").await;
    assert_eq!((report.detail().as_str(), report.checks[0].failures), ("health: says so", 1));
    let silent = world.start(&plain.replace("1.0.0", "2.0.0"), "return {}").await;
    let report = examine(&silent).await;
    assert_eq!((report.status, report.checks.len()), (Unknown, 0));
}
