//! Permissions: what a module asks for waits for an administrator, and what is decided holds for what runs.

use serde_json::{Value, json};

use crate::support::{Module, Server, until};

/// A module that answers, and asks for the variables named.
fn asking(version: &str, variables: &str) -> Module {
    let lines = format!("permissions:\n  system:\n    environment: [{variables}]\n");
    Module::echo("probe", version, "lua").manifest(&lines)
}

/// The states of what the newest version of a module asks for.
async fn states(server: &Server, module: &str) -> Vec<(String, String)> {
    let view = server.ok(&["permissions", "show", module]).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let rows = view["permissions"].as_array().expect("a list");
    rows.iter().map(|row| (text(&row["permission"]), text(&row["state"]))).collect()
}

/// Activates what waits for a permission: that is refused, names the permission with its line, and changes nothing.
async fn refused(server: &Server, command: &[&str], permission: &str, module: &str) {
    let before = server.ok(&["list"]).await;
    let ran = server.run(command).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let (kind, said) = ran.error();
    assert_eq!(kind, "ungranted", "{said}");
    let named =
        [&format!("{permission} (module.manifest.yaml:9)"), "module.manifest.yaml:9", "replug permissions grant"];
    for part in named.into_iter().chain([module]) {
        assert!(said.contains(part), "`{said}` does not say `{part}`");
    }
    assert_eq!(server.ok(&["list"]).await, before);
}

#[tokio::test]
async fn a_module_that_waits_is_told_at_the_start_and_serves_once_it_is_granted_and_activated() {
    let server = Server::with(&[asking("1.0.0", "HOME"), Module::echo("other", "1.0.0", "lua")]).await;
    let line = server.logged().lines().find(|line| line.starts_with('{')).expect("a document").to_owned();
    let document: Value = serde_json::from_str(&line).unwrap();
    let trouble = document["troubles"][0].as_str().expect("a trouble");
    assert!(trouble.starts_with("probe@1.0.0: ") && trouble.contains("system.environment:HOME"), "{trouble}");
    assert!(trouble.contains("replug permissions grant probe@1.0.0"), "{trouble}");
    assert_eq!((server.get("/api/probe").await.status, server.get("/api/other").await.status), (404, 200));

    refused(&server, &["activate", "probe"], "system.environment:HOME", "probe@1.0.0").await;
    let home = |state: &str| [("system.environment:HOME".to_owned(), state.to_owned())];
    assert_eq!(states(&server, "probe").await, home("waiting"));
    let granted = server.ok(&["permissions", "grant", "probe"]).await;
    assert_eq!(granted["decided"], json!([{ "permission": "system.environment:HOME", "state": "granted" }]));
    assert_eq!((&granted["waiting"], states(&server, "probe").await), (&json!([]), home("granted").to_vec()));
    assert_eq!(server.get("/api/probe").await.status, 404, "a grant activates nothing");
    server.ok(&["activate", "probe"]).await;
    assert_eq!(server.get("/api/probe").await.status, 200);

    let rows = server.ok(&["audit"]).await;
    let of = |kind: &str| {
        let mut of_kind = rows.as_array().unwrap().iter().filter(|row| row["kind"] == kind);
        of_kind.next_back().unwrap_or_else(|| panic!("no {kind} in {rows}")).clone()
    };
    let refusals = of("activation-refused");
    assert_eq!((&refusals["actor"], &refusals["subject"]), (&json!("admin"), &json!("probe@1.0.0")));
    assert!(refusals["data"]["reason"].as_str().unwrap().contains("system.environment:HOME"), "{refusals}");
    let grant = of("permission-granted");
    assert_eq!((&grant["actor"], &grant["data"]["permission"]), (&json!("admin"), &json!("system.environment:HOME")));
}

#[tokio::test]
async fn a_new_version_that_asks_for_more_waits_and_one_that_does_not_is_swapped_in_without_a_word() {
    let server = Server::with(&[asking("1.0.0", "HOME")]).await;
    server.ok(&["permissions", "grant", "probe", "system.environment:HOME"]).await;
    server.ok(&["activate", "probe"]).await;
    server.settle(&asking("1.1.0", "HOME")).await;
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.1.0");

    let more = server.write(&asking("2.0.0", "HOME, USER"));
    refused(&server, &["update", &more], "system.environment:USER", "probe@2.0.0").await;
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.1.0");
    let expected = [("system.environment:HOME", "granted"), ("system.environment:USER", "waiting")];
    let expected = expected.map(|(permission, state)| (permission.to_owned(), state.to_owned()));
    assert_eq!(states(&server, "probe").await, expected);
    assert_eq!(states(&server, "probe@1.1.0").await, expected[..1]);
    // a decision against it is one, too
    server.ok(&["permissions", "deny", "probe", "system.environment:USER"]).await;
    server.ok(&["activate", "probe"]).await;
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@2.0.0");
}

