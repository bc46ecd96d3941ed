//! The steps of a module's schema, up and down.
//!
//! Each migration is one transaction together with its record in the module's own file, so it is applied wholly or not at
//! all, whatever happens to the process. The record keeps the checksum (a migration that was applied never changes), the tables
//! that it made, and the SQL that takes it back: going back needs no file of the newer bundle.
//!
//! **Additive changes only.** While traffic shifts, the old version works on the new schema, and after a rollback it does so
//! again. So after each statement that changes the schema, every table that an *earlier* migration made must still be there with
//! all its columns; a statement that drops or renames one is refused and the whole migration undone, `irreversible` or not. Rows may
//! be changed and deleted, and a migration may do as it likes with tables of its own making. Indexes, views and triggers may go.
//! Types, constraints and what triggers do are not judged. On the way back only tables of migrations that stay must remain.
//!
//! A migration may change schema and rows; it may not use `ATTACH`, `PRAGMA`, transactions, temporary or unknown virtual
//! tables (`fts5` and `rtree` are known), or anything whose name begins with `_replug`.
//!
//! A migration whose version lies below one that is applied still runs: after a rollback that kept the newer schema, a fix of
//! the older version brings its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use semver::Version;

use super::database::{Applied, Change, Databases, MAX_SCRIPT, ScriptFault};
use crate::manifest::{Manifest, Migration};

use additive::Baseline;

mod additive;
mod error;

#[cfg(test)]
mod tests;

pub use error::MigrationError;

/// How long one call may take unless [`Migrations::within`] says otherwise.
const TIME: Duration = Duration::from_secs(60);

/// Runs migrations. All methods block; two runs for one module wait for each other.
#[derive(Clone)]
pub struct Migrations {
    databases: Databases,
    time: Duration,
    given_up: Arc<AtomicBool>,
}

impl Migrations {
    /// A runner for the files of `databases`. A call takes at most 60 s.
    #[must_use]
    pub fn new(databases: Databases) -> Self {
        Self { databases, time: TIME, given_up: Arc::default() }
    }

    /// The same with another bound on the time of a call.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// The same, which begins no further step once this is set: whoever waited for it goes on by what is applied, and must not
    /// be surprised later.
    #[must_use]
    pub fn unless(self, given_up: Arc<AtomicBool>) -> Self {
        Self { given_up, ..self }
    }

    /// The versions applied to the database of `module`, in ascending order; none if it has no file.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn applied(&self, module: &str) -> Result<Vec<Version>, MigrationError> {
        Ok(self.databases.applied(module)?.into_iter().map(|applied| applied.version).collect())
    }

    /// The versions that [`Migrations::up`] would apply, in that order. Changes nothing.
    ///
    /// # Errors
    /// The database cannot be read, a file is missing or no text, or an applied migration has changed.
    pub fn pending(
        &self,
        module: &str,
        manifest: &Manifest,
        files: &BTreeMap<String, Bytes>,
    ) -> Result<Vec<Version>, MigrationError> {
        let steps = steps(module, manifest, files)?;
        let applied = self.databases.applied(module)?;
        let pending = unapplied(module, &steps, &applied)?;
        Ok(pending.map(|step| step.migration.version.clone()).collect())
    }

    /// Applies what is pending, in ascending order, and creates the file of a module that declares `database`. Returns what
    /// was applied now.
    ///
    /// # Errors
    /// As of [`Migrations::pending`], before anything is changed; or a migration failed: it is undone, those before it stay, and
    /// [`Migrations::applied`] tells them.
    pub fn up(
        &self,
        module: &str,
        manifest: &Manifest,
        files: &BTreeMap<String, Bytes>,
    ) -> Result<Vec<Version>, MigrationError> {
        if manifest.database.is_none() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.time;
        let steps = steps(module, manifest, files)?;
        self.goes_on(module)?;
        self.databases.create(module)?;
        let _turn = self.databases.migrating(module, deadline)?;
        let applied = self.databases.applied(module)?;
        let mut done = Vec::new();
        for step in unapplied(module, &steps, &applied)? {
            self.goes_on(module)?;
            self.databases.change(module, deadline, |change| apply(module, step, change))?;
            done.push(step.migration.version.clone());
        }
        Ok(done)
    }

    fn goes_on(&self, module: &str) -> Result<(), MigrationError> {
        match self.given_up.load(Ordering::Acquire) {
            true => Err(MigrationError::GivenUp { module: module.to_owned() }),
            false => Ok(()),
        }
    }

    /// Takes `versions` back, newest first whatever their order; those that are not applied are passed over, so a second call
    /// does nothing.
    ///
    /// # Errors
    /// `Irreversible` if one of them cannot be taken back: nothing is changed then. Or a step failed: it is undone, those
    /// before it stay taken back.
    pub fn down(&self, module: &str, versions: &[Version]) -> Result<(), MigrationError> {
        if versions.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.time;
        if !self.databases.exists(module) {
            return Ok(());
        }
        let _turn = self.databases.migrating(module, deadline)?;
        let applied = self.databases.applied(module)?;
        let wanted: Vec<&Applied> = applied.iter().rev().filter(|one| versions.contains(&one.version)).collect();
        if let Some(one) = wanted.iter().find(|one| one.down.is_none()) {
            return Err(MigrationError::Irreversible { module: module.to_owned(), version: one.version.clone() });
        }
        for one in wanted {
            self.goes_on(module)?;
            self.databases.change(module, deadline, |change| {
                take_back(module, one, change)?;
                // undone rather than committed too late: another version may serve by then that found it applied
                self.goes_on(module)
            })?;
        }
        Ok(())
    }
}

