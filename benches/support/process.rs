//! `replug serve` as a process over a data directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is ready; killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    data: PathBuf,
    http: reqwest::Client,
    /// From its start until it was ready.
    pub(crate) took: Duration,
}

impl Process {
    pub(crate) async fn start(data: &Path) -> Self {
        let started = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_replug"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
            .arg(data)
            .current_dir(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut process = Self { child, data: data.to_owned(), http: reqwest::Client::new(), took: Duration::ZERO };
        while !process.is_ready().await {
            let ended = process.child.try_wait().expect("the process can be asked");
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "it is not ready: {ended:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.took = started.elapsed();
        process
    }

    async fn is_ready(&self) -> bool {
        // the file of a runtime that was killed is still there
        let Some(runtime) = self.runtime().filter(|runtime| runtime["pid"] == self.child.id()) else { return false };
        let url = format!("http://{}/readyz", runtime["admin"].as_str().expect("an address"));
        self.http.get(url).send().await.is_ok_and(|answer| answer.status() == 200)
    }

    fn runtime(&self) -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(self.data.join("runtime.json")).ok()?).ok()
    }

    async fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let token = std::fs::read_to_string(self.data.join("admin.token")).expect("the runtime wrote it");
        let runtime = self.runtime().expect("it is ready");
        let url = format!("http://{}{path}", runtime["admin"].as_str().expect("an address"));
        let request = self.http.request(method.parse().expect("a method"), url).bearer_auth(token.trim());
        let request = if body.is_null() { request } else { request.json(body) };
        request.send().await.expect("an answer").json().await.expect("a document")
    }

    async fn slot(&self, id: &str) -> Value {
        let slots = self.admin("GET", "/v1/modules", &Value::Null).await;
        let mut slots = slots.as_array().expect("a list").iter();
        slots.find(|slot| slot["id"] == id).cloned().unwrap_or_else(|| panic!("{id} has a slot"))
    }

    /// Begins a gradual activation and waits until the candidate has traffic.
    pub(crate) async fn begin_shift(&self, id: &str, version: &str) {
        let body = json!({ "version": version, "strategy": "gradual" });
        self.admin("POST", &format!("/v1/modules/{id}/activate"), &body).await;
        while self.slot(id).await["candidate"]["weight"] != 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn serving(&self, id: &str) -> String {
        let slot = self.slot(id).await;
        assert!(slot["candidate"].is_null(), "{slot}");
        slot["version"].as_str().expect("a version").to_owned()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    pub(crate) fn terminate(mut self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("it ends");
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
