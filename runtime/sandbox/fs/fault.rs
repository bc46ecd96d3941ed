//! What the system says of a file, as errors for scripts, without a path of the machine.

use std::io::{Error, ErrorKind};

use replug_scripts::{HostError, HostErrorKind};

/// The error of an operation on `path`, as the script named it.
pub(super) fn of(path: &str, error: &Error) -> HostError {
    let (kind, what) = match error.kind() {
        ErrorKind::NotFound => (HostErrorKind::NotFound, "there is no such file or folder".to_owned()),
        ErrorKind::NotADirectory => {
            (HostErrorKind::InvalidArgument, "a part of the path is no folder; links are not followed".to_owned())
        }
        ErrorKind::IsADirectory => (HostErrorKind::InvalidArgument, "it is a folder".to_owned()),
        ErrorKind::DirectoryNotEmpty => (HostErrorKind::Conflict, "the folder is not empty".to_owned()),
        ErrorKind::AlreadyExists => (HostErrorKind::Conflict, "it was made meanwhile".to_owned()),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (HostErrorKind::Overloaded, "the disk is full".to_owned()),
        _ => (HostErrorKind::Failed, error.to_string()),
    };
    HostError::new(kind, format!("{path}: {what}"))
}

/// What is no plain file with one name.
pub(super) fn not_plain(path: &str, what: &str) -> HostError {
    HostError::new(HostErrorKind::InvalidArgument, format!("{path}: {what}"))
}
