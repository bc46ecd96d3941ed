use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[test]
fn rows_are_maps_and_changes_are_counted() {
    let db = Fixture::new();
    let insert = "INSERT INTO t (n, text) VALUES (?, ?)";
    let done = db.one(insert, &[1.into(), "one".into()]).unwrap();
    assert_eq!(done, Value::map([("changes", Value::Int(1)), ("last_insert_id", Value::Int(1))]));
    let rows = db.one("SELECT n, text FROM t", &[]).unwrap();
    assert_eq!(rows, Value::List(vec![Value::map([("n", Value::Int(1)), ("text", "one".into())])]));
    let rows = db.one("DELETE FROM t RETURNING id", &[]).unwrap();
    assert_eq!(rows, Value::List(vec![Value::map([("id", Value::Int(1))])]));
}

#[test]
fn the_id_of_another_callers_row_is_not_told() {
    let db = Fixture::new();
    db.one("INSERT INTO t (id, n) VALUES (77, 1)", &[]).unwrap();
    let done = db.one("UPDATE t SET text = 'x'", &[]).unwrap();
    assert_eq!(done, Value::map([("changes", Value::Int(1)), ("last_insert_id", Value::Int(0))]));
}

#[test]
fn the_last_of_two_columns_with_one_name_wins() {
    assert_eq!(Fixture::new().value("SELECT 1 AS a, 2 AS a", &[]), Value::Int(2));
}

#[test]
fn truth_is_a_number_and_what_is_no_single_value_is_refused() {
    let db = Fixture::new();
    assert_eq!(db.value("SELECT ?", &[true.into()]), Value::Int(1));
    for (value, part) in [
        (Value::List(vec![]), "json.encode"),
        (Value::map([("a", Value::Null)]), "json.encode"),
        (Value::Float(f64::NAN), "not a number"),
    ] {
        is(HostErrorKind::InvalidArgument, &db.refused("SELECT ?", &[value]), part);
    }
}

#[test]
fn text_that_is_not_utf8_arrives_as_bytes() {
    let value = Fixture::new().value("SELECT CAST(x'61ff' AS TEXT)", &[]);
    assert_eq!(value, Value::Bytes(Bytes::from_static(b"a\xff")));
}

#[test]
fn the_number_of_parameters_must_fit() {
    let db = Fixture::new();
    is(HostErrorKind::InvalidArgument, &db.refused("SELECT ?", &[]), "has 1 parameters, but 0 values");
    is(HostErrorKind::InvalidArgument, &db.refused("SELECT 1", &[Value::Null]), "has 0 parameters, but 1 values");
}

#[test]
fn what_a_constraint_forbids_is_a_conflict_and_undoes_all_statements() {
    let db = Fixture::new();
    let insert = "INSERT INTO t (n) VALUES (1)";
    let error = db.all(&[(insert, &[]), ("SELECT 1", &[]), (insert, &[])]).unwrap_err();
    is(HostErrorKind::Conflict, &error, "statement 3 of 3: UNIQUE constraint failed: t.n");
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
}

#[test]
fn foreign_keys_hold() {
    let db = Fixture::new();
    db.schema("CREATE TABLE child (t REFERENCES t, later REFERENCES t DEFERRABLE INITIALLY DEFERRED)");
    is(HostErrorKind::Conflict, &db.refused("INSERT INTO child (t) VALUES (5)", &[]), "FOREIGN KEY");
    is(HostErrorKind::Conflict, &db.refused("INSERT INTO child (later) VALUES (5)", &[]), "FOREIGN KEY");
    assert_eq!(db.value("SELECT count(*) FROM child", &[]), Value::Int(0));
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("no database holds NaN", |x| !x.is_nan()).prop_map(Value::Float),
        any::<String>().prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
}

#[test]
fn every_value_comes_back_as_it_was() {
    let db = Fixture::new();
    proptest!(ProptestConfig::with_cases(64), |(value in values())| {
        db.one("INSERT OR REPLACE INTO t (id, text) VALUES (1, ?)", std::slice::from_ref(&value)).unwrap();
        prop_assert_eq!(db.value("SELECT text FROM t", &[]), value);
    });
}
