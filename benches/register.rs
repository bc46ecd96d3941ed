//! How many registrations are acknowledged in a second? Each is on the disk by then.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/world.rs"]
mod world;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;

const SCRIPT: &str = r#"return { apis = { ["GET /hello"] = function() return "hello" end } }"#;
const API: &str = "apis:\n  - path: /hello\n    methods: [GET]\n";

fn register(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let world = tokio.block_on(world::World::new());
    tokio.block_on(world.install("hello", "0.1.0", API, "lua", SCRIPT));
    let mut group = criterion.benchmark_group("register");
    group.measurement_time(Duration::from_secs(5)).sample_size(20);
    let mut serial = 0_u64;
    for at_once in [1_u64, 32] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(format!("{at_once} at once"), |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    let versions: Vec<String> = (0..at_once).map(|n| format!("1.{}.0", serial + n)).collect();
                    serial += at_once;
                    let started = Instant::now();
                    let all = versions.iter().map(|version| world.register("hello", version, API, "lua", SCRIPT));
                    tokio.block_on(join_all(all));
                    took += started.elapsed();
                }
                took
            });
        });
    }
    group.finish();
    tokio.block_on(world.end());
}

criterion_group!(benches, register);
criterion_main!(benches);
