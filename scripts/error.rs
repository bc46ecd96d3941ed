//! What can go wrong in a script, and what a host tells a script.

use std::fmt;

use crate::limits::Verdict;

/// A fault found while compiling, at a place in a module's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFault {
    /// Path of the file, relative to the module's folder.
    pub file: String,
    /// Line from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column from 1; 0 when unknown.
    pub column: usize,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// Why a script's call ended without a result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScriptError {
    /// A limit tripped. The VM is spent.
    #[error("{0}")]
    Limit(Verdict),
    /// The script threw, or misused a value; `trace` has `FILE:LINE` lines, innermost first.
    #[error("{message}")]
    Thrown {
        /// The message, with `FILE:LINE:` in front where the language says it.
        message: String,
        /// The stack trace, possibly empty.
        trace: String,
    },
    /// The script threw `{status, title, detail}` with a status of 400 to 599.
    #[error("{status} {title}: {detail}")]
    Problem {
        /// The HTTP status.
        status: u16,
        /// A short name of the kind of problem.
        title: String,
        /// What happened this time; may be empty.
        detail: String,
    },
    /// A host call failed and the script did not catch it.
    #[error("{error}")]
    Host {
        /// What the host said.
        error: HostError,
        /// As in [`ScriptError::Thrown`].
        trace: String,
    },
    /// The entry script or an answer does not keep the contract: no table, no such handler, an invalid status or header, a value that
    /// is too deep or cannot cross.
    #[error("{0}")]
    Contract(String),
    /// The language's engine failed inside. The VM is spent: what it holds may be half changed.
    #[error("{0}")]
    Engine(String),
}

impl ScriptError {
    /// Whether the VM that gave this error must be dropped.
    #[must_use]
    pub const fn retires_vm(&self) -> bool {
        matches!(self, Self::Limit(_) | Self::Engine(_))
    }

    /// Whether the call ended because what it belongs to stops.
    #[must_use]
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Limit(Verdict::Stopped))
    }
}

/// An error that a host call hands to a script, as `{kind, message}` in both languages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// The kind, for scripts to tell errors apart.
    pub kind: HostErrorKind,
    /// What happened and what to do, lower case, without a full stop.
    pub message: String,
    is_refusal: bool,
}

impl HostError {
    /// An error of `kind`.
    pub fn new(kind: HostErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), is_refusal: false }
    }

    /// The host refuses a call to the module that makes it, which has no right to it. No script can make one: what a script
    /// throws on is an error of the same kind and words, but no refusal of whoever called that script.
    pub fn refusal(message: impl Into<String>) -> Self {
        Self { is_refusal: true, ..Self::new(HostErrorKind::PermissionDenied, message) }
    }

    /// Whether it is a [`HostError::refusal`].
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    /// A wrong or missing argument: `FUNCTION: argument N …`.
    #[must_use]
    pub fn argument(function: &str, position: usize, expected: &str, found: &str) -> Self {
        Self::new(
            HostErrorKind::InvalidArgument,
            format!("{function}: argument {position} must be {expected}, found {found}"),
        )
    }
}

/// The kinds of host errors. Scripts see the names of [`HostErrorKind::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostErrorKind {
    /// A wrong argument.
    InvalidArgument,
    /// The module was not granted this; the message names the manifest line that would.
    PermissionDenied,
    /// What was asked for does not exist.
    NotFound,
    /// A constraint or a concurrent change stood against it.
    Conflict,
    /// The deadline passed in what was called.
    Timeout,
    /// A queue or a quota is full; later it may work.
    Overloaded,
    /// What was called failed.
    Failed,
    /// It would outlive a copy of a client's request, of which nothing may be left.
    Mirrored,
}

impl HostErrorKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::InvalidArgument,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Conflict,
        Self::Timeout,
        Self::Overloaded,
        Self::Failed,
        Self::Mirrored,
    ];

    /// The name scripts see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid-argument",
            Self::PermissionDenied => "permission-denied",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::Failed => "failed",
            Self::Mirrored => "mirrored",
        }
    }

    /// The kind of this name; `None` when there is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in HostErrorKind::ALL {
            assert_eq!(HostErrorKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(HostErrorKind::parse("Failed"), None);
    }
}
