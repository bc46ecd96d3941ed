//! How much memory does a module take that is active and has nothing to do? Each language in a process of its own: what the
//! process holds grows by so much with each module.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/report.rs"]
mod report;
#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use memory::{mebibytes, resident};
use report::Report;
use world::World;

const MODULES: u64 = 200;
const QUICK_MODULES: u64 = 20;

/// Longer than a worker waits for work before its thread and its VM go.
const IDLE: Duration = Duration::from_secs(12);

fn script(language: &str, id: &str) -> String {
    match language {
        "lua" => format!(r#"return {{ apis = {{ ["GET /{id}"] = function(req) return "hello " .. req.path end }} }}"#),
        _ => format!(r#"#{{ apis: #{{ "GET /{id}": |req| "hello " + req.path }} }}"#),
    }
}

async fn measure(report: &Report, language: &str) -> String {
    let modules = if report.is_quick { QUICK_MODULES } else { MODULES };
    let world = World::new().await;
    let install = async |id: String| {
        let api = format!("apis:\n  - path: /{id}\n    methods: [GET]\n");
        world.install(&id, "1.0.0", &api, language, &script(language, &id)).await;
    };
    // what the first one of a language takes is no module's
    install("first".to_owned()).await;
    tokio::time::sleep(IDLE).await;
    let before = resident();
    for n in 0..modules {
        install(format!("m{n}")).await;
    }
    let active = resident();
    tokio::time::sleep(IDLE).await;
    let after = resident();
    world.end().await;
    let each = after.saturating_sub(before) as f64 / 1024.0 / modules as f64;
    format!(
        "{each:.0} KiB each of {modules}: {:.1} MiB before, {:.1} when all were active, {:.1} once they were idle",
        mebibytes(before),
        mebibytes(active),
        mebibytes(after)
    )
}

fn main() {
    let report = Report::from_args();
    for language in ["lua", "rhai"] {
        let name = format!("{language}, an idle module");
        if report.wants(&name) {
            memory::alone(&name, || {
                let found = world::tokio().block_on(measure(&report, language));
                report.tell(&name, &found);
            });
        }
    }
}
