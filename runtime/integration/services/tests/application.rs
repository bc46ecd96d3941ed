//! What belongs to other modules: settings, apis, pages, components, each by a grant of its own.

use super::*;
use crate::sandbox::permissions::Ruling;

const SHOP: (&str, &str) = (
    r#"
id: shop
version: 1.0.0
capabilities: [{ id: shop }]
apis:
  - { path: "/api/shop/{id}", methods: [GET, POST] }
  - { path: /api/shop, methods: [GET], permissions: [shop.manage] }
  - { path: /api/shop/news/all, methods: [GET] }
routes:
  - { path: /shop/cart, component: Cart }
config:
  schema:
    currency: { type: string, default: EUR }
    token: { type: string, secret: true }
  permissions: [shop.manage]
runtime: { workers: 1 }
"#,
    r#"
local asked = 0
local function reply(req, ctx)
  asked = asked + 1
  if req.params.id == "none" then error({ status = 404, title = "no such article", detail = "none" }) end
  return { status = 201, headers = { ["x-shop"] = "1" }, body = { id = req.params.id, by = req.query.by, sent = req.body,
    method = req.method, caller = ctx.caller, request = ctx.request_id } }
end
return {
  apis = { ["GET /api/shop/{id}"] = reply, ["POST /api/shop/{id}"] = reply, ["GET /api/shop"] = reply,
    ["GET /api/shop/news/all"] = function() return { stream = "news" } end },
  streams = { news = function() asked = asked + 1 return nil end },
  pages = { Cart = function(req) asked = asked + 1 return "<p>" .. (req.query.n or "no") .. " articles</p>" end },
  services = { ["shop.asked"] = function() return asked end },
}
"#,
);

