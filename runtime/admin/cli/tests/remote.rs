//! The command line against a server.

use serde_json::json;

use super::*;
use crate::admin::commands::tests::fake::{World, files};
use crate::admin::{Admin, RuntimeFile, token};
use crate::engine::Outcome;
use crate::monitor::Metrics;

/// A server with its data directory, and a folder to write modules to.
pub(super) struct Server {
    pub(super) world: World,
    work: tempfile::TempDir,
    pub(super) stop: tokio::sync::watch::Sender<bool>,
}

/// A command line that has not ended yet, and what it has written so far.
pub(super) struct Running {
    pub(super) task: tokio::task::JoinHandle<Ended>,
    pub(super) out: Paper,
    pub(super) err: Paper,
}

impl Server {
    pub(super) async fn start() -> Self {
        let world = World::new().await;
        let data = world.dir.path();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = listener.local_addr().unwrap();
        RuntimeFile { pid: std::process::id(), admin, gateway: admin }.write(data).unwrap();
        let token = token::load_or_create(data).unwrap();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let admin = Admin::new(world.commands.clone(), token, || None, Metrics::default());
        let router = admin.until(stopped).into_router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { world, work: tempfile::TempDir::new().unwrap(), stop }
    }

    /// Runs a command line on a thread of its own, as a process would.
    pub(super) async fn run(&self, line: &str) -> Ended {
        self.begin(line).task.await.unwrap()
    }

    /// The same without waiting for its end.
    pub(super) fn begin(&self, line: &str) -> Running {
        let mut line = words(line);
        line.extend([OsString::from("--data"), self.world.dir.path().into()]);
        let (out, err) = (Paper::default(), Paper::default());
        let papers = (out.clone(), err.clone());
        Running { task: tokio::task::spawn_blocking(move || typed_on(line, papers.0, papers.1)), out, err }
    }

    /// A module's folder of that version; `more` are lines of its manifest.
    pub(super) fn module(&self, id: &str, version: &str, more: &str) -> String {
        let dir = self.work.path().join(format!("{id}-{version}"));
        std::fs::create_dir_all(&dir).unwrap();
        for (path, content) in files(id, version, more) {
            std::fs::write(dir.join(path), content).unwrap();
        }
        dir.display().to_string()
    }
}

#[tokio::test]
async fn a_module_lives_through_all_verbs() {
    let server = Server::start().await;
    let (one, two) = (server.module("a", "1.0.0", ""), server.module("a", "1.1.0", ""));
    let done = server.run(&format!("register {one} --json")).await;
    assert_eq!((done.exit, done.err.as_str(), &done.json()["fresh"]), (Exit::Done, "", &true.into()));
    let done = server.run("activate a@1.0.0 --strategy instant --json").await;
    let report = json!({"id": "a", "version": "1.0.0", "outcome": "active", "reason": null, "steps": [], "trafficShift": [], "rollback": []});
    assert_eq!((done.exit, done.json()), (Exit::Done, report));
    let done = server.run(&format!("update {two} --json")).await;
    assert_eq!((&done.json()["version"], &done.json()["activation"]["outcome"]), (&"1.1.0".into(), &"active".into()));
    let list = server.run("list --json").await.json();
    assert_eq!(
        (list.as_array().unwrap().len(), &list[0]["version"], &list[0]["previous"]),
        (1, &"1.1.0".into(), &"1.0.0".into())
    );
    let health = server.run("health a --json").await;
    let expected = json!({"id": "a", "version": "1.1.0", "status": "degraded", "uptime": 7, "lastCheck": 1000,
        "checks": [{"id": "/health", "type": "endpoint", "status": "unhealthy", "detail": "slow", "critical": false,
            "failures": 3, "latencyMs": 1.5, "lastCheck": 1000}], "candidate": null});
    assert_eq!((health.exit, health.json()), (Exit::Done, expected.clone()));
    assert_eq!(server.run("health --json").await.json(), json!([expected]));
    let rollback = server.run("rollback a --json").await;
    assert_eq!((rollback.exit, &rollback.json()["version"]), (Exit::Done, &"1.0.0".into()));
    let versions = server.run("versions a --json").await.json();
    assert_eq!(versions.as_array().unwrap().iter().map(|row| &row["version"]).collect::<Vec<_>>(), ["1.0.0", "1.1.0"]);
    assert_eq!(server.run("show a --json").await.json()["manifest"]["id"], "a");
    assert_eq!(server.run("find --category x --json").await.json(), json!([]));
    assert_eq!(server.run("deactivate a --json").await.json()["cutOff"], 0);
    let gone = server.run("health a --json").await;
    assert_eq!((gone.exit, &gone.error()["kind"]), (Exit::Failed, &"nothing-serves".into()));
    assert_eq!(server.run("unregister a --json").await.json(), json!({"id": "a", "versions": ["1.0.0", "1.1.0"]}));
}

