//! With real files. Each test has a directory of its own.

use std::time::{Duration, Instant};

use replug_scripts::{HostError, HostErrorKind, Value};
use tempfile::TempDir;

use super::{DatabaseError, Databases};
use crate::sandbox::ports::{Database, Statement};

mod bounds;
mod files;
mod hostile;
mod together;
mod values;

pub(super) const MODULE: &str = "notes";

/// The database of one module, with the table `t (id INTEGER PRIMARY KEY, n UNIQUE, text)`.
pub(super) struct Fixture {
    pub(super) databases: Databases,
    pub(super) dir: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let databases = Databases::open(dir.path().join("databases")).unwrap();
        databases.create(MODULE).unwrap();
        let fixture = Self { databases, dir };
        fixture.schema("CREATE TABLE t (id INTEGER PRIMARY KEY, n UNIQUE, text)");
        fixture
    }

    /// Runs `sql` under the rules of migrations.
    pub(super) fn schema(&self, sql: &str) {
        let done: Result<(), DatabaseError> = self.databases.change(MODULE, soon(), |change| {
            change.script(sql, |_| Ok(())).unwrap();
            Ok(())
        });
        done.unwrap();
    }

    pub(super) fn all(&self, statements: &[(&str, &[Value])]) -> Result<Vec<Value>, HostError> {
        let statements: Vec<Statement> = statements.iter().map(|(sql, params)| statement(sql, params)).collect();
        self.databases.run(MODULE, None, &statements, soon())
    }

    pub(super) fn one(&self, sql: &str, params: &[Value]) -> Result<Value, HostError> {
        self.all(&[(sql, params)]).map(|mut results| results.remove(0))
    }

    /// The error of one statement.
    pub(super) fn refused(&self, sql: &str, params: &[Value]) -> HostError {
        self.one(sql, params).expect_err(sql)
    }

    /// The only value of the only row.
    pub(super) fn value(&self, sql: &str, params: &[Value]) -> Value {
        let Value::List(rows) = self.one(sql, params).expect(sql) else { panic!("{sql} gives no rows") };
        let [Value::Map(row)] = rows.as_slice() else { panic!("{sql} gives {} rows", rows.len()) };
        assert_eq!(row.len(), 1, "{sql}");
        row.values().next().unwrap().clone()
    }
}

pub(super) fn statement(sql: &str, params: &[Value]) -> Statement {
    Statement { sql: sql.to_owned(), params: params.to_vec() }
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(super) fn is(kind: HostErrorKind, error: &HostError, part: &str) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(part), "`{error}` does not say `{part}`");
    assert!(!error.message.contains(".sqlite"), "`{error}` names a path");
}
