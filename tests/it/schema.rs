//! Versions that bring migrations, and the way back from them.

use serde_json::json;

use crate::support::{Module, Server, until};

/// Counts the rows of a table, and holds while `hold` is asked for and `go` is not yet said.
const SCRIPT: &str = r#"return { apis = { ["GET /api/notes"] = function(req, ctx)
  if req.query.hold then
    kv.put("held", true)
    local e = time.now() + 20000
    while not kv.get("go") and time.now() < e do end
  end
  if req.query.go then kv.put("go", true) end
  local done, rows = pcall(db.query, "select count(*) as n from " .. (req.query.table or "notes"))
  return { body = { rows = if done then rows[1].n else -1, held = kv.get("held") or false } }
end } }"#;

const PATIENT: &str = "runtime:\n  limits: { wallTime: 30s, cpuTime: 30s, ticks: 900000000000 }\n";

fn notes(version: &str, migrations: &[&str], more: &str) -> Module {
    let rows = migrations.iter().map(|version| format!("    - version: {version}\n      file: {version}.sql\n"));
    let manifest = format!("database:\n  migrations:\n{}{PATIENT}{more}", rows.collect::<String>());
    let module = Module::new("notes", version).api("/api/notes", "GET").lua(SCRIPT).manifest(&manifest);
    migrations.iter().fold(module, |module, version| {
        let table = if *version == "1.0.0" { "notes".to_owned() } else { format!("more_{}", &version[..1]) };
        module.file(&format!("{version}.sql"), &format!("create table {table} (id integer primary key)"))
    })
}

fn reversible(module: Module, version: &str) -> Module {
    module.file(&format!("{version}.down.sql"), &format!("drop table more_{}", &version[..1]))
}

async fn rows(server: &Server, table: &str) -> i64 {
    server.get(&format!("/api/notes?table={table}")).await.json()["rows"].as_i64().expect("a number")
}

#[tokio::test]
async fn a_rollback_keeps_additive_schema_and_refuses_what_has_no_way_back() {
    let server = Server::with(&[notes("1.0.0", &["1.0.0"], "")]).await;
    server.install(&reversible(notes("2.0.0", &["1.0.0", "2.0.0"], ""), "2.0.0")).await;
    assert_eq!(rows(&server, "more_2").await, 0);
    server.ok(&["rollback", "notes"]).await;
    assert_eq!((rows(&server, "notes").await, rows(&server, "more_2").await), (0, 0), "data is preserved");

    server.install(&notes("3.0.0", &["1.0.0", "3.0.0"], "")).await;
    for args in [&["rollback", "notes"][..], &["activate", "notes@1.0.0"]] {
        let ran = server.run(args).await;
        assert_eq!((ran.code, ran.error().0.as_str()), (1, "irreversible"), "{ran:?}");
        assert!(ran.error().1.contains("1.0.0") && ran.error().1.contains("3.0.0"), "{ran:?}");
    }
    assert_eq!(server.get("/api/notes").await.header("x-replug-module"), "notes@3.0.0");
}

#[tokio::test]
async fn schema_that_is_not_preserved_goes_after_the_last_request_that_needs_it() {
    for back in [&["rollback", "notes"][..], &["activate", "notes@1.0.0"]] {
        goes_after_its_last_request(back).await;
    }
}

async fn goes_after_its_last_request(back: &[&str]) {
    let gone = "lifecycle:\n  rollback: { preserveData: false }\n";
    let server = Server::with(&[notes("1.0.0", &["1.0.0"], gone)]).await;
    server.install(&reversible(notes("2.0.0", &["1.0.0", "2.0.0"], gone), "2.0.0")).await;
    let rolled_back = async {
        until("a request is held", async || server.get("/api/notes").await.json()["held"] == json!(true)).await;
        tokio::join!(server.ok(back), async {
            let serves = async || server.get("/api/notes").await.header("x-replug-module") == "notes@1.0.0";
            until("the first version serves", serves).await;
            server.get("/api/notes?go=1").await
        })
    };
    let (held, _) = tokio::join!(server.get("/api/notes?hold=1&table=more_2"), rolled_back);
    assert_eq!((held.header("x-replug-module"), &held.json()["rows"]), ("notes@2.0.0", &json!(0)), "{held:?}");
    assert_eq!((rows(&server, "notes").await, rows(&server, "more_2").await), (0, -1), "{}", server.logged());
}
