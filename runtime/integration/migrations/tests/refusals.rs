//! Migrations that must not run.

use super::*;

const FIRST: (&str, &str, Option<&str>) = ("1.0.0", "CREATE TABLE notes (id INTEGER PRIMARY KEY, text)", None);

/// Each is refused with a message that has this part.
const REFUSED: &[(&str, &str)] = &[
    ("ATTACH 'other.sqlite' AS other", "one database"),
    ("VACUUM INTO 'stolen.sqlite'", "VACUUM"),
    ("SELECT load_extension('./evil.so')", "load_extension"),
    ("PRAGMA writable_schema = ON", "is refused"),
    ("PRAGMA foreign_keys = OFF", "is refused"),
    ("COMMIT", "transactions are the runtime's"),
    ("ROLLBACK", "transactions are the runtime's"),
    ("BEGIN; CREATE TABLE x (a); COMMIT", "transactions are the runtime's"),
    ("SAVEPOINT a", "transactions are the runtime's"),
    ("CREATE TABLE _replug_mine (a)", "_replug"),
    ("CREATE INDEX _replug_i ON notes (text)", "_replug"),
    ("CREATE INDEX i ON _replug_migrations (checksum)", "_replug"),
    ("CREATE VIEW _Replug_v AS SELECT 1", "_replug"),
    ("CREATE TRIGGER g AFTER INSERT ON _replug_migrations BEGIN SELECT 1; END", "_replug"),
    ("DROP TABLE _replug_migrations", "_replug"),
    ("ALTER TABLE _replug_migrations ADD COLUMN x", "_replug"),
    ("ALTER TABLE _replug_migrations RENAME TO mine", "_replug"),
    ("ALTER TABLE notes RENAME TO _replug_notes", "_replug"),
    ("CREATE TABLE mine (a); ALTER TABLE mine RENAME TO _replug_mine", "_replug"),
    ("DELETE FROM _replug_migrations", "_replug"),
    ("INSERT INTO _replug_migrations VALUES ('9.9.9', '', 0, NULL, '[]')", "_replug"),
    ("CREATE TABLE copy AS SELECT * FROM _replug_migrations", "_replug"),
    ("CREATE TEMP TABLE x (a)", "TEMP"),
    ("CREATE TEMP VIEW x AS SELECT 1", "TEMP"),
    ("CREATE VIRTUAL TABLE x USING fts3(a)", "only fts5 and rtree"),
    ("CREATE VIRTUAL TABLE x USING dbstat", "only fts5 and rtree"),
    ("UPDATE sqlite_schema SET sql = 'x'", "may not be modified"),
    ("INSERT INTO notes (text) VALUES (?)", "no parameters"),
    ("INSERT INTO notes (text) VALUES (:a)", "`?`"),
    ("CREATE TABLE", "incomplete input"),
    ("CREATE TABLE x (a) CREATE TABLE y (b)", "syntax error"),
    ("SELECT * FROM nowhere", "no such table"),
    ("CREATE TABLE x (a)\0", "NUL"),
];

#[test]
fn hostile_migrations_are_refused_and_leave_nothing() {
    let db = Fixture::new();
    db.up(&Bundle::new(&[FIRST])).unwrap();
    let before = db.schema();
    for (sql, part) in REFUSED {
        let text = format!("CREATE TABLE before_it (a);\n{sql}");
        let error = db.up(&Bundle::new(&[FIRST, ("2.0.0", &text, None)])).expect_err(sql);
        assert!(matches!(error, MigrationError::Statement { late: false, .. }), "{error}");
        assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
        assert_eq!(db.schema(), before, "{sql}");
        assert_eq!(db.applied(), ["1.0.0"], "{sql}");
    }
}

#[test]
fn hostile_ways_back_are_refused_too() {
    let db = Fixture::new();
    let step = ("2.0.0", "CREATE TABLE more (a)", Some("DROP TABLE more; DELETE FROM _replug_migrations;"));
    db.up(&Bundle::new(&[FIRST, step])).unwrap();
    let error = db.down(&["2.0.0"]).unwrap_err();
    assert!(error.to_string().contains("_replug"), "{error}");
    assert_eq!(db.tables(), "more,notes");
}

