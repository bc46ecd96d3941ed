//! Statements on a database whose module is stopped.

use super::*;
use crate::integration::database::{DatabaseError, Databases};
use crate::sandbox::ports::{Database as _, Statement};

const ENDLESS: &str = "with recursive c(x) as (select 1 union all select x + 1 from c)";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A world in which `shop` has a database with the table `t (n)`.
async fn world() -> (World, Databases) {
    let mut world = World::new().await;
    let databases = Databases::open(world.dir.path().join("databases")).expect("a folder");
    databases.create("shop").expect("a file");
    let made: Result<(), DatabaseError> = databases.change("shop", soon(), |change| {
        change.script("create table t (n integer)", |_| Ok(())).expect("it is right");
        Ok(())
    });
    made.expect("a table");
    world.keep_in(Arc::new(databases.clone()));
    (world, databases)
}

fn manifest(workers: &str) -> String {
    let manifest = MANIFEST.replace("workers: 2", workers);
    format!("{manifest}database: {{ migrations: [{{ version: 1.0.0, file: one.sql }}] }}\n")
}

/// All four connections serve, and nothing was written.
fn serve(databases: &Databases) {
    let statement = [Statement { sql: "select n from t".into(), params: Vec::new() }];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let rows = databases.run("shop", None, &statement, soon()).expect("the connection serves");
                assert_eq!(rows, [Value::List(Vec::new())]);
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_runs_ends_with_its_module_and_changes_nothing() {
    let (world, databases) = world().await;
    for body in [
        format!("db.query('{ENDLESS} select count(*) from c')"),
        format!("while true do pcall(db.query, '{ENDLESS} select count(*) from c') end"),
        format!("db.transaction({{ 'insert into t values (1)', '{ENDLESS} insert into t select x from c' }})"),
    ] {
        let script = format!("return {{ services = {{ [\"shop.spin\"] = function() {body} end }} }}");
        for workers in ["workers: 2", "workers: 2, concurrency: 4"] {
            ends(&world, world.serve(&manifest(workers), &script).await).await;
            serve(&databases);
        }
    }
}

#[cfg(feature = "rhai")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_script_in_rhai_ends_as_well() {
    let (world, databases) = world().await;
    let body = format!("db.query(\"{ENDLESS} select count(*) from c\")");
    let script = format!("fn spin(args) {{ {body} }}\n#{{ services: #{{ \"shop.spin\": Fn(\"spin\") }} }}");
    ends(&world, world.serve_rhai(&manifest("workers: 2"), &script).await).await;
    serve(&databases);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_whose_statement_is_cut_off_keeps_the_state_that_it_had() {
    let (world, _databases) = world().await;
    let world = Arc::new(world);
    let query = format!("db.query('{ENDLESS} select count(*) from c')");
    let script = format!(
        r#"return {{
          services = {{ ["shop.call"] = function(message) return actors.call("sum", message) end }},
          actors = {{ sum = {{ init = function() return 0 end, handle = function(state, message)
            if message == 0 then {query} end
            return {{ state = state + message, reply = state + message }}
          end }} }},
        }}"#
    );
    for workers in ["workers: 2, actors: [{ id: sum }]", "workers: 2, concurrency: 4, actors: [{ id: sum }]"] {
        let old = world.serve(&manifest(workers), &script).await;
        let sum = world.call("shop", "shop.call", Value::Int(3)).await.expect("a reply");
        let before = old.account().counts.cpu_time();
        let cut_off = {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.call("shop", "shop.call", Value::Int(0)).await })
        };
        until(|| old.account().counts.cpu_time() > before + Duration::from_millis(40)).await;
        world.serve(&manifest(workers).replace("1.0.0", "1.1.0"), &script).await;
        world.rig.stop(&old).await;
        cut_off.await.expect("no panic").expect_err("it is cut off");
        let kept = world.call("shop", "shop.call", Value::Int(4)).await.expect("a reply");
        assert_eq!(kept.as_i64(), sum.as_i64().map(|sum| sum + 4), "{workers}");
    }
}
