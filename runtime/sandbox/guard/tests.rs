//! The guard over a real store and real files.

use std::time::{Duration, Instant};

use replug_scripts::scan::Argument;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::*;
use crate::manifest;
use crate::sandbox::permissions::Foresight;
use crate::sandbox::ports::tests::NoServices;
use crate::store::Store;
use crate::store::audit::AuditLog;

struct World {
    dir: TempDir,
    supplies: Supplies,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let (audit, metrics) = (AuditLog::open(&dir.path().join("audit")).unwrap(), Metrics::default());
        let supplies = Supplies {
            kv: KvStore::new(&store),
            database: None,
            services: Arc::new(NoServices),
            application: Arc::new(NoServices),
            residents: Arc::new(NoServices),
            permissions: permissions(&store, audit, &metrics),
            outside: Outside::new(dir.path().join("files"), Handle::current()),
            metrics,
            accounts: ModuleAccounts::default(),
            events: Events::default(),
            aborts: crate::monitor::Aborts::default(),
            runtime: Handle::current(),
        };
        Self { dir, supplies }
    }

    fn guard(&self, version: &str, more: &str) -> Guard {
        let text = format!("id: shop\nname: shop\nversion: {version}\n{more}");
        let manifest = manifest::load(manifest::FILE_NAME, text.as_bytes()).unwrap().manifest;
        let key = InstanceKey { id: "shop".into(), version: version.into(), generation: 1 };
        let grant = self.supplies.permissions.grant_all_asked(&manifest, Who::Host);
        Handle::current().block_on(grant).unwrap();
        Guard::new(&key, &manifest, self.supplies.clone())
    }
}

fn call(guard: &Guard, function: HostFn, args: &[Value]) -> Result<Value, HostError> {
    let call = CallContext {
        module: Arc::clone(&guard.key.id),
        version: Arc::clone(&guard.key.version),
        request_id: "test".into(),
        caller: None,
        deadline: Instant::now() + Duration::from_secs(20),
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    };
    guard.call(function, args.to_vec(), &call)
}

/// What asks for nothing reaches nothing, and hears of each refusal which line of the manifest would undo it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_refused_with_the_line_that_would_grant_it() {
    use HostFn as F;
    let world = World::new();
    tokio::task::block_in_place(|| {
        let guard = world.guard("1.0.0", "");
        let url = [Value::from("http://127.0.0.1:1/")];
        let request = [Value::map([("url", Value::from("http://127.0.0.1:1/"))])];
        let file = [Value::from("data/x"), Value::from("x")];
        let sql = [Value::from("select 1")];
        let name = [Value::from("PATH")];
        for (function, args, line) in [
            (F::FsRead, &file[..], "filesystem: [{ path: data/x, access: read }]"),
            (F::FsList, &file, "filesystem: [{ path: data/x, access: read }]"),
            (F::FsStat, &file, "filesystem: [{ path: data/x, access: read }]"),
            (F::FsExists, &file, "filesystem: [{ path: data/x, access: read }]"),
            (F::FsWrite, &file, "filesystem: [{ path: data/x, access: write }]"),
            (F::FsAppend, &file, "filesystem: [{ path: data/x, access: write }]"),
            (F::FsMkdir, &file, "filesystem: [{ path: data/x, access: write }]"),
            (F::FsRemove, &file, "filesystem: [{ path: data/x, access: write }]"),
            (F::EnvGet, &name, "environment: [PATH]"),
            (F::DbQuery, &sql, "database: { migrations: […] }"),
            (F::DbExecute, &sql, "database: { migrations: […] }"),
            (F::DbTransaction, &[], "database: { migrations: […] }"),
            (F::DbForCaller, &sql, "database: [{ module: caller, access: read }]"),
            (F::ServicesInvalidate, &name, "capabilities: [{ id: PATH }]"),
            #[cfg(feature = "http-client")]
            (F::HttpGet, &url, "network: [{ host: \"127.0.0.1\", ports: [1] }]"),
            #[cfg(feature = "http-client")]
            (F::HttpPost, &url, "network: [{ host: \"127.0.0.1\", ports: [1] }]"),
            #[cfg(feature = "http-client")]
            (F::HttpRequest, &request, "network: [{ host: \"127.0.0.1\", ports: [1] }]"),
        ] {
            let error = call(&guard, function, args).expect_err(line);
            assert_eq!(error.kind, HostErrorKind::PermissionDenied, "{error}");
            let begin = format!("permission denied: {}: ", function.path());
            assert!(error.message.starts_with(&begin) && error.message.contains(line), "{error}");
            assert!(error.message.contains("in module.manifest.yaml would "), "{error}");
        }
    });
    assert!(!world.dir.path().join("files").exists(), "nothing was made");
}

