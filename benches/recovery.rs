//! How long does a runtime take to be ready again after kill -9 in the middle of a traffic shift, and after SIGTERM? And with up to
//! 1,000 modules that serve?

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/process.rs"]
mod process;
#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use process::Process;
use tempfile::TempDir;
use world::World;

/// Modules that serve when the process ends, beside the one whose traffic shifts.
const MODULES: usize = 8;

fn manifest(id: &str) -> String {
    format!(
        "apis:\n  - path: /{id}\n    methods: [GET]\nlifecycle:\n  activation:\n    trafficShifting: {{ interval: 60s }}\n"
    )
}

fn script(id: &str) -> String {
    format!(r#"return {{ apis = {{ ["GET /{id}"] = function() return "hello" end }} }}"#)
}

/// A data directory in which so many versions are registered.
async fn prepare(versions: usize) -> TempDir {
    let world = World::new().await;
    for n in 0..MODULES {
        let id = format!("m{n}");
        world.install(&id, "1.0.0", &manifest(&id), "lua", &script(&id)).await;
    }
    world.install("probe", "1.0.0", &manifest("probe"), "lua", &script("probe")).await;
    world.register("probe", "2.0.0", &manifest("probe"), "lua", &script("probe")).await;
    for n in MODULES + 2..versions {
        let id = format!("m{}", n % MODULES);
        world.register(&id, &format!("0.{n}.0"), &manifest(&id), "lua", &script(&id)).await;
    }
    world.end().await
}

fn recovery(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let mut group = criterion.benchmark_group("recovery");
    group.measurement_time(Duration::from_secs(10)).warm_up_time(Duration::from_millis(1)).sample_size(10);
    for versions in [10, 1000] {
        let data = tokio.block_on(prepare(versions));
        group.bench_function(format!("{versions} versions, after kill -9"), |bencher| {
            bencher.iter_custom(|count| {
                let one = || {
                    tokio.block_on(async {
                        let process = Process::start(data.path()).await;
                        process.begin_shift("probe", "2.0.0").await;
                        process.kill();
                        let again = Process::start(data.path()).await;
                        assert_eq!(again.serving("probe").await, "1.0.0");
                        again.took
                    })
                };
                (0..count).map(|_| one()).sum()
            });
        });
        group.bench_function(format!("{versions} versions, after SIGTERM"), |bencher| {
            bencher.iter_custom(|count| {
                let one = || {
                    tokio.block_on(async {
                        Process::start(data.path()).await.terminate();
                        Process::start(data.path()).await.took
                    })
                };
                (0..count).map(|_| one()).sum()
            });
        });
    }
    group.finish();
}

/// A data directory in which so many modules serve.
async fn serving(modules: usize) -> TempDir {
    let world = World::new().await;
    for n in 0..modules {
        let id = format!("m{n}");
        world.install(&id, "1.0.0", &manifest(&id), "lua", &script(&id)).await;
    }
    world.end().await
}

fn startup(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let mut group = criterion.benchmark_group("startup");
    group.measurement_time(Duration::from_secs(10)).warm_up_time(Duration::from_millis(1)).sample_size(10);
    for modules in [10, 100, 1000] {
        let data = tokio.block_on(serving(modules));
        group.bench_function(format!("{modules} modules that serve"), |bencher| {
            bencher.iter_custom(|count| {
                let one = || {
                    tokio.block_on(async {
                        let process = Process::start(data.path()).await;
                        assert_eq!(process.serving(&format!("m{}", modules - 1)).await, "1.0.0");
                        let took = process.took;
                        process.terminate();
                        took
                    })
                };
                (0..count).map(|_| one()).sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, recovery, startup);
criterion_main!(benches);
