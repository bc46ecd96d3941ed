//! The runtime inside another program: the examples, and what an application around it may rely on.

mod actors;
mod channels;
mod commands;
mod discovery;
mod ending;
mod examples;
mod permissions;
mod quotas;
mod services;
mod together;

use std::path::Path;
use std::time::Duration;

use replug::{Builder, Error, Runtime, Value};
use tempfile::TempDir;

use crate::support::Module;

/// A runtime of this process with its folder.
struct Embedded {
    runtime: Runtime,
    root: TempDir,
}

impl Embedded {
    /// A runtime without modules, made by `build` from the defaults.
    async fn new(build: impl FnOnce(Builder) -> Builder) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let builder = Runtime::builder().data_dir(root.path().join("data"));
        let runtime = build(builder).build().await.expect("it starts");
        Self { runtime, root }
    }

    fn root(&self) -> &Path {
        self.root.path()
    }

    async fn register(&self, module: &Module) {
        self.runtime.register(module.write(self.root())).await.expect("it is registered");
    }

    /// Registers a module that must serve then.
    async fn install(&self, module: &Module) -> &Self {
        let done = self.runtime.register(module.write(self.root())).await.expect("it is registered");
        let report = self.runtime.activate(done.definition.label()).await.expect("it is activated");
        report.ensure_serves().expect("it serves");
        self
    }

    async fn end(self) -> TempDir {
        self.runtime.shutdown(Duration::from_secs(5)).await.expect("it stops");
        self.root
    }
}

/// Calls `relay.call` of [`relay`], which hands on what the service it calls answered or the error it met.
async fn relayed(runtime: &Runtime, service: &str, args: Value) -> Result<Value, Error> {
    runtime.call("relay", "call", Value::map([("service", Value::from(service)), ("args", args)])).await
}

/// A module that calls whichever service it is told to.
fn relay(id: &str) -> Module {
    let script = r#"
        return { services = { ["CAPABILITY.call"] = function(args)
            local ok, result = pcall(services.call, args.service, args.args)
            if ok then return { answer = result } end
            return { kind = result.kind, message = result.message }
        end } }
    "#;
    Module::new(id, "1.0.0")
        .manifest(&format!("capabilities: [{{ id: {id} }}]\nruntime: {{ limits: {{ wallTime: 5s }} }}"))
        .lua(&script.replace("CAPABILITY", id))
}

/// The kind and the message of an error that a script got.
fn fault(answer: &Value) -> (&str, &str) {
    let text = |key| answer.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no {key}: {answer:?}"));
    (text("kind"), text("message"))
}
