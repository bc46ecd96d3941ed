//! SQL that must not run.

use super::*;

/// Each is refused with a message that has this part.
const REFUSED: &[(&str, &str)] = &[
    // schema
    ("CREATE TABLE x (a)", "belong in migrations"),
    ("CREATE TABLE IF NOT EXISTS t (a)", "belong in migrations"),
    ("CREATE TEMP TABLE x (a)", "belong in migrations"),
    ("CREATE TABLE x AS SELECT * FROM t", "belong in migrations"),
    ("CREATE INDEX i ON t (text)", "belong in migrations"),
    ("CREATE VIEW v AS SELECT 1", "belong in migrations"),
    ("CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END", "belong in migrations"),
    ("CREATE VIRTUAL TABLE v USING fts5(a)", "belong in migrations"),
    ("DROP TABLE t", "belong in migrations"),
    ("EXPLAIN DROP TABLE t", "belong in migrations"),
    ("ALTER TABLE t ADD COLUMN b", "belong in migrations"),
    ("ALTER TABLE t RENAME TO u", "belong in migrations"),
    ("REINDEX t", "belong in migrations"),
    ("ANALYZE t", "belong in migrations"),
    ("UPDATE sqlite_schema SET sql = ''", "sqlite_master"),
    ("DELETE FROM sqlite_master", "sqlite_master"),
    ("INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 2, '')", "sqlite_master"),
    // other files
    ("ATTACH 'other.sqlite' AS other", "one database"),
    ("ATTACH ':memory:' AS other", "one database"),
    ("DETACH main", "one database"),
    ("VACUUM", "VACUUM"),
    ("VACUUM INTO 'stolen.sqlite'", "VACUUM"),
    ("SELECT load_extension('./evil.so')", "load_extension"),
    ("SELECT fts3_tokenizer('simple', x'00')", "fts3_tokenizer"),
    ("SELECT readfile('/etc/passwd')", "no such function"),
    ("SELECT * FROM fsdir('.')", "no such table"),
    // pragmas
    ("PRAGMA writable_schema = ON", "PRAGMA writable_schema is refused"),
    ("PRAGMA journal_mode = OFF", "PRAGMA journal_mode is refused"),
    ("PRAGMA synchronous = OFF", "PRAGMA synchronous is refused"),
    ("PRAGMA trusted_schema = ON", "is refused"),
    ("PRAGMA max_page_count = 999999999", "is refused"),
    ("PRAGMA page_size = 512", "is refused"),
    ("PRAGMA temp_store_directory = '/'", "is refused"),
    ("PRAGMA database_list", "is refused"),
    ("SELECT * FROM pragma_database_list", "is refused"),
    ("SELECT * FROM pragma_table_info('t')", "is refused"),
    // transactions
    ("BEGIN", "transactions are the runtime's"),
    ("COMMIT", "transactions are the runtime's"),
    ("ROLLBACK", "transactions are the runtime's"),
    ("END", "transactions are the runtime's"),
    ("SAVEPOINT a", "transactions are the runtime's"),
    ("RELEASE a", "transactions are the runtime's"),
    ("ROLLBACK TO a", "transactions are the runtime's"),
    // the runtime's table
    ("SELECT * FROM _replug_migrations", "_replug"),
    ("SELECT count(*) FROM _REPLUG_migrations", "_replug"),
    ("SELECT * FROM (SELECT 1) WHERE EXISTS (SELECT 1 FROM \"_replug_migrations\")", "_replug"),
    ("WITH x AS (SELECT * FROM main._replug_migrations) SELECT * FROM x", "_replug"),
    ("DELETE FROM _replug_migrations", "_replug"),
    ("UPDATE _replug_migrations SET checksum = ''", "_replug"),
    ("INSERT INTO _replug_migrations VALUES ('9.9.9', '', 0, NULL, '[]')", "_replug"),
    ("INSERT INTO t (text) SELECT down_sql FROM [_replug_migrations]", "_replug"),
    ("SELECT * FROM hidden", "_replug"),
    ("INSERT INTO trapped VALUES (1)", "_replug"),
    ("SELECT data FROM dbstat", "dbstat"),
    // several, none, and half
    ("SELECT 1; SELECT 2", "2 statements"),
    ("SELECT 1; DROP TABLE t", "2 statements"),
    ("INSERT INTO t (n) VALUES (2);;; DELETE FROM t --", "2 statements"),
    ("", "no statement"),
    (" ; -- nothing", "no statement"),
    ("SELEC 1", "near \"SELEC\": syntax error"),
    ("SELECT 'open", "unrecognized token"),
    ("SELECT missing FROM t", "no such column: missing"),
    ("SELECT \"no string\" FROM t", "no such column"),
    ("SELECT * FROM nowhere", "no such table: nowhere"),
    ("SELECT 1\0; DROP TABLE t", "NUL"),
    ("SELECT $a('), 1; DELETE FROM t; --'", "`?`"),
    ("SELECT :a, @b", "`?`"),
];

