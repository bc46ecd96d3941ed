//! How long do register and activate take, and the activation of two modules as one set?

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/world.rs"]
mod world;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use replug::manifest::ActivationStrategy;

const API: &str = "apis:\n  - path: /hello\n    methods: [GET]\n";

fn script(language: &str) -> &'static str {
    match language {
        "lua" => r#"return { apis = { ["GET /hello"] = function() return "hello" end } }"#,
        _ => r#"#{ apis: #{ "GET /hello": || "hello" } }"#,
    }
}

fn api(id: &str) -> String {
    format!("apis:\n  - path: /{id}\n    methods: [GET]\n")
}

fn answers(id: &str) -> String {
    format!(r#"return {{ apis = {{ ["GET /{id}"] = function() return "hello" end }} }}"#)
}

fn activate(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let mut group = criterion.benchmark_group("activate");
    group.measurement_time(Duration::from_secs(5)).sample_size(30);
    for language in ["lua", "rhai"] {
        let world = tokio.block_on(world::World::new());
        tokio.block_on(world.install("hello", "1.0.0", API, language, script(language)));
        let mut serial = 0_u64;
        let mut next = move || {
            serial += 1;
            format!("1.{serial}.0")
        };
        let mut timed = |registering: bool, count: u64| {
            let mut took = Duration::ZERO;
            for _ in 0..count {
                let version = next();
                let started = Instant::now();
                tokio.block_on(world.register("hello", &version, API, language, script(language)));
                let registered = started.elapsed();
                let activate = world.runtime.activate(format!("hello@{version}")).strategy(ActivationStrategy::Instant);
                let started = Instant::now();
                let done = tokio.block_on(activate.into_future());
                took += if registering { registered } else { started.elapsed() };
                done.expect("an activation").ensure_serves().expect("it serves");
                tokio.block_on(world.runtime.confirm("hello")).expect("a confirmation");
            }
            took
        };
        group.bench_function(format!("register {language}"), |bencher| bencher.iter_custom(|count| timed(true, count)));
        group
            .bench_function(format!("activate {language}"), |bencher| bencher.iter_custom(|count| timed(false, count)));
        drop(tokio.block_on(world.end()));
    }
    group.finish();
}

/// Two modules as one set, which one commit switches, against one after the other.
fn set(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let mut group = criterion.benchmark_group("set");
    group.measurement_time(Duration::from_secs(5)).sample_size(30);
    let world = tokio.block_on(world::World::new());
    for id in ["one", "two"] {
        tokio.block_on(world.install(id, "1.0.0", &api(id), "lua", &answers(id)));
    }
    let mut serial = 0_u64;
    let mut timed = async |together: bool, count: u64| {
        let mut took = Duration::ZERO;
        for _ in 0..count {
            serial += 1;
            let version = format!("1.{serial}.0");
            for id in ["one", "two"] {
                world.register(id, &version, &api(id), "lua", &answers(id)).await;
            }
            let instant =
                |id: &str| world.runtime.activate(format!("{id}@{version}")).strategy(ActivationStrategy::Instant);
            let started = Instant::now();
            let done = if together {
                vec![instant("one").with(format!("two@{version}")).await]
            } else {
                vec![instant("one").await, instant("two").await]
            };
            took += started.elapsed();
            for done in done {
                done.expect("an activation").ensure_serves().expect("it serves");
            }
            world.runtime.confirm("one").await.expect("a confirmation");
            if !together {
                world.runtime.confirm("two").await.expect("a confirmation");
            }
        }
        took
    };
    for (name, together) in [("one after the other", false), ("together", true)] {
        group.bench_function(name, |bencher| bencher.iter_custom(|count| tokio.block_on(timed(together, count))));
    }
    group.finish();
    drop(tokio.block_on(world.end()));
}

criterion_group!(benches, activate, set);
criterion_main!(benches);
