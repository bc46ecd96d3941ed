//! SQLite's errors as errors for scripts, without any path.

use replug_scripts::{HostError, HostErrorKind};
use rusqlite::{Error, ErrorCode};

use super::session::{MAX_VALUE, Session};
use crate::sandbox::ports::DATABASE_FULL;

/// What `error` means to the author of the statement that `session` ran.
pub(super) fn of_statement(session: &Session, error: &Error) -> HostError {
    use HostErrorKind as K;
    let refusal = session.watch().take_refusal();
    let Some(code) = code(error) else {
        return HostError::new(K::InvalidArgument, message(error));
    };
    let (kind, text) = match code {
        ErrorCode::AuthorizationForStatementDenied => (K::InvalidArgument, refusal.unwrap_or_else(|| message(error))),
        ErrorCode::ConstraintViolation => (K::Conflict, message(error)),
        ErrorCode::OperationInterrupted if session.watch().is_stopped() => return stopped(),
        ErrorCode::OperationInterrupted => (K::Timeout, "the deadline passed while the statement ran".to_owned()),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (K::Timeout, "the database stayed locked by another writer until the deadline".to_owned())
        }
        ErrorCode::TooBig => (K::InvalidArgument, too_big(session, &message(error))),
        ErrorCode::DiskFull => (K::Overloaded, DATABASE_FULL.to_owned()),
        ErrorCode::OutOfMemory => (K::Overloaded, "out of memory".to_owned()),
        code if is_of_the_file(code) => (K::Failed, cause(error)),
        _ => (K::InvalidArgument, message(error)),
    };
    HostError::new(kind, text)
}

/// What is said where the module that asked was stopped.
pub(super) fn stopped() -> HostError {
    HostError::new(HostErrorKind::Overloaded, "the module was stopped while its statements ran: nothing changed")
}

/// The text is too long, or a value is.
fn too_big(session: &Session, message: &str) -> String {
    match session.watch().largest_value() {
        MAX_VALUE => format!("too big: a value takes up to {} MiB: {message}", MAX_VALUE / (1024 * 1024)),
        bound => format!(
            "too big: a value takes up to {} KiB in this statement, because of its length and the functions it uses \
             (above all trim, unhex, json_patch, instr, replace, like): do that in the script, or in a statement of its own",
            bound / 1024
        ),
    }
}

/// Whether the connection that gave `error` is better not used again.
pub(super) fn spoils_connection(error: &Error) -> bool {
    code(error).is_some_and(|code| is_of_the_file(code) || code == ErrorCode::OutOfMemory)
}

/// Whether a deadline or a lock ended it.
pub(super) fn is_timeout(error: &Error) -> bool {
    matches!(code(error), Some(ErrorCode::OperationInterrupted | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What happened, for the runtime's own errors; SQLite writes the path of the file into some of its messages.
pub(super) fn cause(error: &Error) -> String {
    match code(error) {
        Some(ErrorCode::CannotOpen) => "the file cannot be opened".to_owned(),
        Some(ErrorCode::NotADatabase) => "the file is no SQLite database".to_owned(),
        Some(ErrorCode::DatabaseCorrupt) => "the file is corrupt".to_owned(),
        Some(ErrorCode::SystemIoFailure) => "the file cannot be read or written".to_owned(),
        Some(ErrorCode::ReadOnly) => "the file is read-only".to_owned(),
        Some(ErrorCode::PermissionDenied) => "access to the file is denied".to_owned(),
        _ => message(error),
    }
}

fn is_of_the_file(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CannotOpen
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::InternalMalfunction
    )
}

fn code(error: &Error) -> Option<ErrorCode> {
    match error {
        Error::SqliteFailure(error, _) | Error::SqlInputError { error, .. } => Some(error.code),
        _ => None,
    }
}

/// SQLite's words; where it points into the text, the place is given by what stands there.
fn message(error: &Error) -> String {
    match error {
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        Error::SqliteFailure(error, None) => error.to_string(),
        Error::SqlInputError { msg, sql, offset, .. } => {
            let rest = usize::try_from(*offset).ok().and_then(|at| sql.get(at..)).unwrap_or_default();
            let near: String = rest.chars().take(40).take_while(|c| *c != '\n').collect();
            if near.is_empty() || msg.contains(&near) { msg.clone() } else { format!("{msg}, at `{near}`") }
        }
        other => other.to_string(),
    }
}
