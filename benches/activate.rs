//! How long do register, activate and a return to the version before take?

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

criterion_group!(benches, activate);
criterion_main!(benches);
