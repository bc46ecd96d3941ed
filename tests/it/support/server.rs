//! `replug serve` as a process, and the command line against it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::Module;

/// How long a runtime may take to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime over a data directory of its own; ended when it is dropped.
pub(crate) struct Server {
    root: TempDir,
    process: Option<Child>,
    /// Whether it is started with `--dev`.
    dev: bool,
    lean: bool,
    http: reqwest::Client,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output as the one JSON document that it is.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The error's kind and its message, help and place, from the one JSON document on standard error.
    pub(crate) fn error(&self) -> (String, String) {
        let document: Value = serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error} in {self:?}"));
        let field = |name: &str| document["error"][name].as_str().unwrap_or_default().to_owned();
        let place = &document["error"]["location"];
        let place = format!("{}:{}", place["file"].as_str().unwrap_or_default(), place["line"]);
        (field("kind"), format!("{} {} {place}", field("message"), field("help")))
    }
}

/// An answer of the gateway or of the admin API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }
}

/// Runs the binary without a server.
pub(crate) fn replug(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_replug")).args(args).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A folder with a folder of modules.
fn folder(modules: &[Module]) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(root.path().join("modules")).expect("a folder can be made");
    for module in modules {
        module.write(&root.path().join("modules"));
    }
    root
}

impl Server {
    /// A runtime whose folder of modules holds these.
    pub(crate) async fn with(modules: &[Module]) -> Self {
        Self::over(folder(modules)).await
    }

    /// One that is not started yet.
    pub(crate) fn idle_with(modules: &[Module]) -> Self {
        Self::idle(folder(modules), false)
    }

    /// The same, in which an administrator has granted what these modules ask for, and activated them.
    pub(crate) async fn granting(modules: &[Module]) -> Self {
        let server = Self::with(modules).await;
        for id in modules.iter().filter_map(Module::asks) {
            server.ok(&["permissions", "grant", id]).await;
            if server.slot(id).await.is_none() {
                server.ok(&["activate", id]).await;
            }
        }
        server
    }

