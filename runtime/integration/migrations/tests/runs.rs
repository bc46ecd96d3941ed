//! Up, down and up again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const NOTES: (&str, &str, Option<&str>) = (
    "1.0.0",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
     CREATE INDEX notes_by_text ON notes (text);
     INSERT INTO notes (text) VALUES ('; first');",
    Some("DROP INDEX notes_by_text; DROP TABLE notes;"),
);

const TAGS: (&str, &str, Option<&str>) = (
    "1.1.0",
    "ALTER TABLE notes ADD COLUMN done INTEGER NOT NULL DEFAULT 0;
     CREATE TABLE tags (note INTEGER REFERENCES notes, tag TEXT);
     CREATE TRIGGER no_orphans AFTER DELETE ON notes BEGIN DELETE FROM tags WHERE note = old.id; SELECT 1; END;
     CREATE VIEW open AS SELECT * FROM notes WHERE NOT done;",
    Some("DROP VIEW open; DROP TRIGGER no_orphans; DROP TABLE tags; ALTER TABLE notes DROP COLUMN done;"),
);

#[test]
fn up_down_and_up_again_ends_in_the_same_schema() {
    let db = Fixture::new();
    let (one, both) = (Bundle::new(&[NOTES]), Bundle::new(&[NOTES, TAGS]));
    assert_eq!(db.pending(&both).unwrap(), ["1.0.0", "1.1.0"]);
    assert_eq!(db.up(&one).unwrap(), ["1.0.0"]);
    let first = db.schema();
    assert_eq!(db.pending(&both).unwrap(), ["1.1.0"]);
    assert_eq!(db.up(&both).unwrap(), ["1.1.0"]);
    let second = db.schema();
    db.databases.verify(MODULE).unwrap();

    // Without any file of the newer bundle.
    db.down(&["1.1.0"]).unwrap();
    assert_eq!(db.schema(), first);
    assert_eq!(db.applied(), ["1.0.0"]);
    db.databases.verify(MODULE).unwrap();
    assert_eq!(db.run("SELECT text FROM notes"), Value::List(vec![Value::map([("text", Value::from("; first"))])]));

    assert_eq!(db.up(&both).unwrap(), ["1.1.0"]);
    assert_eq!(db.schema(), second);
    db.down(&["1.0.0", "1.1.0"]).unwrap();
    assert_eq!(db.tables(), "");
    assert_eq!(db.up(&both).unwrap(), ["1.0.0", "1.1.0"]);
    assert_eq!(db.schema(), second);
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    let db = Fixture::new();
    let bundle = Bundle::new(&[NOTES, TAGS]);
    db.up(&bundle).unwrap();
    assert!(db.up(&bundle).unwrap().is_empty());
    assert!(db.pending(&bundle).unwrap().is_empty());
    db.down(&["1.1.0"]).unwrap();
    db.down(&["1.1.0"]).unwrap();
    db.down(&["9.9.9"]).unwrap();
    assert_eq!(db.applied(), ["1.0.0"]);
}

#[test]
fn a_module_without_database_gets_no_file() {
    let db = Fixture::new();
    let mut bundle = Bundle::new(&[]);
    db.up(&bundle).unwrap();
    assert!(db.databases.exists(MODULE));
    db.databases.drop_file(MODULE).unwrap();
    bundle.manifest.database = None;
    assert!(db.up(&bundle).unwrap().is_empty());
    assert!(db.pending(&bundle).unwrap().is_empty());
    assert!(!db.databases.exists(MODULE));
    db.down(&["1.0.0"]).unwrap();
    assert!(db.applied().is_empty());
}

#[test]
fn an_older_bundle_runs_on_the_newer_schema_and_may_bring_a_fix_of_its_own() {
    let db = Fixture::new();
    db.up(&Bundle::new(&[NOTES, TAGS])).unwrap();
    let older = Bundle::new(&[NOTES]);
    assert!(db.up(&older).unwrap().is_empty());
    let fix = Bundle::new(&[NOTES, ("1.0.1", "CREATE TABLE fix (a)", None)]);
    assert_eq!(db.up(&fix).unwrap(), ["1.0.1"]);
    assert_eq!(db.applied(), ["1.0.0", "1.0.1", "1.1.0"]);
}

