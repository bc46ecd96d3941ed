//! What does the way through the worker pool add to a call? The same call on the caller's own thread is 1.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/script.rs"]
mod script;
#[path = "support/world.rs"]
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use replug_scripts::Handler;

const SCRIPT: &str = r#"return { apis = { ["GET /hello"] = function() return "hello" end } }"#;
const API: &str = "apis:\n  - path: /hello\n    methods: [GET]\n";

/// Calls that wait at once, as behind as many connections.
const AT_ONCE: u64 = 32;

fn dispatch(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let world = tokio.block_on(world::World::new());
    tokio.block_on(world.install("hello", "1.0.0", API, "lua", SCRIPT));
    let handler = Handler::Api("GET /hello".into());
    let mut group = criterion.benchmark_group("dispatch");

    let program = replug_scripts::compile(&script::sources("lua", SCRIPT)).expect("it compiles");
    let call = script::context();
    let limits = replug_scripts::Limits::default();
    let mut vm = program.instantiate(Arc::new(script::NoHost), &limits, &call).expect("a VM");
    let request = script::request();
    group.bench_function("own thread", |bencher| {
        bencher.iter(|| vm.respond(&handler, &request, &script::context()).expect("an answer"));
    });

    let instance = world.runtime.instance("hello").expect("it serves");
    group.bench_function("one at a time", |bencher| {
        bencher.to_async(&tokio).iter(|| async {
            let (request, call) = (Box::new(script::request()), script::context());
            instance.respond(handler.clone(), request, call).await.expect("an answer")
        });
    });
    group.bench_function("32 at once", |bencher| {
        bencher.iter_custom(|count| {
            tokio.block_on(async {
                let started = Instant::now();
                let tasks: Vec<_> = (0..AT_ONCE)
                    .map(|n| {
                        let (instance, handler) = (Arc::clone(&instance), handler.clone());
                        let count = count / AT_ONCE + u64::from(n < count % AT_ONCE);
                        tokio::spawn(async move {
                            for _ in 0..count {
                                let (request, call) = (Box::new(script::request()), script::context());
                                instance.respond(handler.clone(), request, call).await.expect("an answer");
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("a client");
                }
                started.elapsed().max(Duration::from_nanos(1))
            })
        });
    });
    group.finish();
    drop(vm);
    drop(instance);
    tokio.block_on(world.end());
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