    /// A runtime with the modules that ship.
    pub(crate) async fn shipped() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
        #[cfg(unix)]
        std::os::unix::fs::symlink(modules, root.path().join("modules")).expect("a link can be made");
        Self::over(root).await
    }

    /// A runtime that watches its folder of modules, which holds these.
    pub(crate) async fn developing(modules: &[Module]) -> Self {
        let mut server = Self::idle(folder(modules), true);
        server.start().await;
        server
    }

    /// From its next start on it does not watch.
    pub(crate) fn watches_no_more(&mut self) {
        self.dev = false;
    }

    /// As [`Server::with`], in a process whose allocator gives freed memory back at once.
    pub(crate) async fn lean(modules: &[Module]) -> Self {
        let mut server = Self::idle(folder(modules), false);
        server.lean = true;
        server.start().await;
        server
    }

    async fn over(root: TempDir) -> Self {
        let mut server = Self::idle(root, false);
        server.start().await;
        server
    }

    fn idle(root: TempDir, dev: bool) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { root, process: None, dev, lean: false, http }
    }

    /// Starts the process on the data directory and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log file");
        let process = Command::new(env!("CARGO_BIN_EXE_replug"))
            .arg("serve")
            .arg(self.root.path().join("modules"))
            .arg("--data")
            .arg(self.data())
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--json"])
            .args(self.dev.then_some("--dev"))
            .envs(self.lean.then_some(("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let pid = process.id();
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let process = self.process.as_mut().expect("just started");
            if let Some(status) = process.try_wait().expect("the process can be asked") {
                panic!("serve ended with {status}: {}", self.logged());
            }
            // the file of a runtime that was killed is still there
            if self.runtime().is_some_and(|runtime| runtime["pid"] == pid) && self.is_ready().await {
                return;
            }
            assert!(Instant::now() < deadline, "serve was not ready in time: {}", self.logged());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let url = format!("http://{}/readyz", self.address("admin"));
        self.http.get(url).send().await.is_ok_and(|answer| answer.status() == 200)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// Everything the process printed.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn runtime(&self) -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(self.data().join("runtime.json")).ok()?).ok()
    }

    /// The address of `gateway` or `admin`.
    pub(crate) fn address(&self, which: &str) -> String {
        self.runtime().and_then(|runtime| Some(runtime[which].as_str()?.to_owned())).expect("the runtime says")
    }

    /// The process of the runtime.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Writes a module beside the runtime's folder of modules.
    pub(crate) fn write(&self, module: &Module) -> String {
        module.write(&self.root.path().join("later")).display().to_string()
    }

    /// Runs a command against this runtime, with `--json`.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        args.extend(["--json".into(), "--data".into(), self.data().display().to_string()]);
        let run = move || replug(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.expect("the command runs")
    }

    /// Runs a command that must succeed.
    pub(crate) async fn ok(&self, args: &[&str]) -> Value {
        let ran = self.run(args).await;
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}\n{}", self.logged());
        ran.json()
    }

    /// Registers and activates a module; both must succeed.
    pub(crate) async fn install(&self, module: &Module) -> Value {
        let registered = self.ok(&["register", &self.write(module)]).await;
        let label = |key: &str| registered[key].as_str().expect("a text").to_owned();
        self.ok(&["activate", &format!("{}@{}", label("id"), label("version"))]).await
    }

    /// Registers, activates and confirms a module.
    pub(crate) async fn settle(&self, module: &Module) {
        let report = self.install(module).await;
        self.ok(&["confirm", report["id"].as_str().expect("a text")]).await;
    }

    /// The row of a module's slot.
    pub(crate) async fn slot(&self, id: &str) -> Option<Value> {
        let rows = self.ok(&["list"]).await;
        rows.as_array().expect("a list").iter().find(|row| row["id"] == id).cloned()
    }

    /// The states of a module's versions.
    pub(crate) async fn states(&self, id: &str) -> Vec<(String, String)> {
        let rows = self.ok(&["versions", id]).await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let rows = rows.as_array().expect("a list");
        rows.iter().map(|row| (text(&row["version"]), text(&row["state"]))).collect()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.http.request(method, format!("http://{}{path}", self.address("gateway")))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        self.answer(request.send().await).await
    }

    /// An answer with its body, which there must be.
    pub(crate) async fn answer(&self, answer: reqwest::Result<reqwest::Response>) -> Answer {
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {}", self.logged()));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: answer.text().await.expect("a body") }
    }

    /// An operation, once it has ended.
    pub(crate) async fn operation(&self, id: &str) -> Value {
        self.resource(&format!("/v1/operations/{id}?wait=60s")).await
    }

    /// What the admin API has under this path: quicker than a command where a moment must not be missed.
    pub(crate) async fn resource(&self, path: &str) -> Value {
        let token = std::fs::read_to_string(self.data().join("admin.token")).expect("the runtime wrote it");
        let url = format!("http://{}{path}", self.address("admin"));
        let asked = self.http.get(url).bearer_auth(token.trim()).send().await;
        asked.expect("the admin API answers").json().await.expect("a document")
    }

    /// Posts a document to the admin API.
    pub(crate) async fn post(&self, path: &str, document: &Value) -> Value {
        let token = std::fs::read_to_string(self.data().join("admin.token")).expect("the runtime wrote it");
        let url = format!("http://{}{path}", self.address("admin"));
        let asked = self.http.post(url).bearer_auth(token.trim()).json(document).send().await;
        asked.expect("the admin API answers").json().await.expect("a document")
    }

    /// KiB of the process that are in memory.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> String {
        self.probe("/metrics").await.body
    }

    /// What the admin API answers to who has no token.
    pub(crate) async fn probe(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("http://{}{path}", self.address("admin")))).await
    }

    /// Ends the process at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Ends the process by SIGTERM and says how it ended.
    pub(crate) async fn terminate(&mut self) -> std::process::ExitStatus {
        let sent = Command::new("kill").arg(self.pid().to_string()).status().expect("kill runs");
        assert!(sent.success());
        self.wait().await
    }

    /// Waits for the end of the process, which was told to stop, and says how it ended.
    pub(crate) async fn wait(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.try_wait().expect("the process can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "serve did not end: {}", self.logged());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