const READER: (&str, &str) = (
    r#"
id: reader
version: 1.0.0
capabilities: [{ id: reader }]
permissions:
  application:
    routes: [/shop/*]
    apis: ["/api/shop/{id}", /api/shop, /api/shop/news/all, /api/gone, "/api/reader/*"]
    components: [Cart, Gone]
    configurations: [{ module: shop, keys: [currency, token, gone] }]
apis: [{ path: "/api/reader/self", methods: [GET] }]
runtime: { workers: 1 }
"#,
    r#"
local functions = { of = config.of, request = services.request, render = services.render }
return {
  apis = { ["GET /api/reader/self"] = function() return services.request("GET", "/api/reader/self") end },
  services = { ["reader.try"] = function(args)
    local ok, result = pcall(functions[args.f], args.a, args.b, args.c)
    if ok then return { ok = true, result = result } end
    return { ok = false, kind = result.kind, message = result.message }
  end },
}
"#,
);

async fn world() -> World {
    let world = World::new().await;
    world.serve(SHOP.0, SHOP.1).await;
    world.serve(READER.0, READER.1).await;
    world
}

async fn attempt(world: &World, f: &str, a: &str, b: &str, c: Value) -> Value {
    let b = if b.is_empty() { Value::Null } else { Value::from(b) };
    let args = Value::map([("f", Value::from(f)), ("a", Value::from(a)), ("b", b), ("c", c)]);
    world.call("reader", "reader.try", args).await.expect("the reader answers")
}

/// What the function gave, which must not fail.
async fn given(world: &World, f: &str, a: &str, b: &str, c: Value) -> Value {
    let answer = attempt(world, f, a, b, c).await;
    answer
        .get("result")
        .cloned()
        .unwrap_or_else(|| if answer.get("ok") == Some(&true.into()) { Value::Null } else { panic!("{answer:?}") })
}

async fn asked(world: &World) -> Value {
    world.call("shop", "shop.asked", Value::Null).await.expect("it counts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_granted_works_and_before_that_nothing_happens() {
    let world = world().await;
    let uses = [
        (
            "of",
            "shop",
            "currency",
            "config.of",
            "module.manifest.yaml:10 asks for application.configurations:shop.currency",
        ),
        (
            "request",
            "GET",
            "/api/shop/7",
            "services.request",
            "module.manifest.yaml:8 asks for application.apis:/api/shop/{id}",
        ),
        (
            "request",
            "GET",
            "/shop/cart",
            "services.request",
            "module.manifest.yaml:7 asks for application.routes:/shop/*, which no administrator granted yet (here \
             application.routes:/shop/cart)",
        ),
        ("render", "Cart", "", "services.render", "module.manifest.yaml:9 asks for application.components:Cart"),
    ];
    for (f, a, b, function, why) in uses {
        let answer = attempt(&world, f, a, b, Value::Null).await;
        let (kind, message) = fault(&answer);
        assert!(
            kind == "permission-denied" && message.starts_with(&format!("permission denied: {function}: ")),
            "{message}"
        );
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(asked(&world).await, Value::Int(0), "nothing happened");

    world.grant(READER.0).await;
    assert_eq!(given(&world, "of", "shop", "currency", Value::Null).await, Value::from("EUR"));
    let options = Value::map([
        ("query", Value::map([("by", Value::from("name"))])),
        ("body", Value::from("hello")),
        ("headers", Value::map([("x-a", Value::from("b"))])),
    ]);
    let answer = given(&world, "request", "POST", "/api/shop/a%20b", options).await;
    assert_eq!(answer.get("status"), Some(&Value::Int(201)));
    let headers = answer.get("headers").expect("headers");
    assert_eq!(headers.get("x-shop"), Some(&Value::from("1")));
    let body = answer.get("body").and_then(Value::as_str).expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let expected =
        serde_json::json!({ "id": "a b", "by": "name", "sent": "hello", "method": "POST", "request": "test" });
    assert_eq!(body, expected, "the caller is not told: it consented to nothing");
    let page = given(&world, "request", "GET", "/shop/cart", Value::Null).await;
    assert_eq!(page.get("body"), Some(&Value::from("<p>no articles</p>")));
    let drawn = attempt_render(&world).await;
    assert_eq!(drawn.get("body"), Some(&Value::from("<p>3 articles</p>")));
    assert_eq!(asked(&world).await, Value::Int(3));
}

/// What a request for a page is refused with.
async fn refusal(world: &World, path: &str) -> String {
    let answer = attempt(world, "request", "GET", path, Value::Null).await;
    let (kind, message) = fault(&answer);
    assert_eq!(kind, "permission-denied", "{message}");
    message.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_denied_is_refused_with_the_line_that_asks_for_pages() {
    let world = world().await;
    world.grant(READER.0).await;
    let granting = "an administrator grants it: replug permissions grant reader 'application.routes:/shop/*'";
    let line = "permission denied: services.request: module.manifest.yaml:7 asks for application.routes:/shop/*, which an \
                administrator";
    let here = "(here application.routes:/shop/cart)";
    world.decide(READER.0, Ruling::Narrow, "application.routes:/shop/list").await;
    let narrowed = format!("{line} narrowed to application.routes:/shop/list {here}; {granting}");
    assert_eq!(refusal(&world, "/shop/cart").await, narrowed);
    world.decide(READER.0, Ruling::Deny, "application.routes:/shop/*").await;
    assert_eq!(refusal(&world, "/shop/cart").await, format!("{line} denied {here}; {granting}"));
    assert_eq!(
        refusal(&world, "/cart").await,
        "permission denied: services.request: this module does not ask for application.apis:/cart nor for \
         application.routes:/cart; in module.manifest.yaml `permissions: { application: { apis: [/cart] } }` would ask for an \
         api there and `permissions: { application: { routes: [/cart] } }` for a page, and an administrator grants it: replug \
         permissions grant reader"
    );
    assert_eq!(asked(&world).await, Value::Int(0), "nothing happened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_apis_and_pages_at_a_path_hears_of_both_lines_or_of_the_one_that_was_needed() {
    let world = World::new().await;
    world.serve(SHOP.0, SHOP.1).await;
    let both = READER.0.replace("apis: [\"/api", "apis: [/shop/*, \"/api");
    world.serve(&both, READER.1).await;
    let page = "module.manifest.yaml:7 asks for application.routes:/shop/*, which";
    let api = "module.manifest.yaml:8 asks for application.apis:/shop/*, which";
    assert_eq!(
        refusal(&world, "/shop/cart").await,
        format!(
            "permission denied: services.request: {api} no administrator granted yet (here application.apis:/shop/cart), and \
             {page} no administrator granted yet (here application.routes:/shop/cart); an administrator grants them: replug \
             permissions grant reader 'application.apis:/shop/*' 'application.routes:/shop/*'"
        )
    );
    world.grant(&both).await;
    world.decide(&both, Ruling::Deny, "application.routes:/shop/*").await;
    let denied = refusal(&world, "/shop/cart").await;
    assert!(
        denied.starts_with(&format!("permission denied: services.request: {page} an administrator denied")),
        "{denied}"
    );
    assert!(!denied.contains("application.apis"), "{denied}");
    world.decide(&both, Ruling::Grant, "application.routes:/shop/*").await;
    world.decide(&both, Ruling::Deny, "application.apis:/shop/*").await;
    let page = given(&world, "request", "GET", "/shop/cart", Value::Null).await;
    assert_eq!(page.get("body"), Some(&Value::from("<p>no articles</p>")));
}

async fn attempt_render(world: &World) -> Value {
    let query = Value::map([("query", Value::map([("n", Value::Int(3))]))]);
    let args = Value::map([("f", Value::from("render")), ("a", Value::from("Cart")), ("b", query)]);
    let answer = world.call("reader", "reader.try", args).await.expect("the reader answers");
    answer.get("result").cloned().unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_is_said_and_what_a_person_may_not_see_stays_closed() {
    let world = world().await;
    world.grant(READER.0).await;
    let cases = [
        ("of", "shop", "gone", "not-found", "shop has no setting `gone`"),
        ("of", "shop", "token", "permission-denied", "is a secret, which no grant opens"),
        ("request", "GET", "/api/gone", "not-found", "nothing that serves has this path"),
        ("request", "GET", "/api/shop/news/all", "invalid-argument", "shop streams its answer, which only clients"),
        ("request", "DELETE", "/api/shop/7", "not-found", "the path takes"),
        ("request", "GET", "/api/shop", "permission-denied", "needs `shop.manage` of whoever signed in"),
        ("request", "get", "/api/shop/7", "invalid-argument", "a method such as GET"),
        ("request", "GET", "/api/shop/7?by=x", "invalid-argument", "options.query"),
        ("request", "GET", "/api/shop/../x", "permission-denied", "does not ask for"),
        ("render", "Gone", "", "not-found", "nothing that serves draws Gone"),
    ];
    for (f, a, b, kind, message) in cases {
        let answer = attempt(&world, f, a, b, Value::Null).await;
        let found = fault(&answer);
        assert!(found.0 == kind && found.1.contains(message), "{f} {a} {b}: {found:?}");
    }
    let wrong = Value::map([("bodies", Value::from("x"))]);
    let answer = attempt(&world, "request", "GET", "/api/shop/7", wrong).await;
    assert!(fault(&answer).1.contains("option `bodies`: there are query, headers, body"), "{answer:?}");
    assert_eq!(asked(&world).await, Value::Int(0));
    let problem = given(&world, "request", "GET", "/api/shop/none", Value::Null).await;
    assert_eq!(problem.get("status"), Some(&Value::Int(404)), "a problem is an answer");
    assert!(problem.get("body").and_then(Value::as_str).is_some_and(|body| body.contains("no such article")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_asks_itself_with_its_only_worker_is_told_so() {
    let world = world().await;
    world.grant(READER.0).await;
    let answer = attempt(&world, "request", "GET", "/api/reader/self", Value::Null).await;
    let (kind, message) = fault(&answer);
    assert!(kind == "overloaded" && message.contains("reader -> reader ask each other in a circle"), "{message}");
}