#[test]
fn a_migration_that_fails_leaves_nothing_and_those_before_it_stay() {
    let db = Fixture::new();
    let broken = ("1.1.0", "CREATE TABLE half (a);\nDELETE FROM notes;\n\nINSERT INTO nowhere VALUES (1);", None);
    let error = db.up(&Bundle::new(&[NOTES, broken])).unwrap_err();
    assert_eq!(error.to_string(), "module notes: migration 1.1.0: migrations/1.1.0.sql:4: no such table: nowhere");
    assert_eq!(db.tables(), "notes");
    assert_eq!(db.applied(), ["1.0.0"]);
    assert_eq!(db.run("SELECT count(*) AS n FROM notes"), Value::List(vec![Value::map([("n", Value::Int(1))])]));
    db.databases.verify(MODULE).unwrap();
    assert_eq!(db.up(&Bundle::new(&[NOTES, TAGS])).unwrap(), ["1.1.0"]);
}

#[test]
fn a_way_back_that_fails_leaves_all_as_it_was() {
    let db = Fixture::new();
    let stuck = ("1.1.0", "CREATE TABLE extra (a)", Some("DROP TABLE extra; DROP TABLE nowhere;"));
    db.up(&Bundle::new(&[NOTES, stuck])).unwrap();
    let before = db.schema();
    let error = db.down(&["1.1.0", "1.0.0"]).unwrap_err();
    assert!(error.to_string().contains("migration 1.1.0: down:1: no such table: nowhere"), "{error}");
    assert_eq!(db.schema(), before);
    assert_eq!(db.applied(), ["1.0.0", "1.1.0"]);
}

#[test]
fn runs_at_once_apply_each_migration_once() {
    let db = Fixture::new();
    let bundle = Bundle::new(&[NOTES, TAGS]);
    let mut done: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| db.up(&bundle).unwrap())).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    done.sort();
    assert_eq!(done, ["1.0.0", "1.1.0"]);
}

#[test]
fn scripts_go_on_while_a_migration_runs_and_see_all_of_it_or_nothing() {
    let db = Fixture::new();
    db.up(&Bundle::new(&[NOTES])).unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| db.up(&Bundle::new(&[NOTES, TAGS])).unwrap());
        while !run.is_finished() {
            let names = db.tables();
            assert!(names == "notes" || names == "notes,tags", "{names}");
            db.run("INSERT INTO notes (text) VALUES ('more')");
        }
    });
    db.run("SELECT done FROM notes LIMIT 1");
}

#[test]
fn parents_may_be_dropped_before_their_children() {
    let db = Fixture::new();
    let family = (
        "1.0.0",
        "CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (parent REFERENCES parent);
         INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);",
        Some("DROP TABLE parent; DROP TABLE child;"),
    );
    db.up(&Bundle::new(&[family])).unwrap();
    db.down(&["1.0.0"]).unwrap();
    assert_eq!(db.tables(), "");
}

#[test]
fn a_table_that_vanished_is_found_by_verify() {
    let db = Fixture::new();
    db.up(&Bundle::new(&[NOTES, TAGS])).unwrap();
    let vanish: Result<(), DatabaseError> =
        db.databases.change(MODULE, Instant::now() + Duration::from_secs(20), |change| {
            change.script("DROP TABLE tags", |_| Ok(())).unwrap();
            Ok(())
        });
    vanish.unwrap();
    let error = db.databases.verify(MODULE).unwrap_err();
    assert!(matches!(&error, DatabaseError::MissingTables { tables, .. } if tables == &["tags"]), "{error}");
}