/// A call of a function, as values and as a text tells it; nothing for what a module may always do.
fn judged(function: HostFn) -> Option<(Vec<Value>, Vec<Argument>)> {
    use HostFn as F;
    let texts: &[&str] = match function {
        F::ConfigOf => &["other", "key"],
        F::DbQuery | F::DbExecute | F::DbForCaller => &["select 1"],
        F::DbTransaction => &[],
        F::DbOf => &["other", "select 1"],
        F::HttpGet | F::HttpPost => &["http://127.0.0.1:1/"],
        F::FsRead | F::FsList | F::FsStat | F::FsExists | F::FsWrite | F::FsAppend | F::FsRemove | F::FsMkdir => {
            &["data", "x"]
        }
        F::EnvGet => &["PATH"],
        F::EventsPublish => &["other.made"],
        F::ActorsSend | F::ActorsCall => &["counter"],
        F::ServicesInvalidate => &["stock"],
        F::ServicesRequest => &["GET", "/api/other"],
        F::ServicesRender => &["Chart"],
        F::HttpRequest => {
            return Some((vec![Value::map([("url", "http://127.0.0.1:1/".into())])], vec![Argument::Other]));
        }
        F::TimersAfter | F::TimersEvery => {
            let text = "other.made";
            return Some((vec![Value::Int(1000), text.into()], vec![Argument::Other, Argument::Text(text.into())]));
        }
        _ => return None,
    };
    Some((
        texts.iter().map(|text| Value::from(*text)).collect(),
        texts.iter().map(|text| Argument::Text((*text).into())).collect(),
    ))
}

/// What is foreseen of every function is what the guard does.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_foreseen_of_a_call_is_what_the_guard_says_of_it() {
    let world = World::new();
    let load = |more: &str| {
        let text = format!("id: shop\nname: shop\nversion: 1.0.0\n{more}");
        manifest::load(manifest::FILE_NAME, text.as_bytes()).unwrap().manifest
    };
    tokio::task::block_in_place(|| {
        let (guard, nothing) = (world.guard("1.0.0", ""), load(""));
        for (number, row) in FUNCTIONS.iter().enumerate() {
            let path = row.id.path();
            // whom a call of a service reaches is known only where modules serve
            if row.id == HostFn::ServicesCall || (cfg!(not(feature = "http-client")) && row.group == "http") {
                continue;
            }
            let foreseen = |manifest: &Manifest, arguments: &[Argument]| Foresight::new(manifest).of(row.id, arguments);
            let Some((args, arguments)) = judged(row.id) else {
                assert!(call(&guard, row.id, &[]).err().is_none_or(|error| !error.is_refusal()), "{path}");
                assert_eq!(foreseen(&nothing, &[]), None, "{path}");
                continue;
            };
            let error = call(&guard, row.id, &args).expect_err(&path);
            let told = foreseen(&nothing, &arguments).unwrap_or_else(|| panic!("{path}: {error}"));
            assert_eq!((told.refusal.kind, told.refusal.is_refusal()), (error.kind, error.is_refusal()), "{path}");
            let Some(line) = told.line() else {
                assert_eq!(told.refusal, error, "{path}");
                continue;
            };
            // the host of a request stands in a table, which the text of a call does not tell
            if row.id == HostFn::HttpRequest {
                assert!(line.contains("network: [{ host: HOST, "), "{path}: {line}");
                continue;
            }
            assert!(error.message.contains(line), "{path}: {line}: {error}");
            let line = line.replace('…', "{ version: 1.0.0, file: 1.sql }");
            let granted = world.guard(&format!("1.0.{}", number + 1), &line);
            let after = call(&granted, row.id, &args).err();
            let is_given =
                after.as_ref().is_none_or(|after| !after.is_refusal() && !after.message.contains("no actor"));
            assert!(is_given, "{path}: {line}: {after:?}");
            assert_eq!(foreseen(&load(&line), &arguments), None, "{path}: {line}");
        }
    });
}

