//! What does a permission check cost on the way of a host call? Each group of permissions, on rules of a size that no
//! manifest is likely to exceed, and the whole question to the manager.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/world.rs"]
mod world;

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use replug::Permission;
use replug::manifest::{self, Access};
use replug::sandbox::Grants;
use replug::sandbox::net::Target;

/// Entries of each list.
const ENTRIES: usize = 100;

fn manifest(entries: usize) -> String {
    let list = |entry: &dyn Fn(usize) -> String| {
        (0..entries).fold(String::new(), |mut list, n| {
            let _ = write!(list, "{}, ", entry(n));
            list
        })
    };
    format!(
        "permissions:\n  system:\n    filesystem: [{}]\n    network: [{}{}{}]\n    environment: [{}]\n  application:\n    \
         apis: [{}]\n    configurations: [{}]\n",
        list(&|n| format!("{{ path: in/d{n}, access: write }}")),
        list(&|n| format!("{{ host: h{n}.y.org, ports: [80, 443] }}")),
        list(&|n| format!("{{ host: 10.0.0.{n}, ports: [443] }}")),
        list(&|n| format!("{{ host: \"*.d{n}.x.org\", ports: [80, 443, 8443] }}")),
        list(&|n| format!("V{n}")),
        list(&|n| format!("/api/m{n}/*")),
        list(&|n| format!("{{ module: m{n}, keys: [a, b, c] }}")),
    )
}

fn checks(criterion: &mut Criterion) {
    let text = format!("id: m\nversion: 1.0.0\n{}", manifest(ENTRIES));
    let manifest = manifest::load(manifest::FILE_NAME, text.as_bytes()).expect("it is right").manifest;
    let grants = Grants::compile(&manifest, &manifest.permissions);
    let mut group = criterion.benchmark_group("permission");
    for (name, url) in [
        ("host by name", "https://h50.y.org/a"),
        ("host below a domain", "https://api.eu.d50.x.org/a"),
        ("host by address", "https://10.0.0.50/a"),
    ] {
        // a URL is taken apart once, and its request is checked twice: before it waits for a connection, and by the client
        let target = Target::parse(url).expect("a URL");
        group.bench_function(name, |bencher| {
            bencher.iter(|| grants.talk("http.get", black_box(&target)).expect("it is asked for"));
        });
    }
    group.bench_function("file, three folders down", |bencher| {
        let path = "in/d50/2026/11/today.csv";
        bencher.iter(|| grants.filesystem("fs.read", black_box(path), Access::Write).expect("it is asked for"));
    });
    group.bench_function("environment variable", |bencher| {
        bencher.iter(|| grants.environment("env.get", black_box("V50")).expect("it is asked for"));
    });
    group.bench_function("api by path", |bencher| {
        bencher.iter(|| grants.api("services.request", black_box("/api/m50/orders/7")).expect("it is asked for"));
    });
    group.bench_function("setting", |bencher| {
        bencher.iter(|| grants.configuration("config.of", black_box("m50"), "b").expect("it is asked for"));
    });
    group.finish();
}

/// With the look for the instance, as a caller outside of scripts asks.
fn manager(criterion: &mut Criterion) {
    let tokio = world::tokio();
    let world = tokio.block_on(world::World::new());
    tokio.block_on(world.register("m", "1.0.0", &manifest(ENTRIES), "lua", "return {}"));
    tokio.block_on(world.runtime.grant("m")).expect("it is granted");
    // as it is registered already
    tokio.block_on(world.install("m", "1.0.0", &manifest(ENTRIES), "lua", "return {}"));
    let permission: Permission = "system.network:api.eu.d50.x.org:443".parse().expect("a permission");
    let manager = world.runtime.permissions();
    criterion.bench_function("permission/manager, host below a domain", |bencher| {
        bencher.iter(|| assert!(manager.has_permission(black_box("m"), &permission)));
    });
    tokio.block_on(world.end());
}

criterion_group!(benches, checks, manager);
criterion_main!(benches);
