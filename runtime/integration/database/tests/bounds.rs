//! What takes too long or grows too large.

use super::*;

const ENDLESS: &str = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";

fn in_a_moment() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

#[test]
fn an_endless_query_ends_at_its_deadline() {
    let db = Fixture::new();
    let begun = Instant::now();
    let error = db.databases.run(MODULE, None, &[statement(ENDLESS, &[])], in_a_moment()).unwrap_err();
    is(HostErrorKind::Timeout, &error, "deadline");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(db.value("SELECT 1", &[]), Value::Int(1));
}

#[test]
fn a_change_that_meets_its_deadline_is_undone() {
    let db = Fixture::new();
    let endless = ENDLESS.replace("SELECT count(*)", "INSERT INTO t (n) SELECT x");
    let statements = [statement("INSERT INTO t (n) VALUES (-1)", &[]), statement(&endless, &[])];
    let error = db.databases.run(MODULE, None, &statements, in_a_moment()).unwrap_err();
    is(HostErrorKind::Timeout, &error, "statement 2 of 2: ");
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
}

#[test]
fn a_deadline_that_passed_before_runs_nothing() {
    let db = Fixture::new();
    let insert = [statement("INSERT INTO t (n) VALUES (1)", &[])];
    let error = db.databases.run(MODULE, None, &insert, Instant::now()).unwrap_err();
    is(HostErrorKind::Timeout, &error, "deadline");
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
}

/// Without the bound on values each of these takes minutes to days and hears no deadline.
#[test]
fn what_cannot_be_interrupted_takes_small_values_only() {
    let db = Fixture::new();
    let (long, needle) = ("a".repeat(8 << 20), format!("{}b", "a".repeat(4 << 20)));
    for (sql, bound) in [
        ("SELECT instr(?, ?)", "256 KiB"),
        ("SELECT replace(?, ?, 'x')", "256 KiB"),
        ("SELECT trim(?, ?)", "16 KiB"),
        ("SELECT unhex(?, ?)", "16 KiB"),
        ("SELECT json_patch(?, ?)", "64 KiB"),
        ("SELECT ? LIKE ?", "2048 KiB"),
        ("SELECT length(substr(?, 1) || ?) FROM (SELECT instr('a', 'b'))", "256 KiB"),
    ] {
        is(HostErrorKind::InvalidArgument, &db.refused(sql, &[long.clone().into(), needle.clone().into()]), bound);
    }
    let made = "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || 'b')";
    is(HostErrorKind::InvalidArgument, &db.refused(made, &[]), "256 KiB");
    let one = "length(hex(zeroblob(8000000)))";
    let many = format!("SELECT {one}{}", format!(", {one}").repeat(400));
    is(HostErrorKind::InvalidArgument, &db.refused(&many, &[]), "in this statement");
    let joined = format!(", length(a{})", " || ''".repeat(100)).repeat(90);
    let joined = format!("SELECT length(a){joined} FROM (SELECT ? AS a)");
    is(HostErrorKind::InvalidArgument, &db.refused(&joined, &[long.clone().into()]), "in this statement");

    assert_eq!(db.value("SELECT instr(?, 'c')", &["abc".into()]), Value::Int(3));
    // The bound is gone with the statement.
    assert_eq!(db.value("SELECT length(?)", &[long.into()]), Value::Int(8 << 20));
}

#[test]
fn a_kept_statement_keeps_its_bound_and_space_around_it_changes_nothing() {
    let db = Fixture::new();
    for sql in ["SELECT trim(?)", "SELECT trim(?) ", "\u{2003}SELECT trim(?)", "SELECT trim(?);"] {
        for _ in 0..3 {
            if !sql.starts_with('\u{2003}') {
                assert_eq!(db.value(sql, &[" a ".into()]), Value::from("a"));
            }
            db.refused(sql, &["a".repeat(20_000).into()]);
        }
    }
    // More statements than are kept.
    for n in 0..200 {
        assert_eq!(db.value(&format!("SELECT {n}"), &[]), Value::Int(n));
        if n % 50 == 0 {
            is(HostErrorKind::InvalidArgument, &db.refused("SELECT trim(?)", &["a".repeat(20_000).into()]), "16 KiB");
        }
    }
}

#[test]
fn functions_behind_a_view_are_seen_too() {
    let db = Fixture::new();
    db.schema("CREATE VIEW v AS SELECT instr(text, 'b') AS at, length(text) AS n FROM t");
    db.one("INSERT INTO t (text) VALUES (?)", &["a".repeat(1 << 20).into()]).unwrap();
    is(HostErrorKind::InvalidArgument, &db.refused("SELECT at FROM v", &[]), "256 KiB");
}

