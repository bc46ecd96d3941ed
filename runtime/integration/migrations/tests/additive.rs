//! What an older version of the module uses must stay.

use super::*;

const FIRST: (&str, &str, Option<&str>) = (
    "1.0.0",
    "CREATE TABLE Notes (id INTEGER PRIMARY KEY, Text, old);
     CREATE VIRTUAL TABLE found USING fts5(body);
     INSERT INTO notes (text) VALUES ('kept');",
    Some("DROP TABLE notes; DROP TABLE found"),
);

/// Each takes something away from the tables of the first migration.
const DESTRUCTIVE: &[&str] = &[
    "DROP TABLE notes",
    "DROP TABLE IF EXISTS NOTES",
    "DROP TABLE found",
    "ALTER TABLE notes RENAME TO others",
    "ALTER TABLE notes RENAME COLUMN text TO body",
    "ALTER TABLE notes DROP COLUMN old",
    "ALTER TABLE found RENAME TO lost",
    // Gone in between, though the end looks like the start.
    "DROP TABLE notes; CREATE TABLE notes (id INTEGER PRIMARY KEY, text, old)",
    "ALTER TABLE notes RENAME TO tmp; DROP TABLE tmp; CREATE TABLE notes (id INTEGER PRIMARY KEY, text, old)",
];

const ADDITIVE: &[&str] = &[
    "ALTER TABLE notes ADD COLUMN more DEFAULT 1",
    "CREATE TABLE others (a); INSERT INTO others SELECT text FROM notes",
    "CREATE INDEX i ON notes (text); DROP INDEX i",
    "CREATE VIEW v AS SELECT * FROM notes",
    "UPDATE notes SET text = upper(text); DELETE FROM notes",
    "CREATE TABLE a (x); ALTER TABLE a RENAME TO b; ALTER TABLE b ADD COLUMN y; ALTER TABLE b DROP COLUMN x; DROP TABLE b",
    "INSERT INTO found VALUES ('words'); INSERT INTO found (found) VALUES ('rebuild')",
    "ANALYZE",
    "REINDEX",
    "-- nothing but words",
    "",
];

#[test]
fn what_takes_tables_or_columns_of_earlier_migrations_away_is_refused() {
    for irreversible in [false, true] {
        for sql in DESTRUCTIVE {
            let db = Fixture::new();
            db.up(&Bundle::new(&[FIRST])).unwrap();
            let before = (db.schema(), db.run("SELECT * FROM notes"));
            let mut bundle = Bundle::new(&[FIRST, ("2.0.0", sql, None)]);
            bundle.migration(1).irreversible = irreversible;
            let error = db.up(&bundle).expect_err(sql);
            assert!(error.to_string().contains("2.0.0.sql:1: additive changes only: "), "{sql}: {error}");
            assert!(error.to_string().contains("migration 1.0.0's"), "{sql}: {error}");
            assert_eq!((db.schema(), db.run("SELECT * FROM notes")), before, "{sql}");
            db.databases.verify(MODULE).unwrap();
        }
    }
}

#[test]
fn what_adds_is_applied() {
    for sql in ADDITIVE {
        let db = Fixture::new();
        let bundle = Bundle::new(&[FIRST, ("2.0.0", sql, None)]);
        assert_eq!(db.up(&bundle).expect(sql), ["1.0.0", "2.0.0"]);
        db.databases.verify(MODULE).expect(sql);
    }
}

#[test]
fn a_way_back_may_drop_its_own_tables_but_not_those_that_stay() {
    let db = Fixture::new();
    let greedy = ("2.0.0", "CREATE TABLE more (a)", Some("DROP TABLE more; DROP TABLE notes"));
    db.up(&Bundle::new(&[FIRST, greedy])).unwrap();
    let before = db.schema();
    let error = db.down(&["2.0.0"]).unwrap_err();
    assert!(error.to_string().contains("table `notes` is gone, but migration 1.0.0 made it"), "{error}");
    assert_eq!(db.schema(), before);
    // With the maker of both it is another matter, each step for itself: still refused.
    db.down(&["2.0.0", "1.0.0"]).unwrap_err();
    assert_eq!(db.schema(), before);
}
