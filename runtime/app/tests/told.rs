//! What a command said.

use crate::engine::{ActivationReport, EngineError, Outcome};

#[derive(Debug)]
pub(super) enum Told {
    Report(Box<ActivationReport>),
    Refused(String),
    /// Nobody was told: the process ended, or nobody asked.
    Nothing,
}

impl From<Result<ActivationReport, EngineError>> for Told {
    fn from(result: Result<ActivationReport, EngineError>) -> Self {
        match result {
            Ok(report) => Self::Report(Box::new(report)),
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

impl Told {
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Report(report) => Some(report.outcome),
            _ => None,
        }
    }
}
