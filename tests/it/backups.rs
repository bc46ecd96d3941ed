//! A backup is made while a runtime serves and changes, and brings all of it back elsewhere.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Module, Ran, Server, replug};

/// A module that counts in its key-value store, in a table and in a file, one after the other.
fn keeper(version: &str) -> Module {
    let script = r#"return { apis = {
        ["POST /api/keeper"] = function(req)
            local n = (kv.get("n") or 0) + 1
            kv.put("n", n)
            db.execute("insert into counts(n) values (?)", {n})
            fs.write("counts/last.txt", tostring(n))
            return { body = tostring(n) }
        end,
        ["GET /api/keeper"] = function(req)
            local rows = db.query("select count(*) as c, max(n) as m from counts")
            local last = fs.read("counts/last.txt")
            return { body = { n = kv.get("n") or 0, rows = rows[1].c, most = rows[1].m or 0, file = last } }
        end,
    } }"#;
    Module::new("keeper", version)
        .api("/api/keeper", "GET, POST")
        .manifest("database:\n  migrations:\n    - version: 1.0.0\n      file: one.sql\n")
        .manifest("permissions:\n  system:\n    filesystem: [{ path: counts, access: write }]\n")
        .file("one.sql", "create table counts(n integer not null);")
        .lua(script)
}

async fn restore(file: &Path, data: &Path, more: &[&str]) -> Ran {
    let (file, data) = (file.display().to_string(), data.display().to_string());
    let more: Vec<String> = more.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || {
        let mut args = vec!["restore", &file, "--json", "--data", &data];
        args.extend(more.iter().map(String::as_str));
        replug(&args)
    };
    tokio::task::spawn_blocking(run).await.expect("the command runs")
}

/// What a runtime says of itself, but for what is of the process.
async fn told(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for args in [&["list"][..], &["versions", "keeper"], &["history", "keeper"], &["permissions", "show", "keeper"]] {
        let mut rows = server.ok(args).await;
        for row in rows.as_array_mut().into_iter().flatten() {
            for volatile in ["since", "health"] {
                row.as_object_mut().expect("an object").remove(volatile);
            }
        }
        all.push(rows);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_backed_up_under_load_is_all_there_in_another_directory() {
    let server = Arc::new(Server::granting(&[keeper("1.0.0")]).await);
    server.ok(&["confirm", "keeper"]).await;
    server.settle(&keeper("1.1.0")).await;
    for _ in 0..20 {
        assert_eq!(server.send(server.request("POST", "/api/keeper")).await.status, 200);
    }
    let before = told(&server).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(server.send(server.request("POST", "/api/keeper")).await.status, 200);
            }
        }
    });
    let file = server.root().join("x.backup");
    let made = server.ok(&["backup", &file.display().to_string()]).await;
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    assert_eq!((&made["databases"], &made["files"], &made["what"]), (&json!(1), &json!(1), &json!("backup")), "{made}");
    let entries = server.ok(&["audit"]).await;
    let told_of = entries.as_array().unwrap().iter().find(|entry| entry["kind"] == "backed-up").expect("it is told");
    assert_eq!((&told_of["data"]["hash"], &told_of["actor"]), (&made["hash"], &json!("admin")));

    let refused = server.run(&["backup", &file.display().to_string()]).await;
    assert!(refused.code == 1 && refused.err.contains("--force"), "{refused:?}");
    server.ok(&["backup", &file.display().to_string(), "--force"]).await;
    let refused = restore(&file, &server.data(), &["--replace"]).await;
    assert!(refused.code == 1 && refused.err.contains("in use by process"), "{refused:?}");

    let mut other = Server::idle_with(&[]);
    let done = restore(&file, &other.data(), &[]).await;
    assert_eq!((done.code, &done.json()["kept"]), (0, &Value::Null), "{done:?}");
    other.start().await;
    let mut after = told(&other).await;
    // its own start is the only thing that was done since
    let resumed = after[2].as_array_mut().unwrap().remove(0);
    assert_eq!(resumed["command"], "resume");
    assert_eq!(after, before);
    assert_eq!(other.get("/api/keeper").await.header("x-replug-module"), "keeper@1.1.0");
    let kept: Value = serde_json::from_str(&other.get("/api/keeper").await.body).unwrap();
    // each part is taken after the one before, and whole in itself
    let number = |key: &str| kept[key].as_f64().unwrap();
    assert!(number("n") >= 20.0 && number("rows") >= number("n") - 1.0, "{kept}");
    assert!((number("rows") - number("most")).abs() < 0.5, "{kept}");
    let in_file: f64 = kept["file"].as_str().unwrap().parse().unwrap();
    assert!(in_file >= number("n") - 1.0, "{kept}");
    // and it goes on from there
    assert_eq!(other.send(other.request("POST", "/api/keeper")).await.body, (number("n") + 1.0).to_string());
    other.ok(&["rollback", "keeper"]).await;
    assert_eq!(other.get("/api/keeper").await.header("x-replug-module"), "keeper@1.0.0");
    let log = other.ok(&["audit"]).await;
    assert_eq!(log[0]["kind"], "restored", "{log}");
    assert!(!log.as_array().unwrap().iter().any(|entry| entry["kind"] == "alarm"), "{log}");
}

#[tokio::test]
async fn what_a_directory_held_is_kept_when_a_backup_takes_its_place() {
    let mut server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    let file = server.root().join("x.backup");
    server.ok(&["backup", &file.display().to_string()]).await;
    server.settle(&Module::echo("probe", "2.0.0", "lua")).await;
    assert!(server.terminate().await.success());
    let refused = restore(&file, &server.data(), &[]).await;
    assert!(refused.code == 1 && refused.err.contains("--replace"), "{refused:?}");
    let done = restore(&file, &server.data(), &["--replace"]).await.json();
    assert!(server.data().join(done["kept"].as_str().unwrap()).join("store/db").is_file(), "{done}");
    server.start().await;
    assert_eq!(server.get("/api/probe").await.header("x-replug-module"), "probe@1.0.0");
    // the log is the directory's: it knows what was, and that something took its place
    let log = server.ok(&["audit"]).await;
    let kinds: Vec<&str> = log.as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    let at = |kind: &str| kinds.iter().position(|found| *found == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}"));
    assert!(at("confirmed") < at("restored"), "{kinds:?}");
    assert_eq!(server.run(&["audit", "verify"]).await.code, 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_backup_is_for_its_owner_and_is_there_whole_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await;
    let file = server.root().join("x.backup");
    server.ok(&["backup", &file.display().to_string()]).await;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = std::fs::read(&file).unwrap();
    for (cut, name) in [(whole.len() - 40, "y"), (20, "z")] {
        let path = server.root().join(name);
        std::fs::write(&path, &whole[..cut]).unwrap();
        let data = server.root().join(format!("{name}-data"));
        let refused = restore(&path, &data, &[]).await;
        assert!(refused.code == 1 && refused.err.contains("cut off"), "{refused:?}");
        assert!(!data.exists());
    }
    let nowhere = server.root().join("none/x.backup");
    assert_eq!(server.run(&["backup", &nowhere.display().to_string()]).await.code, 1);
    let left = std::fs::read_dir(server.root()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().ends_with(".new")));
    assert!(!server.data().join("spool/backup").exists() && !server.data().join("spool/database").exists());
}