#[tokio::test]
async fn people_read_sentences_and_tables() {
    let server = Server::start().await;
    let one = server.module("a", "1.0.0", "capabilities: [{ id: sql, category: data }]\n");
    assert_eq!(server.run("list").await.out, "nothing serves yet; replug register PATH, then replug activate ID\n");
    assert!(server.run(&format!("register {one}")).await.out.starts_with("registered a@1.0.0 ("));
    assert!(server.run(&format!("register {one}")).await.out.starts_with("a@1.0.0 was registered already ("));
    assert_eq!(server.run("activate a").await.out, "a@1.0.0 is active (0.0 ms)\n");
    let list = server.run("list").await.out;
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..3], ["ID", "VERSION", "STATE"]);
    assert_eq!(rows[1][..6], ["a", "1.0.0", "active", "100", "%", "healthy"]);
    let health = server.run("health").await.out;
    let row: Vec<&str> = health.lines().nth(1).expect("a row").split_whitespace().collect();
    let expected = ["a", "1.0.0", "degraded", "/health", "endpoint", "unhealthy", "no", "3", "1.5"];
    assert_eq!((&row[..9], row.last()), (&expected[..], Some(&"slow")));
    let shown = server.run("show a").await.out;
    assert!(
        shown.starts_with("# a@1.0.0: active, 100 % of the traffic\n# registered 1970-01-01 00:00:01Z, digest "),
        "{shown}"
    );
    crate::manifest::load("shown", shown.as_bytes()).expect("what show prints is a manifest");
    assert!(server.run("versions a").await.out.lines().nth(1).unwrap().starts_with("1.0.0    active"));
    assert!(server.run("find --capability sql").await.out.contains("sql@1.0.0 (data)"));
    assert!(server.run("deactivate a").await.out.starts_with("a@1.0.0 is out of service ("));
    assert_eq!(server.run("unregister a@1.0.0").await.out, "unregistered a@1.0.0\n");
}

#[tokio::test]
async fn an_activation_that_was_taken_back_ends_with_3_and_one_that_failed_with_1() {
    let server = Server::start().await;
    let one = server.module("a", "1.0.0", "");
    server.run(&format!("register {one}")).await;
    for (outcome, exit) in [
        (Outcome::RolledBack, Exit::RolledBack),
        (Outcome::Failed, Exit::Failed),
        (Outcome::FailedToRestore, Exit::Failed),
    ] {
        server.world.fake.played.lock().unwrap().outcome = Some(outcome);
        let done = server.run("activate a --json").await;
        assert_eq!((done.exit, &done.json()["outcome"]), (exit, &outcome.name().into()));
        assert_eq!(done.error()["kind"], outcome.name());
        let done = server.run("activate a").await;
        assert!(
            done.exit == exit && done.out.is_empty() && done.err.contains("init threw: no such table"),
            "{}",
            done.err
        );
    }
}

#[tokio::test]
async fn without_waiting_the_operation_is_the_result() {
    let server = Server::start().await;
    let one = server.module("a", "1.0.0", "");
    server.run(&format!("register {one}")).await;
    let held = Arc::clone(&server.world.fake.gate).acquire_many_owned(1000).await.unwrap();
    let begun = server.run("activate a --no-wait --json").await;
    assert_eq!((begun.exit, &begun.json()["state"]), (Exit::Done, &"running".into()));
    drop(held);
    while server.world.commands.list().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_the_server_refuses_reads_as_if_it_had_been_found_here() {
    let server = Server::start().await;
    let bad = server.module("a", "1.0.0", "metods: 1\n");
    let done = server.run(&format!("register {bad}")).await;
    assert_eq!((done.exit, done.out.as_str()), (Exit::Failed, ""));
    assert!(done.err.starts_with(&format!("{bad}/module.manifest.yaml:4:1: unknown key `metods`")), "{}", done.err);
    let error = server.run(&format!("update {bad} --json")).await.error();
    assert_eq!((&error["kind"], &error["location"]["line"]), (&"manifest".into(), &4.into()));
    assert_eq!(error["location"]["file"], format!("{bad}/module.manifest.yaml"));

    let done = server.run("activate b --json").await;
    assert_eq!((done.exit, &done.error()["kind"]), (Exit::Failed, &"not-registered".into()));
    let done = server.run("register /nowhere/at/all --json").await;
    assert_eq!((done.exit, &done.error()["kind"]), (Exit::Failed, &"files".into()));
    server.run(&format!("register {}", server.module("b", "1.0.0", ""))).await;
    let done = server.run("deactivate b --json").await;
    assert_eq!(
        (done.exit, &done.error()["kind"]),
        (Exit::Failed, &"nothing-serves".into()),
        "an operation's error too"
    );
}

#[tokio::test]
async fn where_no_runtime_answers_it_ends_with_4_and_says_how_to_start_one() {
    let server = Server::start().await;
    let data = server.world.dir.path().to_owned();
    let unreachable = |ended: Ended, what: &str| {
        assert_eq!(
            (ended.exit, ended.out.as_str(), &ended.error()["kind"]),
            (Exit::Unreachable, "", &"unreachable".into())
        );
        assert!(ended.error()["message"].as_str().unwrap().contains(what), "{}", ended.err);
        let start = format!("start it: replug serve --data {}", data.display());
        assert_eq!(ended.error()["help"], start);
    };
    let file = RuntimeFile::read(&data).unwrap();
    // Another runtime took the port: it does not know this directory's token.
    std::fs::write(token::path(&data), "0".repeat(64)).unwrap();
    unreachable(server.run("list --json").await, "is not the runtime of");
    // The process was killed: nobody listens at the port any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    RuntimeFile { admin: port, ..file }.write(&data).unwrap();
    unreachable(server.run("list --json").await, "cannot be reached");
    std::fs::remove_file(token::path(&data)).unwrap();
    unreachable(server.run("list --json").await, "admin.token does not exist");
    file.write(&data).unwrap();
    RuntimeFile::read(&data).unwrap().remove(&data).unwrap();
    unreachable(server.run("list --json").await, "runtime.json does not exist");
}