/// Two versions at once, as while traffic shifts, and many threads: what grows counts before it is written.
#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_never_go_over_the_storage_quota_together() {
    const MAX: u64 = 100_000;
    let more = format!(
        "permissions:\n  system:\n    filesystem: [{{ path: ., access: write }}]\n  resources: {{ storage: {{ max: {MAX} }} }}\n"
    );
    let world = World::new();
    tokio::task::block_in_place(|| {
        let guards = [world.guard("1.0.0", &more), world.guard("2.0.0", &more)];
        let text = "x".repeat(1500);
        let refused: usize = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..6usize)
                .map(|thread| {
                    let (guard, text) = (&guards[thread % 2], &text);
                    scope.spawn(move || {
                        let mut refused = 0;
                        for round in 0..30 {
                            let name = Value::from(format!("{thread}-{round}"));
                            let function = if thread < 3 { HostFn::KvPut } else { HostFn::FsWrite };
                            match call(guard, function, &[name, Value::from(text.as_str())]) {
                                Ok(_) => {}
                                Err(error) => {
                                    assert_eq!(error.kind, HostErrorKind::Overloaded, "{error}");
                                    refused += 1;
                                }
                            }
                            let used = guard.storage.used("shop").unwrap();
                            // what is on its way counts, and may be refused yet
                            let coming = 3 * (1500 + 40 + 32) + 3 * 2600;
                            assert!(used.total() <= MAX + coming, "{used:?}");
                        }
                        refused
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).sum()
        });
        let used = guards[0].storage.used("shop").unwrap();
        assert!(used.total() <= MAX, "{used:?}");
        assert!(refused > 0 && used.total() > MAX - 6 * 2600, "{refused} refused, {used:?}");
        // what is measured anew is what was counted
        let files = crate::sandbox::fs::Files::new(world.dir.path().join("files")).used("shop").unwrap();
        assert_eq!(files, used.files);
        // full, it can still replace and remove
        let there = call(&guards[0], HostFn::FsList, &[Value::from(".")]).unwrap();
        let Value::List(there) = there else { panic!("a list") };
        let name = there[0].get("name").unwrap().clone();
        call(&guards[0], HostFn::FsWrite, &[name.clone(), Value::from("less")]).unwrap();
        assert_eq!(call(&guards[0], HostFn::FsRemove, &[name]), Ok(Value::Bool(true)));
    });
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_works_for_a_call_on_another_thread_is_named_by_its_version() {
    let mut world = World::new();
    world.supplies.aborts = crate::monitor::Aborts::open(&world.dir.path().join("aborts")).unwrap();
    let guard = tokio::task::block_in_place(|| world.guard("1.0.0", ""));
    let charge = guard.charge.clone();
    let named = tokio::task::spawn_blocking(move || charge.during(crate::monitor::aborts::executes)).await.unwrap();
    assert_eq!(named.as_deref(), Some("shop@1.0.0"));
}
