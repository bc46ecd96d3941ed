//! What do swaps cost who asks meanwhile? The 99th percentile of calm is 1. And how long does it take from a verdict of a traffic shift
//! until the next share is routed?

#[path = "support/aims.rs"]
mod aims;
#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/report.rs"]
mod report;
#[path = "support/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aims::beside;
use axum::body::Body;
use http::{Request, StatusCode};
use replug::Event;
use replug::manifest::ActivationStrategy;
use report::Report;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use world::World;

/// How much longer than in calm the 99th percentile may be.
const AIM: Duration = Duration::from_millis(10);
const CLIENTS: usize = 8;
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(2);
/// Swaps of a phase.
const SWAPS: usize = 40;
/// Phases of each kind.
const ROUNDS: usize = 5;

const MANIFEST: &str = "apis:
  - path: /swapped
    methods: [GET]
lifecycle:
  activation:
    trafficShifting: { interval: 50ms }
";

const SCRIPT: &str = r#"return { apis = { ["GET /swapped"] = function(_, ctx) return ctx.version end } }"#;

/// Clients that ask until they are told to stop, and then say how long each answer took, in seconds.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<f64>>>,
}

impl Load {
    fn start(router: &axum::Router) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |_| {
            let (router, stop) = (router.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::get("/swapped").body(Body::empty()).expect("a request");
                    let started = Instant::now();
                    let status = router.clone().oneshot(request).await.expect("an answer").status();
                    took.push(started.elapsed().as_secs_f64());
                    assert_eq!(status, StatusCode::OK, "no request is lost");
                    tokio::time::sleep(PACE).await;
                }
                took
            })
        };
        Self { clients: (0..CLIENTS).map(client).collect(), stop }
    }

    /// The 99th percentile, in seconds.
    async fn end(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = Vec::new();
        for client in self.clients {
            took.extend(client.await.expect("a client"));
        }
        took.sort_by(f64::total_cmp);
        took[(took.len() - 1) * 99 / 100]
    }
}

/// A module that is swapped again and again.
struct Swapped {
    world: World,
    serial: usize,
}

impl Swapped {
    async fn new() -> Self {
        let world = World::new().await;
        world.install("swapped", "1.0.0", MANIFEST, "lua", SCRIPT).await;
        Self { world, serial: 0 }
    }

    async fn swap(&mut self, strategy: ActivationStrategy) {
        self.serial += 1;
        let version = format!("1.{}.0", self.serial);
        self.world.register("swapped", &version, MANIFEST, "lua", SCRIPT).await;
        let done = self.world.runtime.activate(format!("swapped@{version}")).strategy(strategy).await;
        done.expect("an activation").ensure_serves().expect("it serves");
        self.world.runtime.confirm("swapped").await.expect("a confirmation");
    }

    /// The 99th percentile of who asks while so many swaps are made; in calm, for two seconds.
    async fn phase(&mut self, strategy: Option<ActivationStrategy>, swaps: usize) -> f64 {
        let load = Load::start(&self.world.runtime.router());
        match strategy {
            Some(strategy) => {
                for _ in 0..swaps {
                    self.swap(strategy).await;
                }
            }
            None => tokio::time::sleep(Duration::from_secs(2)).await,
        }
        load.end().await
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn compare(report: &Report, strategy: ActivationStrategy, swaps: usize) -> String {
    let rounds = if report.is_quick { 1 } else { ROUNDS };
    let mut swapped = Swapped::new().await;
    swapped.phase(None, 0).await;
    let (mut calm, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        calm.push(swapped.phase(None, 0).await);
        busy.push(swapped.phase(Some(strategy), swaps).await);
    }
    swapped.world.end().await;
    let (calm, busy) = (median(&mut calm), median(&mut busy));
    let met = if busy - calm <= AIM.as_secs_f64() { "" } else { " MISSED" };
    let millis = |seconds: f64| seconds * 1e3;
    let (ratio, aim) = (beside(busy / calm, None), AIM.as_millis());
    format!("{ratio}: p99 {:.2} ms against {:.2} ms, aim {aim} ms more at most{met}", millis(busy), millis(calm))
}

/// The median of the times from a verdict to the next share, under requests.
async fn increment(report: &Report) -> String {
    let swaps = if report.is_quick { 2 } else { 10 };
    let mut swapped = Swapped::new().await;
    let load = Load::start(&swapped.world.runtime.router());
    let mut events = swapped.world.runtime.events();
    // on a thread of its own: it must not wait for the clients' tasks before it looks at its clock
    let follow = std::thread::spawn(move || {
        let (mut judged, mut took) = (None, Vec::new());
        let tokio = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio.block_on(async {
            while let Some(Ok(event)) = events.next().await {
                match &*event {
                    Event::Judged { .. } => judged = Some(Instant::now()),
                    Event::TrafficShifted { .. } => took.extend(judged.take().map(|it| it.elapsed().as_secs_f64())),
                    _ => {}
                }
            }
        });
        took
    });
    for _ in 0..swaps {
        swapped.swap(ActivationStrategy::Gradual).await;
    }
    load.end().await;
    swapped.world.end().await;
    let mut took = follow.join().expect("it follows");
    let shifts = took.len();
    format!("{:.0} µs, the median of {shifts}", median(&mut took) * 1e6)
}

fn main() {
    let report = Report::from_args();
    let tokio = world::tokio();
    let instant = if report.is_quick { SWAPS / 4 } else { SWAPS };
    for (name, strategy, swaps) in [
        ("beside instant swaps", ActivationStrategy::Instant, instant),
        ("beside gradual swaps", ActivationStrategy::Gradual, instant / 10),
    ] {
        if report.wants(name) {
            let found = tokio.block_on(compare(&report, strategy, swaps));
            report.tell(name, &found);
        }
    }
    let name = "from a verdict to the next share";
    if report.wants(name) {
        let found = tokio.block_on(increment(&report));
        report.tell(name, &found);
    }
}
