//! How long after its first fault does a version still get traffic? The clients say: the time until the last fault that one
//! of them saw.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/world.rs"]
mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Method, Request, StatusCode};
use replug::engine::{SlotView, State};
use replug::manifest::ActivationStrategy;
use tower::ServiceExt as _;
use world::World;

/// What the manifest says of a shift's intervals; the aim is one of them and 100 ms.
const INTERVAL: Duration = Duration::from_millis(500);
const CLIENTS: usize = 4;

const MANIFEST: &str = "apis:
  - path: /probe
    methods: [GET, POST, DELETE]
lifecycle:
  activation:
    confirmWindow: 60s
    trafficShifting: { interval: 500ms }
";

/// Both versions, so that they can be told to break whichever is asked; only the newer one listens.
fn script(listens: bool) -> String {
    format!(
        r#"return {{ apis = {{
  ["GET /probe"] = function() if {listens} and kv.get("broken") then error("broken") end return "well" end,
  ["POST /probe"] = function() kv.put("broken", true) return "" end,
  ["DELETE /probe"] = function() kv.delete("broken") return "" end,
}} }}"#
    )
}

async fn ask(router: &axum::Router, method: Method) -> StatusCode {
    let request = Request::builder().method(method).uri("/probe").body(Body::empty()).expect("a request");
    router.clone().oneshot(request).await.expect("an answer").status()
}

/// Clients, and when one of them last met a fault.
struct Load {
    stop: Arc<AtomicBool>,
    last: Arc<Mutex<Option<Instant>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(router: &axum::Router) -> Self {
        let (stop, last) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let client = |_| {
            let (router, stop, last) = (router.clone(), Arc::clone(&stop), Arc::clone(&last));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if ask(&router, Method::GET).await.is_server_error() {
                        *last.lock().expect("no client panics") = Some(Instant::now());
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { stop, last, clients }
    }

    async fn end(self) -> Instant {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client");
        }
        let last = *self.last.lock().expect("no client panics");
        last.expect("the fault was met")
    }
}

/// Activates `version`, breaks it once `is_time`, and waits until the version before serves everything.
async fn detect(
    world: &World,
    version: &str,
    strategy: ActivationStrategy,
    is_time: impl Fn(&SlotView) -> bool,
) -> Duration {
    world.register("probe", version, MANIFEST, "lua", &script(true)).await;
    let router = world.runtime.router();
    assert!(ask(&router, Method::DELETE).await.is_success());
    let load = Load::start(&router);
    let slot = || world.runtime.engine().slots().into_iter().next().expect("the slot");
    let label = format!("probe@{version}");
    let activation = async { world.runtime.activate(&label).strategy(strategy).await };
    let breaks = async {
        while !is_time(&slot()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let broken = Instant::now();
        assert!(ask(&router, Method::POST).await.is_success());
        broken
    };
    let (activated, broken) = tokio::join!(activation, breaks);
    // what is taken back while it is provisional was activated all the same
    assert_eq!(activated.expect("an activation").outcome.serves(), strategy == ActivationStrategy::Instant);
    let state = || world.runtime.engine().state("probe", &version.parse().expect("a version")).state;
    while state() != State::Failed {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    load.end().await.duration_since(broken)
}

fn detection(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let world = tokio.block_on(World::new());
    tokio.block_on(world.install("probe", "1.0.0", MANIFEST, "lua", &script(false)));
    let mut group = criterion.benchmark_group(format!("detection with intervals of {} ms", INTERVAL.as_millis()));
    group.measurement_time(Duration::from_secs(10)).warm_up_time(Duration::from_millis(1)).sample_size(10);
    let mut serial = 0;
    let mut timed = |count: u64, strategy: ActivationStrategy, is_time: fn(&SlotView) -> bool| {
        (0..count)
            .map(|_| {
                serial += 1;
                tokio.block_on(detect(&world, &format!("2.{serial}.0"), strategy, is_time))
            })
            .sum()
    };
    group.bench_function("at weight 30", |bencher| {
        bencher.iter_custom(|count| {
            timed(count, ActivationStrategy::Gradual, |slot| {
                slot.candidate.as_ref().is_some_and(|candidate| candidate.weight == 30)
            })
        });
    });
    group.bench_function("provisional", |bencher| {
        bencher.iter_custom(|count| timed(count, ActivationStrategy::Instant, |slot| slot.state == State::Provisional));
    });
    group.finish();
    tokio.block_on(world.end());
}

criterion_group!(benches, detection);
criterion_main!(benches);