#[test]
fn hostile_sql_is_refused_and_changes_nothing() {
    let db = Fixture::new();
    db.schema(
        "CREATE VIEW hidden AS SELECT * FROM _replug_migrations;
         CREATE TABLE trapped (a);
         CREATE TRIGGER trap AFTER INSERT ON trapped BEGIN DELETE FROM _replug_migrations; END;",
    );
    db.one("INSERT INTO t (n, text) VALUES (1, 'kept')", &[]).unwrap();
    let state = || {
        let read = |sql| db.one(sql, &[]).unwrap();
        (read("SELECT * FROM sqlite_schema"), read("SELECT * FROM t"), read("SELECT * FROM trapped"))
    };
    let before = state();
    for (sql, part) in REFUSED {
        is(HostErrorKind::InvalidArgument, &db.refused(sql, &[]), part);
        // Nor beside a good one, in either order.
        let good = ("DELETE FROM t", &[] as &[Value]);
        is(HostErrorKind::InvalidArgument, &db.all(&[good, (sql, &[])]).unwrap_err(), "statement 2 of 2: ");
        is(HostErrorKind::InvalidArgument, &db.all(&[(sql, &[]), good]).unwrap_err(), "statement 1 of 2: ");
        assert_eq!(state(), before, "{sql}");
    }
    let files = std::fs::read_dir(db.dir.path().join("databases")).unwrap().map(|file| file.unwrap().file_name());
    for file in files {
        assert!(file.to_str().unwrap().starts_with("notes.sqlite"), "{file:?}");
    }
    db.databases.verify(MODULE).unwrap();
}

#[test]
fn the_schema_can_be_read() {
    let db = Fixture::new();
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 't'";
    assert_eq!(db.value(tables, &[]), Value::Int(1));
    assert!(matches!(db.one("EXPLAIN QUERY PLAN SELECT * FROM t", &[]), Ok(Value::List(_))));
}

#[test]
fn full_text_search_works_but_not_on_its_hidden_tables() {
    let db = Fixture::new();
    db.schema("CREATE VIRTUAL TABLE found USING fts5(body)");
    db.one("INSERT INTO found VALUES (?)", &["the quick fox".into()]).unwrap();
    assert_eq!(db.value("SELECT count(*) FROM found WHERE found MATCH 'quick'", &[]), Value::Int(1));
    let error = db.refused("DELETE FROM found_data", &[]);
    is(HostErrorKind::InvalidArgument, &error, "may not be modified");
}

#[test]
fn a_statement_that_was_refused_leaves_the_connection_usable() {
    let db = Fixture::new();
    for _ in 0..10 {
        db.refused("PRAGMA user_version", &[]);
        is(HostErrorKind::Conflict, &db.refused("INSERT INTO t (id) VALUES (1), (1)", &[]), "UNIQUE");
        assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
    }
}