#[test]
fn a_file_whose_making_was_interrupted_is_finished_by_the_next_run() {
    let db = Fixture::new();
    std::fs::write(db.dir.path().join("notes.sqlite"), "").unwrap();
    let bundle = Bundle::new(&[NOTES]);
    assert!(db.applied().is_empty());
    assert_eq!(db.pending(&bundle).unwrap(), ["1.0.0"]);
    db.databases.verify(MODULE).unwrap_err();
    assert_eq!(db.up(&bundle).unwrap(), ["1.0.0"]);
    db.databases.verify(MODULE).unwrap();
}

#[test]
fn the_migrations_of_the_modules_that_ship_go_up_and_down() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
    let mut seen = 0;
    for module in std::fs::read_dir(root).unwrap() {
        let Ok(files) = std::fs::read_dir(module.unwrap().path().join("migrations")) else { continue };
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for file in files {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            texts.insert(name, std::fs::read_to_string(file.path()).unwrap());
        }
        let ups: Vec<&String> = texts.keys().filter(|name| !name.ends_with(".down.sql")).collect();
        let versions: Vec<String> = (0..ups.len()).map(|n| format!("1.{n}.0")).collect();
        let steps: Vec<_> = ups
            .iter()
            .zip(&versions)
            .map(|(up, version)| {
                let down = texts.get(&up.replace(".sql", ".down.sql"));
                (version.as_str(), texts[*up].as_str(), down.map(String::as_str))
            })
            .collect();
        let db = Fixture::new();
        assert_eq!(db.up(&Bundle::new(&steps)).unwrap(), versions);
        db.databases.verify(MODULE).unwrap();
        if steps.iter().all(|(_, _, down)| down.is_some()) {
            db.down(&versions.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
            assert_eq!(db.tables(), "");
        }
        seen += steps.len();
    }
    assert!(seen > 0);
}

#[test]
fn what_nobody_waits_for_any_more_begins_no_migration_and_makes_no_file() {
    let db = Fixture::new();
    let given_up = Arc::<AtomicBool>::default();
    let late = db.migrations.clone().unless(Arc::clone(&given_up));
    let bundle = Bundle::new(&[NOTES]);
    given_up.store(true, Ordering::Release);
    let told = late.up(MODULE, &bundle.manifest, &bundle.files).unwrap_err();
    assert_eq!(told, MigrationError::GivenUp { module: MODULE.to_owned() });
    assert!(!db.databases.exists(MODULE));
    // one that waits for its turn meanwhile
    given_up.store(false, Ordering::Release);
    db.databases.create(MODULE).unwrap();
    let turn = db.databases.migrating(MODULE, Instant::now() + Duration::from_secs(20)).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| late.up(MODULE, &bundle.manifest, &bundle.files));
        given_up.store(true, Ordering::Release);
        drop(turn);
        assert_eq!(waits.join().unwrap(), Err(MigrationError::GivenUp { module: MODULE.to_owned() }));
    });
    assert_eq!(db.applied(), [""; 0]);
}

#[test]
fn a_way_back_that_is_given_up_while_a_step_of_it_runs_is_undone_and_not_committed_too_late() {
    let db = Fixture::new();
    let slow = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000000) insert into t select max(i) from n; drop table t;";
    let first = ("1.0.0", "create table t (n integer);", Some(slow));
    db.up(&Bundle::new(&[first, ("2.0.0", "create table u (n integer);", Some("drop table u;"))])).unwrap();
    let given_up = Arc::<AtomicBool>::default();
    let late = db.migrations.clone().unless(Arc::clone(&given_up));
    let versions = [semver::Version::new(1, 0, 0), semver::Version::new(2, 0, 0)];
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| late.down(MODULE, &versions));
        // until it is at the slow one
        while !runs.is_finished() && db.applied() != ["1.0.0"] {
            std::thread::yield_now();
        }
        given_up.store(true, Ordering::Release);
        assert_eq!(runs.join().unwrap(), Err(MigrationError::GivenUp { module: MODULE.to_owned() }));
    });
    assert_eq!((db.applied(), db.tables().contains('t')), (vec!["1.0.0".to_owned()], true));
    db.down(&["1.0.0"]).unwrap();
    assert_eq!(db.applied(), [""; 0]);
}
