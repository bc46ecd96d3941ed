//! Many threads.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Barrier;

use replug_scripts::{Overseen, Overseer};

use super::super::pool::MAX_CONNECTIONS;
use super::*;
use crate::manifest::Access;
use crate::sandbox::ports::Guest;

#[test]
fn increments_of_many_threads_are_all_there() {
    let db = Fixture::new();
    db.one("INSERT INTO t (id, n) VALUES (1, 0)", &[]).unwrap();
    let threads = 3 * MAX_CONNECTIONS;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..10 {
                    let read_and_write = [("SELECT n FROM t", &[] as &[Value]), ("UPDATE t SET n = n + 1", &[])];
                    db.all(&read_and_write).unwrap();
                }
            });
        }
    });
    assert_eq!(db.value("SELECT n FROM t", &[]), Value::Int(i64::try_from(threads * 10).unwrap()));
}

#[test]
fn the_statements_of_a_transaction_see_one_state() {
    let db = Fixture::new();
    db.one("INSERT INTO t (id, n) VALUES (1, 0)", &[]).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..50 {
                db.one("UPDATE t SET n = n + 1", &[]).unwrap();
            }
        });
        while !writer.is_finished() {
            let read = ("SELECT n FROM t", &[] as &[Value]);
            let twice = db.all(&[read, read]).unwrap();
            assert_eq!(twice[0], twice[1]);
        }
    });
}

#[test]
fn readers_run_beside_a_writer_and_a_writer_waits_for_another() {
    let db = Fixture::new();
    let pool = db.databases.pool(MODULE).unwrap();
    let turn = pool.write(soon()).unwrap();
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
    let insert = [statement("INSERT INTO t (n) VALUES (1)", &[])];
    let moment = Instant::now() + Duration::from_millis(20);
    is(HostErrorKind::Timeout, &db.databases.run(MODULE, None, &insert, moment).unwrap_err(), "another one writes");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| db.databases.run(MODULE, None, &insert, soon()));
        drop(turn);
        waiting.join().unwrap().unwrap();
    });
}

/// Oversees a module that is stopped the third time that somebody asks.
struct Stops(Cell<usize>);

impl Overseer for Stops {
    fn holds(&self, _: usize) {}

    fn may_go_on(&self) -> bool {
        self.0.set(self.0.get() + 1);
        self.0.get() < 3
    }
}

#[test]
fn a_module_that_is_stopped_waits_no_longer_and_runs_no_longer() {
    let db = Fixture::new();
    let stopped = |sql: &str, guest, why| {
        let _overseen = Overseen::by(Rc::new(Stops(Cell::new(0))));
        let statements = [statement("SELECT 1", &[]), statement(sql, &[])];
        is(HostErrorKind::Overloaded, &db.databases.run(MODULE, guest, &statements, soon()).unwrap_err(), why);
    };
    let begun = Instant::now();
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) INSERT INTO t (n) SELECT x FROM c";
    stopped(endless, None, "the module was stopped while its statements ran: nothing changed");
    let pool = db.databases.pool(MODULE).unwrap();
    let turn = pool.write(soon()).unwrap();
    stopped("INSERT INTO t (n) VALUES (1)", None, "who waited was stopped: another one writes");
    drop(turn);
    let lent = pool.lend("guest", soon()).unwrap();
    stopped(
        "SELECT 2",
        Some(Guest { module: "guest", access: Access::Read }),
        "who waited was stopped: the one connection that another module has is in use",
    );
    drop(lent);
    assert!(begun.elapsed() < Duration::from_secs(10), "each has twenty seconds");
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
}

#[test]
fn a_lock_held_from_outside_ends_in_a_timeout() {
    let db = Fixture::new();
    let outside = db.databases.pool(MODULE).unwrap().take(soon()).unwrap();
    outside.session().execute_batch("BEGIN IMMEDIATE").unwrap();
    let insert = [statement("INSERT INTO t (n) VALUES (1)", &[])];
    let moment = Instant::now() + Duration::from_millis(20);
    is(HostErrorKind::Timeout, &db.databases.run(MODULE, None, &insert, moment).unwrap_err(), "locked");
}

