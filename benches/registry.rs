//! Does the registry stay as fast with many versions? Registrations, look-ups and resolutions with 10, 1,000 and 10,000 of them; the
//! last column is what a row takes beside the one with 10.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/report.rs"]
mod report;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use replug::manifest;
use replug::registry::resolver::{self, Running};
use replug::registry::versions::ModuleRef;
use replug::registry::{Definition, Snapshot};
use semver::Version;

use report::Report;

/// Modules of the graph that is resolved: each needs up to three before it.
const GRAPH: usize = 100;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

const SCRIPT: &str = r#"return { apis = { ["GET /hello"] = function() return "hello" end } }"#;
const API: &str = "apis:\n  - path: /hello\n    methods: [GET]\n";

/// The manifest of a module of the graph; its needs take any 1.x.
fn member(n: usize, minor: u64) -> String {
    let needs: String = [1, 7, 31]
        .iter()
        .filter(|step| n >= **step)
        .fold(String::new(), |all, step| format!("{all}  - {{ id: m{:03}, version: ^1 }}\n", n - step));
    let needs = if needs.is_empty() { needs } else { format!("dependencies:\n{needs}") };
    format!(
        "id: m{n:03}\nname: M\nversion: 1.{minor}.0\ncapabilities: [{{ id: c{n:03}, category: k{}, version: 1.{minor}.0 }}]\n\
         apis: [{{ path: /m{n:03}, methods: [GET] }}]\n{needs}",
        n % 10
    )
}

/// A registry of so many versions: of the modules of the graph, or of as many of them as there are versions.
fn snapshot(versions: usize) -> Snapshot {
    let mut modules: BTreeMap<String, BTreeMap<Version, Arc<Definition>>> = BTreeMap::new();
    for number in 0..versions {
        let text = member(number % GRAPH, (number / GRAPH) as u64);
        let manifest = manifest::load("m", text.as_bytes()).expect("a manifest").manifest;
        let at = (manifest.id.clone(), manifest.version.clone());
        let definition = Definition {
            manifest,
            warnings: Vec::new(),
            digest: String::new(),
            registered_at: 0,
            seq: number as u64,
            dir: PathBuf::new(),
            files: BTreeSet::new(),
        };
        modules.entry(at.0).or_default().insert(at.1, Arc::new(definition));
    }
    Snapshot::new(versions as u64, modules, Vec::new())
}

/// The median time of `work`, each taken over `times` of it.
fn median(is_quick: bool, times: u32, mut work: impl FnMut()) -> Duration {
    let rounds = if is_quick { 5 } else { 51 };
    let mut all: Vec<Duration> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            (0..times).for_each(|_| work());
            began.elapsed() / times
        })
        .collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// Tells a row for each size, and what it takes beside the first.
fn rows(report: &Report, name: &str, mut of: impl FnMut(usize) -> Duration) {
    if !report.wants(name) {
        return;
    }
    let mut first = None;
    for size in SIZES {
        let took = of(size);
        let ratio = took.as_secs_f64() / first.get_or_insert(took).as_secs_f64();
        report
            .tell(&format!("{name}, {size} versions"), &format!("{:>10.2} us  x{ratio:.2}", took.as_secs_f64() * 1e6));
    }
}

fn main() {
    let report = Report::from_args();
    let quick = report.is_quick;
    let version = Version::new(1, 0, 0);
    rows(&report, "look up a version", |size| {
        let snapshot = snapshot(size);
        median(quick, 10_000, || {
            black_box(snapshot.get(black_box("m005"), &version));
        })
    });
    rows(&report, "look up the newest version", |size| {
        let (snapshot, wanted) = (snapshot(size), ModuleRef { id: "m005".to_owned(), version: None });
        median(quick, 1_000, || drop(black_box(snapshot.resolve(black_box(&wanted)))))
    });
    rows(&report, "look up who offers a capability", |size| {
        let snapshot = snapshot(size);
        median(quick, 10_000, || {
            black_box(snapshot.providers(black_box("c005")));
        })
    });
    rows(&report, "resolve a module of a graph of 100", |size| {
        let snapshot = snapshot(size);
        let last = format!("m{:03}", size.min(GRAPH) - 1);
        let wanted = [ModuleRef { id: last, version: None }];
        median(quick, 1, || drop(black_box(resolver::resolve(&wanted, &snapshot, &Running::new()).expect("a set"))))
    });
    rows(&report, "register one more version", |size| register(quick, size));
}

fn register(quick: bool, size: usize) -> Duration {
    let tokio = world::tokio();
    tokio.block_on(async {
        let world = world::World::new().await;
        world.install("hello", "0.1.0", API, "lua", SCRIPT).await;
        let mut minor = 0_usize;
        while minor < size {
            let until = size.min(minor + 64);
            let more = (minor..until).map(|n| (format!("m{:03}", n % GRAPH), format!("0.{n}.0")));
            let more: Vec<_> = more.collect();
            join_all(more.iter().map(|(id, version)| world.register(id, version, "", "lua", "return {}"))).await;
            minor = until;
        }
        let mut all = Vec::new();
        for n in 0..if quick { 5 } else { 51 } {
            let version = format!("1.{n}.0");
            let began = Instant::now();
            world.register("hello", &version, API, "lua", SCRIPT).await;
            all.push(began.elapsed());
        }
        world.end().await;
        all.sort_unstable();
        all[all.len() / 2]
    })
}
