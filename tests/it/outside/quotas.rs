//! The storage quota: the store, the files and the database of a module together.

use super::*;

/// 256 KiB, most of it taken.
const SMALL: &str = "database: { migrations: [{ version: 1.0.0, file: 1.sql }] }\npermissions:\n  system:\n    filesystem: [{ path: data, access: write }]\n  resources: { storage: { max: 256KiB } }\n";

fn quota_modules(id: &str, expressions: &[&str]) -> Vec<Module> {
    let make = |module: Module| module.file("1.sql", "create table t (x text)");
    both(id, "1.0.0", SMALL, expressions).map(make).to_vec()
}

#[tokio::test]
async fn a_module_over_its_storage_quota_writes_nothing_anywhere() {
    let insert =
        "db.execute(\"insert into t select hex(randomblob(60000)) from (select 1 union select 2 union select 3)\")";
    let expressions = [
        "fs.write(\"data/a\", \"a\")",
        insert,
        "fs.write(\"data/big\", db.query(\"select hex(zeroblob(110000)) as x\")[1].x)",
        "kv.put(\"small\", 1)",
        "kv.put(\"large\", db.query(\"select hex(zeroblob(20000)) as x\")[1].x)",
        "fs.remove(\"data/big\")",
        "kv.put(\"large\", db.query(\"select hex(zeroblob(20000)) as x\")[1].x)",
        insert,
        "db.query(\"select count(*) as n from t\")[1].n",
    ];
    // lists begin at 1 in Lua and at 0 in Rhai
    let lua = quota_modules("full", &expressions).remove(0);
    let rhai_expressions: Vec<String> = expressions.iter().map(|one| one.replace(")[1]", ")[0]")).collect();
    let rhai_expressions: Vec<&str> = rhai_expressions.iter().map(String::as_str).collect();
    let rhai = quota_modules("full", &rhai_expressions).remove(1);
    let server = Server::granting(&[lua, rhai]).await;
    for id in ["full-lua", "full-rhai"] {
        let answers = ask(&server, id).await;
        let line = "permissions: { resources: { storage: { max: ";
        for index in [0, 2, 3, 5, 6] {
            assert!(answers[index].get("kind").is_none(), "{}: {}", expressions[index], answers[index]);
        }
        // 360 KB of rows do not fit
        for index in [1, 7] {
            refused(&answers[index], "overloaded", "the database is full: ");
            refused(&answers[index], "overloaded", line);
        }
        refused(&answers[4], "overloaded", "kv.put: storage quota exceeded: ");
        refused(&answers[4], "overloaded", "262144 allowed");
        refused(&answers[4], "overloaded", line);
        assert_eq!(answers[8]["v"], json!(0), "{}", answers[8]);
        let shown = server.metrics().await;
        for kind in ["kv", "files", "database"] {
            let series = format!("replug_module_storage_bytes{{kind=\"{kind}\",module=\"{id}\"}} ");
            let bytes = shown
                .lines()
                .find_map(|line| line.strip_prefix(&series))
                .unwrap_or_else(|| panic!("{series} in {shown}"));
            let bytes: f64 = bytes.parse().expect("a number");
            assert!(bytes > 1000.0 && bytes < 262_144.0, "{series}{bytes}");
        }
    }
}

#[tokio::test]
async fn a_file_that_has_no_room_is_not_written() {
    let expressions = [
        "fs.write(\"data/a\", crypto.random(1024))",
        "fs.append(\"data/a\", crypto.random(1024))",
        "fs.read(\"data/a\")",
    ];
    let tiny = "permissions:\n  system:\n    filesystem: [{ path: data, access: write }]\n  resources: { storage: { max: 4096 } }\n";
    let server = Server::granting(&both("tiny", "1.0.0", tiny, &expressions)).await;
    for id in ["tiny-lua", "tiny-rhai"] {
        let answers = ask(&server, id).await;
        // two entries of 1 KiB and 2 KiB of hex are all there is room for
        assert!(answers[0].get("kind").is_none(), "{}", answers[0]);
        refused(
            &answers[1],
            "overloaded",
            "fs.append: storage quota exceeded: 6144 bytes with this write (kv 0, files 6144, database 0), 4096 allowed",
        );
        assert_eq!(answers[2]["v"].as_str().map(str::len), Some(2048));
        let file = server.data().join("files").join(id).join("data/a");
        assert_eq!(std::fs::metadata(file).expect("it was written").len(), 2048);
    }
}