#[test]
fn connections_are_bounded_and_waited_for() {
    let db = Fixture::new();
    let pool = db.databases.pool(MODULE).unwrap();
    let mut leases: Vec<_> = (0..MAX_CONNECTIONS).map(|_| pool.take(soon()).unwrap()).collect();
    let moment = Instant::now() + Duration::from_millis(20);
    let error = db.databases.run(MODULE, None, &[statement("SELECT 1", &[])], moment).unwrap_err();
    is(HostErrorKind::Timeout, &error, "all connections are in use");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| db.value("SELECT 1", &[]));
        leases.pop();
        assert_eq!(waiting.join().unwrap(), Value::Int(1));
    });
}

#[test]
fn another_module_has_one_connection_of_its_own_and_takes_none_of_the_owners() {
    let db = Fixture::new();
    let pool = db.databases.pool(MODULE).unwrap();
    let guest = |module| Some(Guest { module, access: Access::Read });
    let (select, moment) = ([statement("SELECT 1", &[])], || Instant::now() + Duration::from_millis(20));
    let lent = pool.lend("reader", soon()).unwrap();
    let own: Vec<_> = (0..MAX_CONNECTIONS).map(|_| pool.take(soon()).unwrap()).collect();
    let error = db.databases.run(MODULE, guest("reader"), &select, moment()).unwrap_err();
    is(HostErrorKind::Timeout, &error, "the one connection that another module has is in use");
    assert!(db.databases.run(MODULE, guest("other"), &select, soon()).is_ok(), "a third module has another one");
    let error = db.databases.run(MODULE, None, &select, moment()).unwrap_err();
    is(HostErrorKind::Timeout, &error, "all connections are in use");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| db.databases.run(MODULE, guest("reader"), &select, soon()));
        drop(lent);
        assert!(waiting.join().unwrap().is_ok());
    });
    drop(own);
    // all are counted back: the file can go, which waits for each of them
    db.databases.drop_file(MODULE).unwrap();
}

#[test]
fn a_connection_left_in_a_transaction_comes_back_clean() {
    let db = Fixture::new();
    let pool = db.databases.pool(MODULE).unwrap();
    let lease = pool.take(soon()).unwrap();
    lease.session().execute_batch("BEGIN IMMEDIATE; INSERT INTO t (n) VALUES (1)").unwrap();
    drop(lease);
    assert_eq!(db.value("SELECT count(*) FROM t", &[]), Value::Int(0));
    db.one("INSERT INTO t (n) VALUES (1)", &[]).unwrap();
}

#[test]
fn closing_and_dropping_wait_for_what_runs() {
    let db = Fixture::new();
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let lease = db.databases.pool(MODULE).unwrap().take(soon()).unwrap();
            barrier.wait();
            // Both while `close` and `drop_file` go on outside.
            for n in 0..200 {
                lease.session().execute("INSERT INTO t (n) VALUES (?)", [n]).unwrap();
            }
        });
        barrier.wait();
        db.databases.close(MODULE);
        db.databases.drop_file(MODULE).unwrap();
        running.join().unwrap();
    });
    assert!(!db.databases.exists(MODULE));
}

/// Files that follow each other under one name share the name of their log: if two were open at once, the second would cut the
/// shared memory from under the first.
#[test]
fn creating_using_closing_and_dropping_at_once_ends_in_either_state() {
    let db = Fixture::new();
    let insert = [statement("INSERT INTO t (n) VALUES (1)", &[])];
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (databases, insert) = (&db.databases, &insert);
            scope.spawn(move || {
                for round in 0..100 {
                    // Each may find the file gone or going; none may break what it finds.
                    let result = match (thread + round) % 3 {
                        0 => databases.create("racer").map_err(HostError::from),
                        1 => databases.drop_file("racer").map_err(HostError::from),
                        _ => databases.run("racer", None, insert, soon()).map(drop),
                    };
                    databases.close("racer");
                    if let Err(error) = result {
                        assert_ne!(error.kind, HostErrorKind::Failed, "{error}");
                    }
                }
            });
        }
    });
    db.databases.create("racer").unwrap();
    db.databases.verify("racer").unwrap();
    db.databases.drop_file("racer").unwrap();
    assert!(!db.databases.exists("racer"));
}
