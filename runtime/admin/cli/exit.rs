//! Exit codes.

use std::process::ExitCode;

use crate::admin::CommandError;

/// How a command ends, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It failed or was refused.
    Failed = 1,
    /// The arguments cannot be understood.
    Usage = 2,
    /// An activation was taken back; what served before serves.
    RolledBack = 3,
    /// No runtime answers for the data directory.
    Unreachable = 4,
}

impl Exit {
    /// The end of a command that gave this error.
    pub(in crate::admin) fn of(error: &CommandError) -> Self {
        match &*error.kind {
            "unreachable" => Self::Unreachable,
            "rolled-back" => Self::RolledBack,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
