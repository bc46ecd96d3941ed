//! A runtime on a temporary data directory.

use std::time::Duration;

use replug::Runtime;
use replug::engine::Outcome;
use replug::registry::Bundle;
use tempfile::TempDir;

/// As many threads as `replug serve` takes.
pub(crate) fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

pub(crate) struct World {
    pub(crate) runtime: Runtime,
    dir: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = Runtime::builder().data_dir(dir.path()).build().await.expect("a runtime");
        Self { runtime, dir }
    }

    pub(crate) async fn register(&self, id: &str, version: &str, manifest: &str, language: &str, script: &str) {
        let manifest = format!("id: {id}\nname: {id}\nversion: {version}\n{manifest}");
        let files = [("module.manifest.yaml".to_owned(), manifest), (format!("main.{language}"), script.to_owned())];
        let files = files.into_iter().map(|(path, text)| (path, text.into_bytes().into())).collect();
        let bundle = Bundle::new(files).expect("a bundle");
        self.runtime.registry().register(bundle).await.expect("it is registered");
    }

    pub(crate) async fn install(&self, id: &str, version: &str, manifest: &str, language: &str, script: &str) {
        self.register(id, version, manifest, language, script).await;
        let done = self.runtime.activate(format!("{id}@{version}")).await.expect("an activation");
        assert_eq!(done.outcome, Outcome::Active, "{done:?}");
    }

    /// Ends the runtime and gives what it leaves.
    pub(crate) async fn end(self) -> TempDir {
        self.runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
        self.dir
    }
}
