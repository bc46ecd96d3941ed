//! Requests while two versions of a module share its traffic.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, Request};

use super::{Answer, Site};
use crate::actors::router::{BUCKETS, Instance};
use crate::integration::chance;
use crate::integration::tests::VERIFIER;

/// A version of `shop` that serves `apis`, each with a handler that echoes its parameters; `/private` needs a permission.
async fn version(site: &Site, number: u32, sticky_by: &str, apis: &[&str]) -> Arc<Instance> {
    let mut manifest = format!(
        "id: shop\nversion: {number}.0.0\nconfig: {{ permissions: [notes.view] }}\n\
         lifecycle: {{ activation: {{ stickyBy: \"{sticky_by}\" }} }}\napis:\n"
    );
    let mut script = String::from("local function echo(req) return { body = req.params } end\nreturn { apis = {\n");
    for api in apis {
        let (method, path) = api.split_once(' ').expect("a method and a path");
        let permissions = if path == "/private" { "[notes.view]" } else { "[]" };
        manifest += &format!("  - {{ path: \"{path}\", methods: [{method}], permissions: {permissions} }}\n");
        script += &format!("[\"{api}\"] = echo,\n");
    }
    site.world.start(&manifest, &(script + "} }")).await
}

/// A site where version 2 of `shop` has `weight` percent beside version 1.
async fn shop(sticky_by: &str, weight: u8, old: &[&str], new: &[&str]) -> (Site, Arc<Instance>, Arc<Instance>) {
    let site = Site::empty().await;
    let baseline = version(&site, 1, "none", old).await;
    let candidate = version(&site, 2, sticky_by, new).await;
    site.world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
    (site, baseline, candidate)
}

/// The number of the version that answered.
fn number(answer: &Answer) -> u32 {
    match answer.module() {
        Some("shop@1.0.0") => 1,
        Some("shop@2.0.0") => 2,
        other => panic!("{other:?}: {answer:?}"),
    }
}

/// The version that a key belongs to.
fn expected(key: &str, weight: u8) -> u32 {
    if chance::sticky("shop", key.as_bytes()) < u16::from(weight) * 100 { 2 } else { 1 }
}

