//! The one error of all commands, in a form that survives the way through HTTP.

use std::borrow::Cow;

use replug_scripts::SourceFault;
use serde::{Deserialize, Serialize};

use crate::manifest::{Fault, Faults};

/// Why a command failed. The admin API sends it, the command line shows what was sent: both sides have this type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// What kind of failure, for programs: kebab-case, and it never changes.
    pub kind: Cow<'static, str>,
    /// What failed and why.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where, if it is about a place in a file.
    pub location: Option<Box<Location>>,
    /// Every fault of a manifest or of scripts; the first one is also the message, help and location.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Finding>,
    /// What the code that failed had logged.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    pub log: Box<[String]>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The file, as the user named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// A fault or a warning at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub location: Location,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        let Fault { file, line, column, message, help } = fault;
        Self { location: Location { file, line, column }, message, help }
    }
}

impl From<SourceFault> for Finding {
    /// A place that the compiler does not know is the start of the line or file.
    fn from(fault: SourceFault) -> Self {
        let SourceFault { file, line, column, message } = fault;
        Self { location: Location { file, line: line.max(1), column: column.max(1) }, message, help: None }
    }
}

impl CommandError {
    /// An error without a place.
    #[must_use]
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        let kind = Cow::Borrowed(kind);
        Self { kind, message: message.into(), help: None, location: None, faults: Vec::new(), log: Box::default() }
    }

    /// The same with help.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The error of these faults; `kind` also names it when there are none.
    #[must_use]
    pub fn of_faults(kind: &'static str, faults: Vec<Finding>) -> Self {
        let mut error = Self::new(kind, "no fault was named");
        if let Some(first) = faults.first() {
            error.message.clone_from(&first.message);
            error.help.clone_from(&first.help);
            error.location = Some(Box::new(first.location.clone()));
        }
        error.faults = faults;
        error
    }

    /// The error with every file in it renamed: a client knows the folder that the server saw only as an archive.
    #[must_use]
    pub fn in_files(mut self, rename: impl Fn(&str) -> String) -> Self {
        let places = self.faults.iter_mut().map(|fault| &mut fault.location).chain(self.location.as_deref_mut());
        for place in places {
            place.file = rename(&place.file);
        }
        self
    }
}

impl From<Faults> for CommandError {
    fn from(Faults(faults): Faults) -> Self {
        Self::of_faults("manifest", faults.into_iter().map(Finding::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Faults {
        let fault = |line, help: Option<&str>| Fault {
            file: "module.manifest.yaml".into(),
            line,
            column: 5,
            message: format!("unknown key `k{line}`"),
            help: help.map(str::to_owned),
        };
        Faults(vec![fault(3, Some("did you mean `kind`?")), fault(9, None)])
    }

    #[test]
    fn all_faults_of_a_manifest_travel_and_the_first_is_the_error() {
        let error = CommandError::from(faults());
        let sent = serde_json::to_value(&error).unwrap();
        assert_eq!(
            sent,
            serde_json::json!({
                "kind": "manifest", "message": "unknown key `k3`", "help": "did you mean `kind`?",
                "location": {"file": "module.manifest.yaml", "line": 3, "column": 5},
                "faults": [
                    {"file": "module.manifest.yaml", "line": 3, "column": 5, "message": "unknown key `k3`",
                     "help": "did you mean `kind`?"},
                    {"file": "module.manifest.yaml", "line": 9, "column": 5, "message": "unknown key `k9`", "help": null},
                ],
            })
        );
        assert_eq!(serde_json::from_value::<CommandError>(sent).unwrap(), error);
    }

    #[test]
    fn renaming_files_reaches_the_location_and_every_fault() {
        let error = CommandError::from(faults()).in_files(|file| format!("greeter/{file}"));
        let files: Vec<_> = error.faults.iter().map(|fault| &fault.location).chain(error.location.as_deref()).collect();
        assert!(
            files.len() == 3 && files.iter().all(|place| place.file == "greeter/module.manifest.yaml"),
            "{files:?}"
        );
    }

    #[test]
    fn an_error_without_place_and_help_says_null() {
        let sent = serde_json::to_string(&CommandError::new("stopped", "engine: stopped")).unwrap();
        assert_eq!(sent, r#"{"kind":"stopped","message":"engine: stopped","help":null,"location":null}"#);
    }
}
