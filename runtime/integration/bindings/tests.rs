//! Manifests against scripts, and the database bindings with real files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use replug_scripts::{Exports, Handler};

use super::ApiBinding;
use crate::engine::ports::{Binding, Subject};
use crate::integration::tests::{World, read};
use crate::monitor::InstanceKey;

#[cfg(feature = "sqlite")]
mod database;

pub(super) fn subject(manifest: &str, handlers: &[Handler], files: &[(&str, &str)]) -> Subject {
    let manifest = Arc::new(read(manifest));
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), Bytes::copy_from_slice(text.as_bytes())));
    Subject {
        key: InstanceKey {
            id: manifest.id.as_str().into(),
            version: manifest.version.to_string().into(),
            generation: 1,
        },
        manifest,
        files: Arc::new(files.collect::<BTreeMap<_, _>>()),
        exports: Exports { handlers: handlers.iter().cloned().collect::<BTreeSet<_>>(), ..Exports::default() },
    }
}

const MANIFEST: &str = r#"
id: shop
version: 1.0.0
capabilities: [{ id: shop.stock, interfaces: [{ name: reader, methods: [count, list] }] }, { id: shop.free }]
routes: [{ path: /shop, component: Shop, permissions: [shop.view] }, { path: /live, component: Live }]
components: [{ id: Live, file: live.js }]
apis: [{ path: /api/items, methods: [GET, POST] }]
config: { permissions: [shop.view] }
lifecycle: { activation: { healthChecks: [{ endpoint: /health }] } }
"#;

fn api(name: &str) -> Handler {
    Handler::Api(name.into())
}

fn service(name: &str) -> Handler {
    Handler::Service(name.into())
}

#[tokio::test]
async fn what_the_manifest_names_becomes_endpoints() {
    let handlers = [
        api("GET /api/items"),
        api("POST /api/items"),
        Handler::Page("Shop".into()),
        service("shop.stock.count"),
        service("shop.stock.list"),
        service("shop.free.anything"),
        Handler::Health,
    ];
    let endpoints = ApiBinding.commit(&subject(MANIFEST, &handlers, &[])).await.expect("they agree");
    let served: Vec<_> =
        endpoints.iter().map(|one| format!("{} {} {}", one.method, one.pattern, one.handler)).collect();
    assert_eq!(
        served,
        [
            "GET /shop pages[\"Shop\"]",
            "GET /api/items apis[\"GET /api/items\"]",
            "POST /api/items apis[\"POST /api/items\"]",
        ]
    );
    assert_eq!(*endpoints[0].permissions, ["shop.view".to_owned()]);
    assert!(endpoints[0].is_page() && endpoints[1].permissions.is_empty());
}

#[tokio::test]
async fn all_that_is_missing_is_named_with_the_line_to_add() {
    let handlers = [api("GET /api/item"), Handler::Page("shop".into()), service("shop.stock.count")];
    let fault = ApiBinding.commit(&subject(MANIFEST, &handlers, &[("main.lua", "")])).await.expect_err("they differ");
    let expected = "shop@1.0.0: main.lua lacks what the manifest names:
  apis[\"GET /api/items\"]; add `apis = { [\"GET /api/items\"] = function(req, ctx) … end }` (the script has apis[\"GET /api/item\"], which the manifest does not name: is it this one?)
  apis[\"POST /api/items\"]; add `apis = { [\"POST /api/items\"] = function(req, ctx) … end }`
  pages[\"Shop\"]; add `pages = { [\"Shop\"] = function(req, ctx) … end }` (the script has pages[\"shop\"], which the manifest does not name: is it this one?)
  services[\"shop.stock.list\"]; add `services = { [\"shop.stock.list\"] = function(args, ctx) … end }`";
    assert_eq!(fault.to_string(), expected);
}

#[tokio::test]
async fn a_rhai_script_is_told_in_rhai() {
    let manifest = "id: x\nversion: 1.0.0\napis: [{ path: /x, methods: [GET] }]";
    let fault = ApiBinding.commit(&subject(manifest, &[], &[("main.rhai", "")])).await.expect_err("nothing is there");
    assert!(
        fault.to_string().ends_with(
            "main.rhai lacks what the manifest names:\n  apis[\"GET /x\"]; add `apis: #{ \"GET /x\": |req, ctx| … }`"
        ),
        "{fault}"
    );
}

/// The shipping modules in Lua keep their own manifests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shipping_modules_hold_what_they_promise() {
    for module in ["database", "analytics-advanced"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules").join(module);
        let mut files = BTreeMap::new();
        for folder in [dir.clone(), dir.join("lib")] {
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.extension().is_some_and(|ending| ending == "lua") {
                    let name = path.strip_prefix(&dir).expect("inside").to_str().expect("text").to_owned();
                    files.insert(name, Arc::from(std::fs::read_to_string(&path).expect("a file")));
                }
            }
        }
        let text = std::fs::read_to_string(dir.join("module.manifest.yaml")).expect("a manifest");
        let world = World::new().await;
        let instance = world.start_files(&text, files).await;
        let subject = Subject {
            key: instance.key.clone(),
            manifest: Arc::clone(&instance.manifest),
            files: Arc::default(),
            exports: instance.exports().clone(),
        };
        let endpoints = ApiBinding.commit(&subject).await.unwrap_or_else(|fault| panic!("{fault}"));
        let expected =
            instance.manifest.routes.len() + instance.manifest.apis.iter().map(|api| api.methods.len()).sum::<usize>();
        assert_eq!(endpoints.len(), expected, "{module}");
    }
}

#[tokio::test]
async fn a_declared_actor_needs_its_handler_and_may_leave_out_its_init() {
    let manifest = "id: x\nversion: 1.0.0\nruntime: { actors: [{ id: counter }, { id: clock }] }";
    let handle = |name: &str| Handler::ActorHandle(name.into());
    let handlers = [handle("counter"), Handler::ActorInit("counter".into()), handle("clok")];
    let fault = ApiBinding.commit(&subject(manifest, &handlers, &[("main.lua", "")])).await.expect_err("one lacks");
    let expected = "x@1.0.0: main.lua lacks what the manifest names:
  actors[\"clock\"].handle; add `actors = { [\"clock\"] = { handle = function(state, message, ctx) … end } }` (the script has actors[\"clok\"].handle, which the manifest does not name: is it this one?)";
    assert_eq!(fault.to_string(), expected);
    let handlers = [handle("counter"), handle("clock")];
    assert!(ApiBinding.commit(&subject(manifest, &handlers, &[])).await.expect("they agree").is_empty());
}

#[tokio::test]
async fn a_handler_for_a_topic_that_never_reaches_the_module_is_a_fault() {
    let manifest = "id: x\nversion: 1.0.0\ndependencies: [{ id: shop }]";
    let hears = |topic: &str| Handler::Event(topic.into());
    let handlers = [hears("x.made"), hears("shop.order-placed")];
    assert!(ApiBinding.commit(&subject(manifest, &handlers, &[])).await.is_ok());
    for topic in ["other.made", "shopping.made", "x"] {
        let fault = ApiBinding.commit(&subject(manifest, &[hears(topic)], &[("main.lua", "")])).await;
        let fault = fault.expect_err("nobody publishes it for x").to_string();
        assert!(fault.starts_with("x@1.0.0: main.lua listens to what it cannot hear:\n  events[\""), "{fault}");
        let publisher = topic.split('.').next().unwrap_or_default();
        assert!(fault.contains(&format!("`dependencies: [{{ id: {publisher} }}]`")), "{fault}");
    }
}
