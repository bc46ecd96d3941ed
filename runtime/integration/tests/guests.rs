//! Modules that work on the database of another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::Value;
use serde_json::{Value as Json, json};

use super::World;
use super::gatekeeper::until;
use crate::actors::router::CallError;
use crate::integration::database::{DatabaseError, Databases};
use crate::store::audit::Kind;

const OWNER: &str = "
id: owner
version: 1.0.0
capabilities: [{ id: owner }]
database: { migrations: [{ version: 1.0.0, file: one.sql }] }
runtime: { workers: 4, limits: { wallTime: 1500ms } }
";

const READER: &str = "
id: reader
version: 1.0.0
capabilities: [{ id: reader }]
permissions: { system: { database: [{ module: owner, access: read }] } }
runtime: { workers: 6, limits: { wallTime: 3s } }
";

const READERS_SCRIPT: &str = r#"
local endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c"
return { services = {
  ["reader.spin"] = function() return db.of("owner", endless) end,
  ["reader.write"] = function() db.of("owner", "delete from t") end,
} }
"#;

const SOON: Duration = Duration::from_secs(20);

const OWNERS_SCRIPT: &str =
    r#"return { services = { ["owner.one"] = function() return db.query("select 1 as n")[1].n end } }"#;

/// The owner serves, and the reader may do what it asks for.
async fn world() -> World {
    world_of(OWNER, OWNERS_SCRIPT).await
}

async fn world_of(owner: &str, script: &str) -> World {
    let mut world = World::new().await;
    let databases = Databases::open(world.dir.path().join("databases")).expect("a folder");
    databases.create("owner").expect("a file");
    let made: Result<(), DatabaseError> = databases.change("owner", Instant::now() + SOON, |change| {
        change.script("create table t (n integer)", |_| Ok(())).expect("it is right");
        Ok(())
    });
    made.expect("a table");
    world.keep_in(Arc::new(databases));
    world.grant(owner).await;
    world.serve(owner, script).await;
    world.grant(READER).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_selects_of_another_module_do_not_keep_the_owner_from_its_database() {
    let world = Arc::new(world().await);
    let reader = world.serve(READER, READERS_SCRIPT).await;
    let spin = || {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.call("reader", "reader.spin", Value::Null).await })
    };
    let spins: Vec<_> = (0..6).map(|_| spin()).collect();
    let begun = world.rig.metrics.host_calls(&reader.key, "db.of");
    until(|| begun.get() == 6).await;
    for _ in 0..10 {
        assert_eq!(world.call("owner", "owner.one", Value::Null).await.expect("an answer"), Value::Int(1));
    }
    assert!(spins.iter().all(|spin| !spin.is_finished()), "they went on meanwhile");
    for spin in spins {
        spin.await.expect("no panic").expect_err("it ends at its deadline");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_where_only_reading_is_asked_for_names_both_lines_and_is_told_as_a_denial() {
    let world = world().await;
    let reader = world.serve(READER, READERS_SCRIPT).await;
    let CallError::Script(error) =
        world.call("reader", "reader.write", Value::Null).await.expect_err("it may only read")
    else {
        panic!("a script's error")
    };
    assert_eq!(
        error.to_string(),
        "permission denied: db.of: module.manifest.yaml:5 asks for system.database:owner:read only (here \
         system.database:owner:write); `permissions: { system: { database: [{ module: owner, access: write }] } }` in \
         module.manifest.yaml would ask for it, and an administrator grants it: replug permissions grant reader"
    );
    assert_eq!(world.rig.metrics.permission_checks(&reader.key, "denied").get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_room_is_told_as_a_quota_of_its_owner_whoever_fills_it() {
    let fill = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 400) \
                insert into t select hex(randomblob(1000)) from c";
    let owner = format!("{OWNER}permissions: {{ resources: {{ storage: {{ max: 256KiB }} }} }}\n");
    let own = format!(r#"return {{ services = {{ ["owner.fill"] = function() db.execute("{fill}") end }} }}"#);
    let world = world_of(&owner, &own).await;
    let guest = READER.replace("reader", "guest").replace("access: read", "access: write");
    world.grant(&guest).await;
    let script = format!(r#"return {{ services = {{ ["guest.fill"] = function() db.of("owner", "{fill}") end }} }}"#);
    world.serve(&guest, &script).await;
    // a repeat is no entry of its own
    for id in ["owner", "owner", "guest"] {
        let error = world.call(id, &format!("{id}.fill"), Value::Null).await.expect_err("800 KB have no room");
        assert!(error.to_string().contains("the database is full: "), "{error}");
    }
    world.supplies.permissions.close().await;
    let rows = world.audit.read(1, 1000).await.expect("it can be read");
    let entries = rows.iter().map(|row| row.entry().expect("no damage")).filter(|it| it.kind == Kind::QuotaExceeded);
    let told: Vec<_> = entries
        .map(|entry| {
            assert_eq!((entry.subject.as_str(), entry.who.name()), ("owner@1.0.0", "runtime"));
            serde_json::from_str::<Json>(entry.data.get()).expect("JSON")
        })
        .collect();
    let of = |call: &str| {
        json!({ "quota": "resources.storage.max", "value": 256 << 10, "call": call, "requestId": "test", "caller": null,
                "principal": null, "generation": 1, "count": 1 })
    };
    assert_eq!(told, ["db.execute", "db.of"].map(of));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_keeps_to_the_quota_of_the_version_that_has_the_slot() {
    let fill = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 400) \
                insert into t select hex(randomblob(1000)) from c";
    let world = world().await;
    let serving = world.router.snapshot().instance("owner", 0).cloned().expect("it serves");
    let guest = READER.replace("reader", "guest").replace("access: read", "access: write");
    world.grant(&guest).await;
    let script = format!(r#"return {{ services = {{ ["guest.fill"] = function() db.of("owner", "{fill}") end }} }}"#);
    world.serve(&guest, &script).await;
    let small = OWNER.replace("1.0.0\ncapabilities", "2.0.0\ncapabilities");
    let small = format!("{small}permissions: {{ resources: {{ storage: {{ max: 256KiB }} }} }}\n");
    world.grant(&small).await;
    // it only starts: the version that serves is the owner still
    let candidate = world.start(&small, OWNERS_SCRIPT).await;
    world.call("guest", "guest.fill", Value::Null).await.expect("800 KB have room");
    world.publish(&candidate).await;
    let error = world.call("guest", "guest.fill", Value::Null).await.expect_err("it has no room now");
    assert!(error.to_string().contains("the database is full: "), "{error}");
    world.publish(&serving).await;
    world.call("guest", "guest.fill", Value::Null).await.expect("it has room again");
}
