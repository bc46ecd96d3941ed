//! With real files. Manifests are made by hand: their text is the manifest folder's business.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use replug_scripts::Value;
use semver::Version;
use tempfile::TempDir;

use super::super::database::{DatabaseError, Databases};
use super::{MigrationError, Migrations};
use crate::manifest::{Database as Declared, Manifest, Migration};
use crate::sandbox::ports::{Database, Statement};

mod additive;
mod refusals;
mod runs;

pub(super) const MODULE: &str = "notes";

/// A bundle: its manifest and files.
#[derive(Clone)]
pub(super) struct Bundle {
    pub(super) manifest: Manifest,
    pub(super) files: BTreeMap<String, Bytes>,
}

impl Bundle {
    /// A migration for each `(version, up, down)`; without a down text there is no down file.
    pub(super) fn new(steps: &[(&str, &str, Option<&str>)]) -> Self {
        let mut files = BTreeMap::new();
        let mut migrations = Vec::new();
        for (version, up, down) in steps {
            let file = format!("migrations/{version}.sql");
            files.insert(file.clone(), Bytes::copy_from_slice(up.as_bytes()));
            if let Some(down) = down {
                files.insert(format!("migrations/{version}.down.sql"), Bytes::copy_from_slice(down.as_bytes()));
            }
            migrations.push(Migration { version: version.parse().unwrap(), file, down: None, irreversible: false });
        }
        let mut manifest = manifest();
        manifest.database = Some(Declared { migrations });
        Self { manifest, files }
    }

    pub(super) fn migration(&mut self, index: usize) -> &mut Migration {
        &mut self.manifest.database.as_mut().unwrap().migrations[index]
    }
}

pub(super) struct Fixture {
    pub(super) databases: Databases,
    pub(super) migrations: Migrations,
    pub(super) dir: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let databases = Databases::open(dir.path().to_owned()).unwrap();
        Self { migrations: Migrations::new(databases.clone()), databases, dir }
    }

    pub(super) fn up(&self, bundle: &Bundle) -> Result<Vec<String>, MigrationError> {
        self.migrations.up(MODULE, &bundle.manifest, &bundle.files).map(texts)
    }

    pub(super) fn pending(&self, bundle: &Bundle) -> Result<Vec<String>, MigrationError> {
        self.migrations.pending(MODULE, &bundle.manifest, &bundle.files).map(texts)
    }

    pub(super) fn down(&self, versions: &[&str]) -> Result<(), MigrationError> {
        let versions: Vec<Version> = versions.iter().map(|version| version.parse().unwrap()).collect();
        self.migrations.down(MODULE, &versions)
    }

    pub(super) fn applied(&self) -> Vec<String> {
        texts(self.migrations.applied(MODULE).unwrap())
    }

    /// As a script would.
    pub(super) fn run(&self, sql: &str) -> Value {
        let statement = Statement { sql: sql.to_owned(), params: Vec::new() };
        let deadline = Instant::now() + Duration::from_secs(20);
        self.databases.run(MODULE, None, &[statement], deadline).expect(sql).remove(0)
    }

    /// What is in the schema, its text included.
    pub(super) fn schema(&self) -> Value {
        self.run("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")
    }

    /// The names of the module's tables, by commas.
    pub(super) fn tables(&self) -> String {
        let names = self.run(
            r"SELECT group_concat(name, ',' ORDER BY name) AS names FROM sqlite_schema
              WHERE type = 'table' AND name NOT LIKE '\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'",
        );
        let Value::List(rows) = names else { panic!("no rows") };
        rows[0].get("names").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

pub(super) fn texts(versions: Vec<Version>) -> Vec<String> {
    versions.into_iter().map(|version| version.to_string()).collect()
}

fn manifest() -> Manifest {
    let text = format!("id: {MODULE}\nversion: 1.0.0\n");
    crate::manifest::load(crate::manifest::FILE_NAME, text.as_bytes()).unwrap().manifest
}
