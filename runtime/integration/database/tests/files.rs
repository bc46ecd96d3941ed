//! The files themselves.

use super::*;
use crate::manifest::Access;
use crate::sandbox::ports::Guest;

#[test]
fn a_module_without_a_file_is_told_to_declare_one() {
    let db = Fixture::new();
    let error = db.databases.run("other", None, &[statement("SELECT 1", &[])], soon()).unwrap_err();
    is(HostErrorKind::NotFound, &error, "declare `database`");
    assert!(!db.databases.exists("other"));
    assert_eq!(db.databases.size("other"), 0);
    assert!(matches!(db.databases.verify("other"), Err(DatabaseError::NotFound { .. })));
    db.databases.drop_file("other").unwrap();
}

#[test]
fn names_that_are_no_ids_touch_no_file() {
    let db = Fixture::new();
    for name in
        ["", "..", "../notes", "a/b", "a\0", "A", "notes.", ".notes", "file:notes?mode=memory", &"a".repeat(129)]
    {
        assert!(matches!(db.databases.create(name), Err(DatabaseError::Module { .. })), "{name}");
        let error = db.databases.run(name, None, &[], soon()).unwrap_err();
        assert_eq!(error.kind, HostErrorKind::Failed, "{name}");
    }
    db.databases.create("a.b-c.d1").unwrap();
}

#[test]
fn creating_twice_keeps_the_data() {
    let db = Fixture::new();
    db.one("INSERT INTO t (n) VALUES (1)", &[]).unwrap();
    db.databases.create(MODULE).unwrap();
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(1));
    assert!(db.databases.size(MODULE) > 0);
}

#[test]
fn modules_do_not_see_each_other() {
    let db = Fixture::new();
    db.databases.create("other").unwrap();
    let error = db.databases.run("other", None, &[statement("SELECT * FROM t", &[])], soon()).unwrap_err();
    is(HostErrorKind::InvalidArgument, &error, "no such table: t");
}

#[test]
fn data_outlives_closing_and_another_opening() {
    let db = Fixture::new();
    db.one("INSERT INTO t (n) VALUES (1)", &[]).unwrap();
    db.databases.close(MODULE);
    assert_eq!(db.value("SELECT n FROM t", &[]), Value::Int(1));
    let Fixture { databases, dir } = db;
    drop(databases);
    let again = Fixture { databases: Databases::open(dir.path().join("databases")).unwrap(), dir };
    assert_eq!(again.value("SELECT n FROM t", &[]), Value::Int(1));
}

#[test]
fn a_dropped_file_is_gone_with_all_beside_it_and_can_be_made_again() {
    let db = Fixture::new();
    db.one("INSERT INTO t (n) VALUES (1)", &[]).unwrap();
    db.databases.drop_file(MODULE).unwrap();
    assert_eq!(std::fs::read_dir(db.dir.path().join("databases")).unwrap().count(), 0);
    is(HostErrorKind::NotFound, &db.refused("SELECT 1", &[]), "no database");
    db.databases.create(MODULE).unwrap();
    is(HostErrorKind::InvalidArgument, &db.refused("SELECT * FROM t", &[]), "no such table");
}

#[test]
fn a_file_that_is_no_database_fails_without_naming_its_path() {
    let db = Fixture::new();
    let path = db.dir.path().join("databases/broken.sqlite");
    std::fs::write(&path, "x".repeat(5000)).unwrap();
    let error = db.databases.run("broken", None, &[statement("SELECT 1 FROM t", &[])], soon()).unwrap_err();
    is(HostErrorKind::Failed, &error, "no SQLite database");
    let error = db.databases.verify("broken").unwrap_err();
    assert!(error.to_string().contains("no SQLite database"), "{error}");
    db.databases.create("broken").unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap().len(), 5000);
}

#[test]
fn a_corrupt_page_fails_and_names_no_path() {
    let db = Fixture::new();
    db.one("INSERT INTO t (text) VALUES (zeroblob(100000))", &[]).unwrap();
    db.databases.close(MODULE);
    let path = db.dir.path().join("databases/notes.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    is(HostErrorKind::Failed, &db.refused("SELECT * FROM t", &[]), "corrupt");
    db.databases.verify(MODULE).unwrap_err();
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let db = Fixture::new();
    db.one("INSERT INTO t (n) VALUES (1)", &[]).unwrap();
    for file in std::fs::read_dir(db.dir.path().join("databases")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn access_to_read_reads_and_changes_nothing() {
    let db = Fixture::new();
    db.one("INSERT INTO t (n) VALUES (1)", &[]).unwrap();
    let reads = Some(Guest { module: "reader", access: Access::Read });
    let read = |sql: &[&str]| {
        let statements: Vec<_> = sql.iter().map(|sql| statement(sql, &[])).collect();
        db.databases.run(MODULE, reads, &statements, soon())
    };
    let one = Value::List(vec![Value::map([("n", Value::Int(1))])]);
    assert_eq!(read(&["SELECT n FROM t"]), Ok(vec![one]));
    for sql in ["INSERT INTO t (n) VALUES (2)", "UPDATE t SET n = 3 RETURNING n", "DELETE FROM t"] {
        for statements in [&[sql][..], &["SELECT n FROM t", sql]] {
            let error = read(statements).unwrap_err();
            assert_eq!(error.kind, HostErrorKind::PermissionDenied);
            let place = if statements.len() > 1 { "statement 2 of 2: " } else { "" };
            let why = "permission denied: the statement changes data, and this access is only to read";
            assert_eq!(error.message, format!("{place}{why}"));
        }
        assert_eq!(db.value("SELECT group_concat(n) FROM t", &[]), Value::from("1"), "{sql}");
    }
    let writes = Some(Guest { module: "reader", access: Access::Write });
    db.databases.run(MODULE, writes, &[statement("UPDATE t SET n = 3", &[])], soon()).unwrap();
    assert_eq!(db.value("SELECT group_concat(n) FROM t", &[]), Value::from("3"));
}