/// A migration of the manifest with its files.
struct Step<'a> {
    migration: &'a Migration,
    up: &'a str,
    down: Option<&'a str>,
    checksum: String,
}

/// The migrations of the manifest, which are in ascending order, each with its text.
fn steps<'a>(
    module: &str,
    manifest: &'a Manifest,
    files: &'a BTreeMap<String, Bytes>,
) -> Result<Vec<Step<'a>>, MigrationError> {
    let names: BTreeSet<String> = files.keys().cloned().collect();
    let migrations = manifest.database.iter().flat_map(|database| &database.migrations);
    let step = |migration: &'a Migration| {
        let text = |file: &str| {
            let bytes = files.get(file).ok_or_else(|| MigrationError::MissingFile {
                module: module.to_owned(),
                version: migration.version.clone(),
                file: file.to_owned(),
            })?;
            readable(bytes).map_err(|cause| MigrationError::BadFile {
                module: module.to_owned(),
                version: migration.version.clone(),
                file: file.to_owned(),
                cause,
            })
        };
        let up = text(&migration.file)?;
        // A down file that is named but missing must not quietly make the migration irreversible.
        let down = match (&migration.down, migration.down_file(&names)) {
            _ if migration.irreversible => None,
            (Some(named), _) => Some(text(named)?),
            (None, Some(found)) => Some(text(&found)?),
            (None, None) => None,
        };
        let checksum = blake3::hash(up.as_bytes()).to_hex().to_string();
        Ok(Step { migration, up, down, checksum })
    };
    migrations.map(step).collect()
}

fn readable(bytes: &Bytes) -> Result<&str, String> {
    if bytes.len() > MAX_SCRIPT {
        return Err(format!("has {} bytes, more than {MAX_SCRIPT}: split it into several migrations", bytes.len()));
    }
    std::str::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}"))
}

/// The steps that are not applied; an applied one must have the checksum that it had.
fn unapplied<'s, 'f>(
    module: &str,
    steps: &'s [Step<'f>],
    applied: &[Applied],
) -> Result<impl Iterator<Item = &'s Step<'f>> + use<'s, 'f>, MigrationError> {
    let mut pending = Vec::new();
    for step in steps {
        match applied.iter().find(|one| one.version == step.migration.version) {
            None => pending.push(step),
            Some(one) if one.checksum == step.checksum => {}
            Some(_) => {
                return Err(MigrationError::Changed {
                    module: module.to_owned(),
                    version: step.migration.version.clone(),
                    file: step.migration.file.clone(),
                });
            }
        }
    }
    Ok(pending.into_iter())
}

/// One migration and its record.
fn apply(module: &str, step: &Step<'_>, change: &Change<'_>) -> Result<(), MigrationError> {
    let migration = step.migration;
    let failed = |fault| statement_fault(module, &migration.version, &migration.file, fault);
    let before = change.shape()?;
    let baseline = Baseline::new(&change.applied()?, &before);
    change.script(step.up, |shape| baseline.is_kept(shape)).map_err(failed)?;
    let after = change.shape()?;
    change.record(&Applied {
        version: migration.version.clone(),
        checksum: step.checksum.clone(),
        down: step.down.map(str::to_owned),
        tables: after.into_keys().filter(|table| !before.contains_key(table)).collect(),
    })?;
    Ok(())
}

/// The way back of one migration, and the end of its record.
fn take_back(module: &str, one: &Applied, change: &Change<'_>) -> Result<(), MigrationError> {
    let failed = |fault| statement_fault(module, &one.version, "down", fault);
    let Some(down) = &one.down else {
        return Err(MigrationError::Irreversible { module: module.to_owned(), version: one.version.clone() });
    };
    let mut rest = change.applied()?;
    rest.retain(|other| other.version != one.version);
    let baseline = Baseline::new(&rest, &change.shape()?);
    change.script(down, |_| Ok(())).map_err(failed)?;
    baseline.has_tables(&change.shape()?).map_err(|cause| failed(ScriptFault { line: 0, cause, late: false }))?;
    change.forget(&one.version)?;
    Ok(())
}

fn statement_fault(module: &str, version: &Version, file: &str, fault: ScriptFault) -> MigrationError {
    MigrationError::Statement {
        module: module.to_owned(),
        version: version.clone(),
        file: file.to_owned(),
        line: fault.line,
        cause: fault.cause,
        late: fault.late,
    }
}