#[test]
fn rows_and_bytes_of_a_result_are_bounded_and_what_is_over_changes_nothing() {
    let db = Fixture::new();
    let rows = |n| format!("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {n}) SELECT x FROM c");
    let Value::List(found) = db.one(&rows(10_000), &[]).unwrap() else { panic!("no rows") };
    assert_eq!(found.len(), 10_000);
    is(HostErrorKind::InvalidArgument, &db.refused(&rows(10_001), &[]), "more than 10000 rows");
    let mebibytes =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 17) SELECT zeroblob(1000000) FROM c";
    is(HostErrorKind::InvalidArgument, &db.refused(mebibytes, &[]), "more than 16 MiB");
    let kept = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10001)
        INSERT INTO t (n) SELECT x FROM c RETURNING n";
    is(HostErrorKind::InvalidArgument, &db.refused(kept, &[]), "more than 10000 rows");
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
}

#[test]
fn the_bytes_of_all_results_count_together() {
    let db = Fixture::new();
    let part = ("SELECT zeroblob(9000000)", &[] as &[Value]);
    is(HostErrorKind::InvalidArgument, &db.all(&[part, part]).unwrap_err(), "statement 2 of 2: the result has more");
}

#[test]
fn sizes_and_shapes_of_statements_are_bounded() {
    let db = Fixture::new();
    let nested = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let chain = format!("SELECT 1{}", " + 1".repeat(10_000));
    let unions = format!("SELECT 1{}", " UNION SELECT 1".repeat(1_000));
    let columns = format!("SELECT 1{}", ", 1".repeat(1_000));
    let long = format!("SELECT '{}'", "a".repeat(1 << 20));
    for sql in [nested, chain, unions, columns, long, "SELECT ?5000".to_owned()] {
        let error = db.refused(&sql, &[]);
        assert_eq!(error.kind, HostErrorKind::InvalidArgument, "{error}");
        assert!(error.message.len() < 300, "{error}");
    }
    is(HostErrorKind::InvalidArgument, &db.refused("SELECT length(zeroblob(17000000))", &[]), "16 MiB");
    is(HostErrorKind::InvalidArgument, &db.refused("SELECT ?", &["a".repeat(17_000_000).into()]), "16 MiB");
    let statements = vec![("SELECT 1", &[] as &[Value]); 1001];
    is(HostErrorKind::InvalidArgument, &db.all(&statements).unwrap_err(), "1001 statements");
    let pattern = format!("SELECT 'a' LIKE '{}'", "%a".repeat(1000));
    is(HostErrorKind::InvalidArgument, &db.refused(&pattern, &[]), "pattern too complex");
}

#[test]
fn a_long_run_of_statements_or_semicolons_is_refused_at_once() {
    let db = Fixture::new();
    let begun = Instant::now();
    is(HostErrorKind::InvalidArgument, &db.refused(&";".repeat(1 << 20), &[]), "no statement");
    is(HostErrorKind::InvalidArgument, &db.refused(&"select 1;".repeat(100_000), &[]), "statements");
    let semicolons = format!("select 1{}", ";".repeat(1_000_000));
    db.one(&semicolons, &[]).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_full_database_is_overloaded_and_stays_whole() {
    let db = Fixture::new();
    // The bound holds for every connection; one of a few pages takes less time to reach.
    let pool = db.databases.pool(MODULE).unwrap();
    pool.take(soon()).unwrap().session().execute_batch("PRAGMA max_page_count = 20").unwrap();
    is(HostErrorKind::Overloaded, &db.refused("INSERT INTO t (text) VALUES (zeroblob(200000))", &[]), "full");
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
}

#[test]
fn each_transaction_keeps_to_its_own_room_whatever_those_beside_it_may_take() {
    let db = Fixture::new();
    let large = [statement("INSERT INTO t (text) VALUES (?)", &[Value::from("x".repeat(300_000))])];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    db.databases.run_within(64 << 20, MODULE, None, &large, soon()).unwrap();
                }
            });
            scope.spawn(|| {
                for _ in 0..5 {
                    let error = db.databases.run_within(256 << 10, MODULE, None, &large, soon()).unwrap_err();
                    assert!(error.message.ends_with(crate::sandbox::ports::DATABASE_FULL), "{error}");
                }
            });
        }
    });
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(20));
}