#[test]
fn an_applied_migration_that_changed_is_named_with_its_file() {
    let db = Fixture::new();
    db.up(&Bundle::new(&[FIRST])).unwrap();
    let before = db.schema();
    let changed = Bundle::new(&[
        ("1.0.0", "CREATE TABLE notes (id INTEGER PRIMARY KEY, text, more)", None),
        ("1.1.0", "CREATE TABLE x (a)", None),
    ]);
    for error in [db.pending(&changed).unwrap_err(), db.up(&changed).unwrap_err()] {
        let expected = MigrationError::Changed {
            module: MODULE.to_owned(),
            version: Version::new(1, 0, 0),
            file: "migrations/1.0.0.sql".to_owned(),
        };
        assert_eq!(error, expected);
    }
    assert_eq!(db.schema(), before);
}

#[test]
fn what_is_irreversible_stays_and_so_does_all_after_it() {
    let db = Fixture::new();
    let later = ("1.1.0", "CREATE TABLE later (a)", Some("DROP TABLE later"));
    db.up(&Bundle::new(&[FIRST, later])).unwrap();
    let before = db.schema();
    let error = db.down(&["1.1.0", "1.0.0"]).unwrap_err();
    let expected = MigrationError::Irreversible { module: MODULE.to_owned(), version: Version::new(1, 0, 0) };
    assert_eq!(error, expected);
    assert_eq!(db.schema(), before);
    assert_eq!(db.applied(), ["1.0.0", "1.1.0"]);
    db.down(&["1.1.0"]).unwrap();
}

#[test]
fn a_declared_irreversible_migration_ignores_its_down_file() {
    let db = Fixture::new();
    let mut bundle = Bundle::new(&[("1.0.0", "CREATE TABLE a (a)", Some("DROP TABLE a"))]);
    bundle.migration(0).irreversible = true;
    db.up(&bundle).unwrap();
    assert!(matches!(db.down(&["1.0.0"]), Err(MigrationError::Irreversible { .. })));
}

#[test]
fn missing_and_unreadable_files_are_named_before_anything_runs() {
    let db = Fixture::new();
    let second = ("1.1.0", "CREATE TABLE x (a)", None);
    let mut missing = Bundle::new(&[FIRST, second]);
    missing.files.remove("migrations/1.1.0.sql");
    let mut no_down = Bundle::new(&[FIRST, second]);
    no_down.migration(1).down = Some("migrations/back.sql".to_owned());
    for (bundle, file) in [(missing, "migrations/1.1.0.sql"), (no_down, "migrations/back.sql")] {
        let error = db.up(&bundle).unwrap_err();
        assert!(matches!(&error, MigrationError::MissingFile { file: named, .. } if named == file), "{error}");
    }
    for content in [Bytes::from_static(b"\xff\xfe"), Bytes::from(vec![b' '; (1 << 20) + 1])] {
        let mut bad = Bundle::new(&[FIRST, second]);
        bad.files.insert("migrations/1.1.0.sql".to_owned(), content);
        assert!(matches!(db.up(&bad), Err(MigrationError::BadFile { .. })));
    }
    assert!(!db.databases.exists(MODULE));
}

#[test]
fn an_endless_migration_ends_at_its_time_and_leaves_nothing() {
    let db = Fixture::new();
    db.up(&Bundle::new(&[FIRST])).unwrap();
    let endless = "CREATE TABLE x (a);
        INSERT INTO x WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n FROM c) SELECT n FROM c";
    let bundle = Bundle::new(&[FIRST, ("1.1.0", endless, None)]);
    let short = db.migrations.clone().within(Duration::from_millis(200));
    let error = short.up(MODULE, &bundle.manifest, &bundle.files).unwrap_err();
    assert!(matches!(error, MigrationError::Statement { late: true, line: 2, .. }), "{error}");
    assert_eq!(db.tables(), "notes");
}
