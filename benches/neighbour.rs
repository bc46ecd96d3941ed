//! What does a module at its limits cost a quiet one beside it? The quiet one's 99th percentile alone is 1.
//!
//! Both are called through real actors and threads. The quiet one gets a request every few milliseconds; in turn for a while
//! alone and for a while beside a neighbour that loops without end. On a machine with more than two cores: `taskset -c 0,1`.

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
use http::{HeaderMap, Method};
use replug::actors::instance::Instance;
use replug_scripts::{Handler, Request};
use report::Report;
use tokio::time::MissedTickBehavior;
use world::World;

/// How many times longer the quiet one's 99th percentile may be.
const AIM: f64 = 1.5;
/// Between two requests to the quiet one.
const PACE: Duration = Duration::from_millis(3);
/// Requests of a phase.
const REQUESTS: usize = 1000;
/// Phases alone, and as many beside the neighbour.
const ROUNDS: usize = 7;
/// Before a caller of the neighbour that was turned away comes again.
const PAUSE: Duration = Duration::from_millis(5);

const QUIET: &str = "return { apis = { ['GET /quiet'] = function(req)
  local all = {} for i = 1, 200 do all[i] = req.path .. i end return { body = { last = all[#all] } }
end } }";
const GREEDY: &str = "return { apis = { ['GET /greedy'] = function() while true do end end } }";

/// What the neighbour's manifest says, and how many calls it has at once.
const NEIGHBOURS: [(&str, &str, usize); 4] = [
    (
        "at half a core in short calls",
        "runtime: { limits: { cpuTime: 10ms } }\npermissions: { resources: { cpu: { maxCpuUsage: 0.5 } } }\n",
        4,
    ),
    ("at half a core in long calls", "permissions: { resources: { cpu: { maxCpuUsage: 0.5 } } }\n", 4),
    ("at the limits of its calls", "", 4),
    ("at the limits of 64 calls at once", "runtime: { workers: 64 }\n", 64),
];

fn api(id: &str) -> String {
    format!("apis:\n  - path: /{id}\n    methods: [GET]\n")
}

async fn ask(instance: &Arc<Instance>) -> bool {
    let id = &instance.key.id;
    let request = Request {
        id: "bench".into(),
        method: Method::GET,
        path: format!("/{id}"),
        params: Vec::new(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: bytes::Bytes::new(),
        principal: None,
    };
    let call = instance.context("bench", Duration::from_secs(2));
    instance.respond(Handler::Api(format!("GET /{id}").into()), Box::new(request), call).await.is_ok()
}

/// The 99th percentile of a phase, in seconds.
async fn phase(quiet: &Arc<Instance>, requests: usize) -> f64 {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut took = Vec::with_capacity(requests);
    for _ in 0..requests {
        pace.tick().await;
        let started = Instant::now();
        assert!(ask(quiet).await, "the quiet one is answered");
        took.push(started.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    took[(requests - 1) * 99 / 100]
}

/// The same while `greedy` is called all the time.
async fn phase_beside(quiet: &Arc<Instance>, greedy: &Arc<Instance>, requests: usize, callers: usize) -> f64 {
    let stop = Arc::new(AtomicBool::new(false));
    let callers = (0..callers).map(|_| {
        let (greedy, stop) = (Arc::clone(greedy), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert!(!ask(&greedy).await, "it has no end of its own");
                tokio::time::sleep(PAUSE).await;
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    let found = phase(quiet, requests).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("a caller");
    }
    found
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(report: &Report, manifest: &str, callers: usize) -> String {
    let world = World::new().await;
    world.install("quiet", "1.0.0", &api("quiet"), "lua", QUIET).await;
    world.install("greedy", "1.0.0", &format!("{}{manifest}", api("greedy")), "lua", GREEDY).await;
    let [quiet, greedy] = ["quiet", "greedy"].map(|id| world.runtime.instance(id).expect("it serves"));
    let (requests, rounds) = if report.is_quick { (REQUESTS / 5, 3) } else { (REQUESTS, ROUNDS) };
    phase(&quiet, requests / 2).await;
    let (mut alone, mut besides) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.push(phase(&quiet, requests).await);
        besides.push(phase_beside(&quiet, &greedy, requests, callers).await);
    }
    drop([quiet, greedy]);
    world.end().await;
    let (alone, company) = (median(&mut alone), median(&mut besides));
    let (ratio, micros) = (beside(company / alone, Some(AIM)), |seconds: f64| seconds * 1e6);
    format!("{ratio}: p99 {:.0} µs against {:.0} µs", micros(company), micros(alone))
}

fn main() {
    let report = Report::from_args();
    for (neighbour, manifest, callers) in NEIGHBOURS {
        let name = format!("beside a neighbour {neighbour}");
        if report.wants(&name) {
            let found = world::tokio().block_on(measure(&report, manifest, callers));
            report.tell(&name, &found);
        }
    }
}
