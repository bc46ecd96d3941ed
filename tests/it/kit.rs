//! The module kit through the real binary: a new module, its check, its tests, and code beside it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Module, Ran, Server, replug, until};

fn in_dir(dir: &Path, args: &[&str]) -> Ran {
    let dir = dir.display().to_string();
    let args: Vec<String> = args.iter().map(|arg| arg.replace("DIR", &dir)).collect();
    replug(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().expect("has a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

#[tokio::test]
async fn a_new_module_of_each_language_is_checked_tested_and_serves() {
    for language in ["lua", "rhai"] {
        let dir = TempDir::new().expect("a folder");
        let made = in_dir(dir.path(), &["new", &format!("--{language}"), "price-list", "--dir", "DIR"]);
        assert_eq!(made.code, 0, "{made:?}");
        for line in ["replug check ", "replug test ", "replug serve "] {
            assert!(made.out.contains(line), "{made:?}");
        }
        let checked = in_dir(dir.path(), &["check", "DIR/price-list", "--strict"]);
        assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{checked:?}");
        let tested = in_dir(dir.path(), &["test", "DIR/price-list", "--json"]);
        assert_eq!(tested.code, 0, "{tested:?}");
        assert_eq!((&tested.json()["passed"], &tested.json()["failed"]), (&json!(5), &json!(0)));
        let server = Server::with(&[]).await;
        server.ok(&["register", &dir.path().join("price-list").display().to_string()]).await;
        server.ok(&["activate", "price-list"]).await;
        let answer = server.get("/api/price-list/greet/ada").await;
        assert_eq!(answer.json(), json!({ "message": "Hello, ada!", "count": 1 }));
        assert!(server.get("/price-list").await.body.contains("1 people"));
    }
}

#[test]
fn a_taken_folder_and_a_wrong_name_are_refused_with_nothing_changed() {
    let dir = TempDir::new().expect("a folder");
    fs::create_dir(dir.path().join("mine")).expect("a folder can be made");
    for (name, kind, code) in [("mine", "exists", 1), ("Mine", "name", 1), ("../mine", "name", 1)] {
        let ran = in_dir(dir.path(), &["new", "--lua", name, "--dir", "DIR", "--json"]);
        assert_eq!((ran.code, ran.error().0.as_str()), (code, kind), "{ran:?}");
    }
    for args in [&["new", "mine"][..], &["new", "--lua", "--rhai", "mine"]] {
        assert_eq!(replug(args).code, 2, "{args:?}");
    }
    assert_eq!(fs::read_dir(dir.path().join("mine")).expect("it is there").count(), 0);
}

const MANIFEST: &str = "id: shop\nversion: 1.0.0\napis:\n  - path: /api/shop\n    methods: [GET, POST]\n";

#[test]
fn check_names_missing_handlers_at_their_manifest_lines_and_what_is_not_asked_for() {
    let dir = TempDir::new().expect("a folder");
    write(dir.path(), "module.manifest.yaml", MANIFEST);
    write(
        dir.path(),
        "main.lua",
        "local function get()\n\treturn db.query('select 1')\nend\nreturn { apis = { [\"GET /api/shop\"] = get } }",
    );
    let ran = in_dir(dir.path(), &["check", "DIR"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("module.manifest.yaml:4:5: main.lua has no apis[\"POST /api/shop\"]"), "{ran:?}");
    assert!(ran.err.contains("main.lua:2:9: warning: db.query is not asked for"), "{ran:?}");
    assert!(ran.err.contains("help: add `database: { migrations: […] }`"), "{ran:?}");
    for missing in ["capabilities", "health check", "tests", "README", "description"] {
        assert!(ran.err.contains(missing), "{missing}: {ran:?}");
    }
}

#[test]
fn warnings_fail_only_when_they_are_to_and_a_top_level_that_needs_the_host_is_one() {
    let dir = TempDir::new().expect("a folder");
    write(dir.path(), "module.manifest.yaml", "id: shop\nversion: 1.0.0\n");
    write(dir.path(), "main.rhai", "const N = 1;\nlet n = kv.get(\"n\");\n#{ health: || 1 }");
    let ran = in_dir(dir.path(), &["check", "DIR", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let warnings = ran.json()["warnings"].to_string();
    assert!(warnings.contains("the top level calls kv.get") && warnings.contains("main.rhai"), "{warnings}");
    let strict = in_dir(dir.path(), &["check", "DIR", "--strict", "--json"]);
    assert_eq!((strict.code, strict.error().0.as_str()), (1, "warnings"), "{strict:?}");
    write(dir.path(), "main.rhai", "\nthrow \"at once\";");
    let thrown = in_dir(dir.path(), &["check", "DIR"]);
    assert!(thrown.code == 1 && thrown.err.contains("main.rhai:2:1: the top level fails: at once"), "{thrown:?}");
    write(dir.path(), "main.rhai", "#{ health: || 1 }");
    write(dir.path(), "tests/a.rhai", "#{ a: || }");
    let tests = in_dir(dir.path(), &["check", "DIR"]);
    assert!(tests.code == 1 && tests.err.contains("tests/a.rhai:1:"), "{tests:?}");
}

#[test]
fn a_failed_test_is_shown_with_its_place_and_ends_with_one() {
    let dir = TempDir::new().expect("a folder");
    write(dir.path(), "module.manifest.yaml", "id: shop\nversion: 1.0.0\n");
    write(dir.path(), "main.lua", "return {}");
    let none = in_dir(dir.path(), &["test", "DIR", "--json"]);
    assert_eq!((none.code, none.error().0.as_str()), (1, "no-tests"), "{none:?}");
    write(
        dir.path(),
        "tests/a.lua",
        "return {\n\tadds = function()\n\t\tassert.equal(1 + 1, 3)\n\tend,\n\tholds = function() end,\n}",
    );
    let ran = in_dir(dir.path(), &["test", "DIR"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("FAIL adds (") && ran.out.contains("tests/a.lua:3: expected 3, found 2"), "{ran:?}");
    assert!(ran.out.contains("ok   holds (") && ran.out.contains("shop@1.0.0: 1 failed, 1 passed ("), "{ran:?}");
    assert_eq!(in_dir(dir.path(), &["test", "DIR", "--filter", "holds"]).code, 0);
    let json = in_dir(dir.path(), &["test", "DIR", "--json"]);
    assert_eq!((json.code, &json.json()["tests"][0]["failure"]["place"]), (1, &json!("tests/a.lua:3")));
    assert_eq!(json.err, "");
}

#[test]
fn the_modules_that_ship_pass_their_own_tests() {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
    for entry in fs::read_dir(modules).expect("they are there") {
        let dir = entry.expect("an entry").path();
        let ran = in_dir(&dir, &["test", "DIR"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let checked = in_dir(&dir, &["check", "DIR", "--strict"]);
        assert_eq!(checked.code, 0, "{checked:?}");
    }
}

#[tokio::test]
async fn code_runs_beside_the_version_that_serves_and_the_log_has_it() {
    let lua = Module::echo("inlua", "1.0.0", "lua")
        .file("lib/twice.lua", "return function(n)\n\tif n < 0 then error('negative') end\n\treturn 2 * n\nend");
    let rhai = Module::echo("inrhai", "1.0.0", "rhai")
        .file("lib/twice.rhai", "fn twice(n) {\n    if n < 0 { throw \"negative\"; }\n    2 * n\n}");
    let server = Server::with(&[lua, rhai]).await;
    for (id, once, file) in [
        ("inlua", "require('lib/twice')(21)", "lib/twice.lua:2"),
        ("inrhai", "lib::twice::twice(21)", "lib/twice.rhai:2"),
    ] {
        assert_eq!(server.ok(&["eval", id, once]).await["value"], 42);
        let statements = if id == "inlua" { "local a = { 1 }\nreturn #a" } else { "let a = [1]; a.len()" };
        assert_eq!(server.ok(&["eval", id, statements]).await["value"], 1);
        let negative = server.run(&["eval", id, &once.replace("21", "-1")]).await;
        let (kind, said) = negative.error();
        assert!(negative.code == 1 && kind == "script" && said.contains(file), "{negative:?}");
        let broken = server.run(&["eval", id, "1 +"]).await;
        assert!(broken.error().1.contains("(eval)."), "{broken:?}");
        let endless = server
            .run(&["eval", id, if id == "inlua" { "(function() while true do end end)()" } else { "loop {}" }])
            .await;
        assert!(endless.error().1.contains("the limit of "), "{endless:?}");
        assert_eq!(server.get(&format!("/api/{id}")).await.status, 200, "the requests' VMs are not touched");
    }
    let denied = server.run(&["eval", "inlua", "db.query('select 1')"]).await;
    assert!(denied.error().1.contains("permission denied"), "{denied:?}");
    let unknown = server.run(&["eval", "nobody", "1"]).await;
    assert_eq!(unknown.error().0, "not-registered");
    let entries = server.ok(&["audit"]).await;
    let entries: Vec<_> =
        entries.as_array().expect("a list").iter().filter(|entry| entry["kind"] == "evaluated").collect();
    assert_eq!(entries[0]["subject"], "inlua@1.0.0");
    assert_eq!(entries[0]["data"]["line"], "require('lib/twice')(21)");
    assert_eq!(entries[0]["data"]["digest"].as_str().map(str::len), Some(64));
    // what does not compile does not run, but was tried
    assert_eq!(entries.len(), 11);
}

#[tokio::test]
async fn what_code_gives_is_told_apart_and_what_it_logs_comes_with_it() {
    let server = Server::with(&[Module::echo("inlua", "1.0.0", "lua"), Module::echo("inrhai", "1.0.0", "rhai")]).await;
    let data = server.data().display().to_string();
    // what is shown, and what JSON has of it
    let cases = [
        ("inlua", "return nil", "nil", json!(null), true),
        ("inlua", "local a = 1", "nil", json!(null), true),
        ("inlua", "'nil'", "\"nil\"", json!("nil"), false),
        ("inlua", "'nothing'", "\"nothing\"", json!("nothing"), false),
        ("inlua", "0/0", "nan", json!(null), true),
        ("inlua", "{ 1, -1/0 }", "[\n  1,\n  -inf\n]", json!([1, null]), true),
        ("inlua", "'a\\255'", "b\"a\\xff\"", json!(null), true),
        ("inlua", "{ a = 1 }", "{\n  \"a\": 1\n}", json!({ "a": 1 }), false),
        ("inrhai", "()", "()", json!(null), true),
        ("inrhai", "\"()\"", "\"()\"", json!("()"), false),
        ("inrhai", "0.0/0.0", "nan", json!(null), true),
        ("inrhai", "#{ a: 1.0/0.0, b: () }", "{\n  \"a\": inf,\n  \"b\": ()\n}", json!({ "a": null, "b": null }), true),
    ];
    for (id, code, shown, value, is_more) in cases {
        let ran = replug(&["eval", id, code, "--data", &data]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, format!("{shown}\n").as_str(), ""), "{code}");
        let document = server.ok(&["eval", id, code]).await;
        assert_eq!((&document["value"], &document["log"]), (&value, &json!([])), "{code}");
        assert_eq!(document["text"], if is_more { json!(shown) } else { json!(null) }, "{code}");
    }
    for (id, code) in [
        ("inlua", "print('one', 2) log.warn('two', { n = 3 }) return 4"),
        ("inrhai", "print(\"one\\t2\"); log.warn(\"two\", #{ n: 3 }); 4"),
    ] {
        let ran = replug(&["eval", id, code, "--data", &data]);
        let said = "log: info one\t2\nlog: warn two {\"n\":3}\n";
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "4\n", said), "{id}");
        let ran = server.run(&["eval", id, code]).await;
        assert_eq!(ran.json()["log"], json!(["info one\t2", "warn two {\"n\":3}"]), "{id}");
        assert_eq!(ran.err, "");
    }
    // it is what one looks at where the code failed
    for (id, code) in [("inlua", "print('so far') error('no')"), ("inrhai", "print(\"so far\"); throw \"no\"")] {
        let ran = replug(&["eval", id, code, "--data", &data]);
        assert!(ran.code == 1 && ran.err.starts_with("log: info so far\n(eval)."), "{ran:?}");
        let ran = server.run(&["eval", id, code]).await;
        let document: serde_json::Value = serde_json::from_str(&ran.err).expect("JSON");
        assert_eq!(document["error"]["log"], json!(["info so far"]), "{ran:?}");
    }
}

#[tokio::test]
async fn code_that_runs_while_its_version_is_replaced_runs_to_its_end() {
    let wide = "runtime: { limits: { cpuTime: 60s, wallTime: 60s, ticks: 100000000000 } }\n";
    let of = |version: &str| Module::echo("a", version, "lua").manifest(wide);
    let server = Arc::new(Server::with(&[of("1.0.0")]).await);
    let waits = "kv.put('began', 1) while kv.get('go') ~= 1 do for _ = 1, 100000 do end end return 7";
    let same = Arc::clone(&server);
    let running = tokio::spawn(async move { same.ok(&["eval", "a", waits]).await });
    until("it begins", async || server.ok(&["eval", "a", "kv.get('began')"]).await["value"] == 1).await;
    server.settle(&of("1.1.0")).await;
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@1.1.0");
    server.ok(&["eval", "a", "kv.put('go', 1)"]).await;
    let ended = running.await.expect("it ends");
    assert_eq!((&ended["value"], &ended["version"]), (&json!(7), &json!("1.0.0")));
}