/// A key of a client that belongs to `version` at 50 percent.
fn client(version: u32) -> String {
    let mut keys = (0..).map(|number| format!("client-{number}"));
    keys.find(|key| expected(key, 50) == version).expect("half of all keys do")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bucket_below_the_weight_is_the_candidates() {
    let (site, baseline, candidate) = shop("none", 0, &["GET /shop"], &["GET /shop"]).await;
    for weight in [0, 1, 10, 50, 99, 100] {
        site.world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
        let snapshot = site.world.router.snapshot();
        for bucket in 0..BUCKETS {
            let picked = snapshot.instance("shop", bucket).expect("somebody serves");
            let expected = if bucket < u16::from(weight) * 100 { &candidate } else { &baseline };
            assert_eq!(picked.key, expected.key, "bucket {bucket} at weight {weight}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_clients_that_are_not_told_apart_are_shared_by_weight() {
    let (site, baseline, candidate) = shop("none", 30, &["GET /shop"], &["GET /shop"]).await;
    let mut shares = [0u32; 2];
    for _ in 0..2000 {
        let answer = site.get("/shop", &[("x-tenant", "always the same")]).await;
        assert_eq!(answer.status, 200);
        shares[number(&answer) as usize - 1] += 1;
    }
    // 600 expected, standard deviation 20.5: outside of these bounds once in two million runs
    assert!((498..=702).contains(&shares[1]), "{shares:?}");
    let counted = [&baseline, &candidate].map(|instance| instance.metrics.stats.sample().requests());
    assert_eq!(counted, shares.map(u64::from), "each instance counts its own answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_keeps_its_version_and_stays_with_the_candidate_as_the_weight_grows() {
    for (sticky_by, header) in [("header:X-Tenant", "x-tenant"), ("cookie:who", "cookie")] {
        let (site, baseline, candidate) = shop(sticky_by, 0, &["GET /shop"], &["GET /shop"]).await;
        let mut of_candidate = Vec::new();
        for weight in [0, 10, 30, 70, 100] {
            site.world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
            let mut chosen = Vec::new();
            for client in 0..100 {
                let key = format!("client-{client}");
                let value = if header == "cookie" { format!("theme=dark; who={key}") } else { key.clone() };
                for _ in 0..2 {
                    let answer = site.get("/shop", &[(header, &value)]).await;
                    assert_eq!(number(&answer), expected(&key, weight), "{sticky_by} {key} at {weight}");
                }
                if expected(&key, weight) == 2 {
                    chosen.push(client);
                }
            }
            assert!(of_candidate.iter().all(|client| chosen.contains(client)), "nobody is sent back at {weight}");
            of_candidate = chosen;
        }
        assert_eq!(of_candidate.len(), 100);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_keeps_their_version_whichever_way_they_sign_in() {
    let (site, ..) = shop("principal", 50, &["GET /shop"], &["GET /shop"]).await;
    site.world.serve(VERIFIER.0, VERIFIER.1).await;
    for person in ["ada", "bob", "nobody"] {
        let (bearer, session) = (format!("Bearer {person}"), format!("replug_session={person}"));
        for _ in 0..5 {
            for header in [("authorization", &*bearer), ("cookie", &*session)] {
                let answer = site.get("/shop", &[header]).await;
                assert_eq!(number(&answer), expected(person, 50), "{person}");
            }
        }
    }
    let mut seen = [false; 2];
    for _ in 0..100 {
        seen[number(&site.get("/shop", &[]).await) as usize - 1] = true;
    }
    assert_eq!(seen, [true, true], "strangers are sent at random");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_keeps_its_version_from_every_port() {
    let (site, ..) = shop("address", 50, &["GET /shop"], &["GET /shop"]).await;
    assert!(site.world.router.load().needs_addresses(), "whoever listens must say them");
    let mut seen = [0; 2];
    for host in 0..20 {
        let address = format!("10.0.0.{host}");
        for port in [1024, 65000] {
            let peer: SocketAddr = format!("{address}:{port}").parse().expect("an address");
            let request = Request::get("/shop").extension(ConnectInfo(peer)).body(Body::empty()).expect("a request");
            let answer = site.request(request).await;
            assert_eq!(number(&answer), expected(&address, 50), "{peer}");
        }
        seen[expected(&address, 50) as usize - 1] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

const OLD: &[&str] =
    &["GET /shop", "POST /shop", "GET /shop/old", "GET /shop/{id}", "GET /private", "GET /files/{name}"];
const NEW: &[&str] = &["GET /shop", "DELETE /shop", "GET /shop/{name}", "PUT /shop/{name}", "GET /files/{*rest}"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_looked_up_in_the_version_that_was_picked() {
    let (site, ..) = shop("header:x-tenant", 50, OLD, NEW).await;
    // (path, what version 1 takes from it, what version 2 does); nothing where the other version has to answer
    let table = [
        ("/shop/7", Some(r#"{"id":"7"}"#), Some(r#"{"name":"7"}"#)),
        ("/shop/old", Some("{}"), Some(r#"{"name":"old"}"#)),
        ("/files/a", Some(r#"{"name":"a"}"#), Some(r#"{"rest":"a"}"#)),
        ("/files/a/b", None, Some(r#"{"rest":"a/b"}"#)),
    ];
    for (path, old, new) in table {
        for (version, own) in [(1, old), (2, new)] {
            let answer = site.get(path, &[("x-tenant", &client(version))]).await;
            let by = if own.is_some() { version } else { 3 - version };
            assert_eq!((answer.status, number(&answer)), (200, by), "{path} for version {version}");
            let body = own.or(old).or(new).expect("one of them answers");
            assert!(answer.body == body || body == "{}" && answer.body == "[]", "{path}: {}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_one_version_has_goes_to_it_and_the_rest_is_405() {
    let (site, ..) = shop("header:x-tenant", 50, OLD, NEW).await;
    let table = [
        (Method::POST, "/shop", 1, 1),
        (Method::DELETE, "/shop", 2, 2),
        (Method::HEAD, "/shop", 1, 2),
        (Method::GET, "/shop", 1, 2),
        (Method::PUT, "/shop/old", 2, 2),
        (Method::HEAD, "/shop/old", 1, 2),
    ];
    for (method, path, of_one, of_two) in table {
        for (version, expected) in [(1, of_one), (2, of_two)] {
            let answer = site.send(method.clone(), path, &[("x-tenant", &client(version))], "").await;
            assert_eq!((answer.status, number(&answer)), (200, expected), "{method} {path} for version {version}");
        }
    }
    for (path, allow) in
        [("/shop", "DELETE, GET, HEAD, POST"), ("/shop/7", "GET, HEAD, PUT"), ("/files/a/b", "GET, HEAD")]
    {
        let answer = site.send(Method::PATCH, path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow"), answer.module()), (405, Some(allow), None), "{path}");
    }
    assert_eq!(site.get("/none", &[]).await.problem(), "no-module");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_without_weight_is_not_reached_by_its_own_paths_either() {
    let (site, baseline, candidate) = shop("none", 0, &["GET /old", "GET /a/{x}"], &["GET /new", "GET /a/b"]).await;
    let seen = async |path: &str| site.get(path, &[]).await.module().map(|module| module[5..6].to_owned());
    for (weight, old, new, both) in [(0, Some("1"), None, "1"), (100, None, Some("2"), "2")] {
        site.world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
        assert_eq!(seen("/old").await.as_deref(), old, "at {weight}");
        assert_eq!(seen("/new").await.as_deref(), new, "at {weight}");
        assert_eq!(seen("/a/b").await.as_deref(), Some(both), "at {weight}");
    }
    for weight in [1, 99] {
        site.world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
        for _ in 0..5 {
            assert_eq!((seen("/old").await.as_deref(), seen("/new").await.as_deref()), (Some("1"), Some("2")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_candidate_claims_of_another_module_is_refused_at_any_weight() {
    let site = Site::empty().await;
    site.world
        .serve(
            "id: blog\nversion: 1.0.0\napis: [{ path: \"/blog/{id}\", methods: [GET] }]",
            r#"return { apis = { ["GET /blog/{id}"] = function() return {} end } }"#,
        )
        .await;
    let baseline = version(&site, 1, "none", &["GET /shop"]).await;
    let candidate = version(&site, 2, "none", &["GET /shop", "GET /blog/{name}"]).await;
    site.world.publish(&baseline).await;
    for weight in [0, 50, 100] {
        let taken = site.world.shift(&baseline, &candidate, weight).await.expect_err("it is taken").to_string();
        assert_eq!(taken, "GET /blog/{name} is taken: blog serves it and shop claims it", "at {weight}");
    }
    assert_eq!(number(&site.get("/shop", &[]).await), 1, "what served goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_permissions_are_those_of_the_version_that_was_picked() {
    let old = &["GET /private", "GET /open"];
    let (site, ..) = shop("header:x-tenant", 50, old, &["GET /open"]).await;
    site.world.serve(VERIFIER.0, VERIFIER.1).await;
    let bob = ("authorization", "Bearer bob");
    for version in [1, 2] {
        let key = client(version);
        let tenant = ("x-tenant", &*key);
        let stranger = site.get("/private", &[tenant]).await;
        assert_eq!((stranger.status, stranger.module(), &*stranger.problem()), (401, None, "unauthenticated"));
        assert_eq!(site.get("/private", &[tenant, bob]).await.status, 200);
        let broken = site.get("/private", &[tenant, ("authorization", "Bearer broken")]).await;
        assert_eq!((broken.status, &*broken.problem()), (500, "script-error"));
        let open = site.get("/open", &[tenant, ("authorization", "Bearer broken")]).await;
        assert_eq!((open.status, number(&open)), (200, version));
    }
    // the same path, which the new version opens to everybody
    let site = Site::empty().await;
    let closed = version(&site, 1, "none", &["GET /private"]).await;
    let manifest = "id: shop\nversion: 2.0.0\nlifecycle: { activation: { stickyBy: \"header:x-tenant\" } }\n\
                    apis: [{ path: /private, methods: [GET] }]";
    let script = r#"return { apis = { ["GET /private"] = function() return {} end } }"#;
    let opened = site.world.start(manifest, script).await;
    site.world.shift(&closed, &opened, 50).await.expect("no route is taken");
    for (version, status) in [(1, 401), (2, 200)] {
        assert_eq!(site.get("/private", &[("x-tenant", &client(version))]).await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_is_taken_back_loses_no_request() {
    let (site, baseline, candidate) = shop("none", 50, &["GET /shop"], &["GET /shop"]).await;
    let site = Arc::new(site);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                for _ in 0..200 {
                    let answer = site.get("/shop", &[]).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            })
        })
        .collect();
    site.world.publish(&baseline).await;
    site.world.rig.retire(&candidate).await;
    for client in clients {
        client.await.expect("no request failed");
    }
    assert_eq!(number(&site.get("/shop", &[]).await), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_counts_as_errors_what_it_failed_itself() {
    let site = Site::empty().await;
    let manifest = "id: shop\nversion: 1.0.0\nruntime: { workers: 1, limits: { ticks: 100000, queue: 1 } }\n\
                    apis: [{ path: \"/{kind}\", methods: [GET] }]";
    let script = r#"
return { apis = { ["GET /{kind}"] = function(req)
  local kind = req.params.kind
  if kind == "throws" then error("broken") end
  if kind == "spins" then while true do end end
  if kind == "refuses" then error({ status = 422, title = "no" }) end
  if kind == "gives_up" then error({ status = 503, title = "no" }) end
  if kind == "status" then return { status = 502 } end
  if kind == "missing" then return { status = 404 } end
  return {}
end } }"#;
    let instance = site.world.serve(manifest, script).await;
    let table = [
        ("/fine", 200, 0),
        ("/missing", 404, 0),
        ("/refuses", 422, 0),
        ("/throws", 500, 1),
        ("/spins", 503, 1),
        ("/gives_up", 503, 1),
        ("/status", 502, 1),
    ];
    for (path, status, errors) in table {
        let before = instance.metrics.stats.sample();
        assert_eq!(site.get(path, &[]).await.status, status, "{path}");
        let counted = instance.metrics.stats.sample().since(&before);
        assert_eq!((counted.requests(), counted.errors()), (1, errors), "{path}");
        assert!(counted.p95().is_some());
    }
    let before = instance.metrics.stats.sample();
    site.world.rig.close(&instance);
    assert_eq!(site.get("/fine", &[]).await.status, 503);
    assert_eq!(instance.metrics.stats.sample().since(&before).requests(), 0, "admission is no error of the instance");
}