#[tokio::test]
async fn decisions_survive_a_kill_and_end_with_the_modules_last_version() {
    let mut server = Server::with(&[]).await;
    server.ok(&["register", &server.write(&asking("1.0.0", "HOME"))]).await;
    server.ok(&["permissions", "grant", "probe"]).await;
    server.kill();
    server.start().await;
    server.ok(&["activate", "probe"]).await;
    server.kill();
    server.start().await;
    assert_eq!(server.get("/api/probe").await.status, 200, "it is started again without a question");
    server.ok(&["deactivate", "probe"]).await;
    server.ok(&["unregister", "probe"]).await;
    server.ok(&["register", &server.write(&asking("1.0.0", "HOME"))]).await;
    refused(&server, &["activate", "probe"], "system.environment:HOME", "probe@1.0.0").await;
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_and_wrong_words_are_wrong_usage() {
    let server = Server::with(&[asking("1.0.0", "HOME")]).await;
    let cases: [(&[&str], i32, &str); 6] = [
        (&["grant", "probe", "system.environment:USER"], 1, "it asks for system.environment:HOME"),
        (&["narrow", "probe"], 1, "replug permissions show probe"),
        (&["narrow", "probe", "system.environment:HOME"], 1, "narrows nothing"),
        (&["show", "probe", "system.environment:HOME"], 1, "takes no permissions"),
        (&["grant", "prob"], 1, "did you mean `probe`"),
        (&["grant", "probe", "system.network:x.org"], 2, "is no permission"),
    ];
    for (args, code, expected) in cases {
        let ran = server.run(&[&["permissions"], args].concat()).await;
        let (_, said) = ran.error();
        assert!(ran.code == code && said.contains(expected), "{args:?}: {ran:?}");
    }
    assert_eq!(states(&server, "probe").await[0].1, "waiting");
}

#[tokio::test]
async fn narrowing_a_quota_meets_a_running_script_at_its_next_call() {
    let body = r#"local ok, error = pcall(kv.put, req.query.key, string.rep("x", 4000))
return { body = if ok then "stored" else error.message }"#;
    let server = Server::with(&[Module::handler("keeper", "1.0.0", body)]).await;
    assert_eq!(server.get("/api/keeper?key=a").await.body, "stored");
    server.ok(&["permissions", "narrow", "keeper", "resources.storage.max=1KiB"]).await;
    let answer = server.get("/api/keeper?key=b").await;
    assert!(answer.body.contains("1024"), "{answer:?}");
    assert_eq!(answer.header("x-replug-module"), "keeper@1.0.0");
    server.ok(&["permissions", "narrow", "keeper", "resources.storage.max=32MiB"]).await;
    assert_eq!(server.get("/api/keeper?key=b").await.body, "stored");
}

/// A module that counts the rows of its caller, and one that has it count.
fn lender_and_user() -> [Module; 2] {
    let lender = Module::new("lender", "1.0.0")
        .manifest("capabilities: [{ id: lender, interfaces: [count] }]\n")
        .manifest("permissions:\n  system:\n    database:\n      - { module: caller, access: read }\n")
        .lua(
            r#"return { services = { ["lender.count"] = function()
  local rows = db.for_caller("select 7 as n")
  return rows[1].n
end } }"#,
        );
    let body = r#"local last
for _ = 1, tonumber(req.query.times or "1") do
  local ok, answer = pcall(services.call, "lender.count")
  last = if ok then answer else answer.message
end
return { body = tostring(last) }"#;
    let user = Module::handler("user", "1.0.0", body)
        .needs("lender", "*")
        .manifest("database:\n  migrations: [{ version: 1.0.0, file: one.sql }]\n")
        .file("one.sql", "create table t (n integer)");
    [lender, user]
}

