//! What was done and what happens: history, audit log, events; and the verb that makes a version permanent.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::{CommandError, Commands, Location};
use crate::engine::{ConfirmReport, HistoryEntry};
use crate::monitor::Event;
use crate::store::audit::{self, AuditError, AuditFault, Defect, Row, Verified};

/// How many entries of the audit log are read unless it is said.
pub const AUDIT_PAGE: usize = 100;

impl Commands {
    /// Confirms the version that serves provisionally.
    ///
    /// # Errors
    /// Nothing serves, or the module is not registered.
    pub async fn confirm(&self, id: &str) -> Result<ConfirmReport, CommandError> {
        self.known(id)?;
        Ok(self.engine.confirm(id).await?)
    }

    /// What was done to a module, newest first, at most `limit` entries. A module that was unregistered keeps its history.
    ///
    /// # Errors
    /// There is none and the module is not registered, or it cannot be read.
    pub async fn history(&self, id: &str, limit: usize) -> Result<Vec<HistoryEntry>, CommandError> {
        let entries = self.engine.history(id, limit).await?;
        if entries.is_empty() {
            self.known(id)?;
        }
        Ok(entries)
    }

    /// At most `limit` entries of the audit log from number `from` on, ascending, and where it is damaged; without `from` the
    /// newest ones. Where there is none yet it waits for one, at most `wait`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn audit(&self, from: Option<u64>, limit: usize, wait: Duration) -> Result<Vec<Row>, CommandError> {
        let newest = self.audit.newest();
        let from = from.unwrap_or_else(|| newest.saturating_sub(u64::try_from(limit).unwrap_or(u64::MAX)) + 1);
        let mut follow = self.audit.follow();
        // whichever comes first: an entry, the end of the wait, or of the log
        let _ = tokio::time::timeout(wait, follow.wait_for(|newest| *newest >= from)).await;
        Ok(self.audit.read(from, limit).await?)
    }

    /// Checks the whole audit log.
    ///
    /// # Errors
    /// `broken-chain` with the file and line of the first place that is not as it was written.
    pub async fn verify_audit(&self) -> Result<Verified, CommandError> {
        let dir = self.audit.dir().to_owned();
        let verified = tokio::task::spawn_blocking(move || verify_audit(&dir)).await;
        verified.map_err(|error| CommandError::new("internal", format!("the check broke off: {error}")))?
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
}

/// Checks the audit log in `dir`, whether or not a runtime writes to it. Files are named without the directory.
///
/// # Errors
/// As [`Commands::verify_audit`]; `files` when there is no log or it cannot be read.
pub fn verify_audit(dir: &Path) -> Result<Verified, CommandError> {
    audit::verify(dir).map_err(|fault| audit_error(&fault))
}

/// The error of a broken audit log.
#[must_use]
pub fn audit_error(fault: &AuditFault) -> CommandError {
    let AuditFault { file, line, defect } = fault;
    let (kind, help) = match defect {
        Defect::Unreadable { .. } => {
            ("files", "see that the folder `audit` of the data directory exists and may be read")
        }
        _ => (
            "broken-chain",
            "somebody or something changed the log after it was written; keep a copy, compare it with one of before, \
             and see the manual's page on the audit log",
        ),
    };
    let mut error = CommandError::new(kind, format!("audit log: {defect}")).with_help(help);
    error.location = Some(Box::new(Location { file: file.clone(), line: *line, column: 1 }));
    error
}

impl From<AuditError> for CommandError {
    fn from(error: AuditError) -> Self {
        let help = match error {
            AuditError::Closed => "the runtime is ending; start it again: replug serve",
            _ => "see the log of the runtime, and that its disk is well",
        };
        let kind = if error == AuditError::Closed { "stopped" } else { "audit" };
        Self::new(kind, error.to_string()).with_help(help)
    }
}