#[tokio::test]
async fn a_loop_of_denied_calls_is_told_once_with_its_request_and_its_number_at_the_end() {
    let server = Server::with(&lender_and_user()).await;
    assert_eq!(server.get("/api/user").await.body, "7", "{}", server.logged());
    server.ok(&["permissions", "deny", "lender", "system.database:caller:read"]).await;
    let answer = server.get("/api/user?times=300").await;
    assert!(answer.body.contains("permission denied: db.for_caller: module.manifest.yaml:"), "{answer:?}");
    assert!(answer.body.contains("which an administrator denied"), "{answer:?}");
    server.ok(&["deactivate", "user"]).await;
    server.ok(&["deactivate", "lender"]).await;
    let denials = loop {
        let rows = server.resource("/v1/audit?limit=1000").await;
        let rows = rows.as_array().unwrap().iter().filter(|row| row["kind"] == "call-denied");
        let rows: Vec<_> = rows.cloned().collect();
        // an instance ends a moment after its module is out of service
        if rows.len() >= 2 {
            break rows;
        }
    };
    let [first, rest] = denials.as_slice() else { panic!("{denials:?}") };
    let data = |row: &Value, key: &str| row["data"][key].clone();
    assert_eq!((data(first, "count"), data(rest, "count")), (json!(1), json!(299)), "{denials:?}");
    assert_eq!((&first["subject"], data(first, "call")), (&json!("lender@1.0.0"), json!("db.for_caller")));
    assert_eq!(
        (data(first, "requestId"), data(first, "caller")),
        (json!(answer.header("x-request-id")), json!("user"))
    );
    let metrics = server.metrics().await;
    let line = "replug_permission_checks_total{module=\"lender\",outcome=\"denied\",version=\"1.0.0\"} 300";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_module_in_either_language_reaches_what_it_is_granted_of_another_one() {
    let body = r#"kv.put("asked", (kv.get("asked") or 0) + 1)
return { body = "for " .. (req.query.who or "nobody") }"#;
    let shop = Module::handler("shop", "1.0.0", body)
        .manifest("config: { schema: { currency: { type: string, default: EUR } } }\n");
    let asks = "permissions:\n  application:\n    apis: [/api/shop]\n    configurations: [{ module: shop, keys: [currency] }]\n";
    let lua = r#"local ok, answer = pcall(services.request, "GET", "/api/shop", { query = { who = "lua" } })
if not ok then return { status = 403, body = answer.message } end
return { body = answer.status .. " " .. answer.body .. " " .. config.of("shop", "currency") }"#;
    let rhai = r#"fn show(req) {
    let answer = ();
    try { answer = services.request("GET", "/api/shop", #{ query: #{ who: "rhai" } }); }
    catch (error) { return #{ status: 403, body: error.message }; }
    #{ body: answer.status + " " + answer.body + " " + config.of("shop", "currency") }
}
#{ apis: #{ "GET /api/r": Fn("show") } }"#;
    let server = Server::with(&[
        shop,
        Module::handler("l", "1.0.0", lua).manifest(asks),
        Module::new("r", "1.0.0").api("/api/r", "GET").rhai(rhai).manifest(asks),
    ])
    .await;
    for (id, said) in [("l", "200 for lua EUR"), ("r", "200 for rhai EUR")] {
        server.ok(&["permissions", "grant", id]).await;
        server.ok(&["activate", id]).await;
        let answer = server.get(&format!("/api/{id}")).await;
        assert_eq!(answer.body, said, "{}", server.logged());
    }
    for (id, asked) in [("l", 2), ("r", 3)] {
        assert_eq!(
            server.get(&format!("/api/{id}")).await.status,
            200,
            "what is denied to one is not denied to the other"
        );
        server.ok(&["permissions", "deny", id, "application.apis:/api/shop"]).await;
        let answer = server.get(&format!("/api/{id}")).await;
        let denied = format!(
            "permission denied: services.request: module.manifest.yaml:9 asks for application.apis:/api/shop, which an \
             administrator denied; an administrator grants it: replug permissions grant {id} 'application.apis:/api/shop'"
        );
        assert_eq!((answer.status, answer.body), (403, denied));
        assert_eq!(server.ok(&["eval", "shop", "kv.get('asked')"]).await["value"], asked + 1, "{id}");
    }
}

#[tokio::test]
async fn the_database_of_another_module_is_reached_as_far_as_it_is_granted() {
    let tables = "database:\n  migrations: [{ version: 1.0.0, file: one.sql }]\n";
    let shop = Module::echo("shop", "1.0.0", "lua").manifest(tables).file("one.sql", "create table t (n integer)");
    let asks = "permissions:\n  system:\n    database: [{ module: shop, access: write }]\n";
    let body = r#"local ok, result = pcall(db.of, "shop", req.query.sql)
if not ok then return { body = result.message } end
return { body = result.changes and "changed " .. result.changes or "read " .. result[1].n }"#;
    let server = Server::with(&[shop, Module::handler("reader", "1.0.0", body).manifest(asks)]).await;
    server.ok(&["permissions", "grant", "reader"]).await;
    server.ok(&["activate", "reader"]).await;
    let (insert, count) = ("/api/reader?sql=insert+into+t+values+(7)", "/api/reader?sql=select+count(*)+as+n+from+t");
    assert_eq!(server.get(insert).await.body, "changed 1", "{}", server.logged());
    server.ok(&["permissions", "narrow", "reader", "system.database:shop:read"]).await;
    let denied = server.get(insert).await.body;
    assert_eq!(
        denied,
        "permission denied: db.of: module.manifest.yaml:9 asks for system.database:shop:write, which an administrator \
         narrowed to system.database:shop:read; an administrator grants it: replug permissions grant reader \
         'system.database:shop:write'"
    );
    assert_eq!(server.get(count).await.body, "read 1", "nothing was changed");
    server.ok(&["permissions", "deny", "reader", "system.database:shop:write"]).await;
    let denied = server.get(count).await.body;
    assert!(
        denied.starts_with("permission denied: db.of: module.manifest.yaml:9 asks for system.database:shop:write"),
        "{denied}"
    );
    // told a moment after it happened: nobody waits for the log
    let is_told = async || {
        let rows = server.resource("/v1/audit?limit=1000").await;
        let mut denials = rows.as_array().unwrap().iter().filter(|row| row["kind"] == "call-denied");
        denials.any(|row| row["data"]["call"] == "db.of" && row["subject"] == "reader@1.0.0")
    };
    until("the audit has it", is_told).await;
}
