//! The errors of the folders below as command errors: a kind that programs can rely on, and what to do.

use super::{CommandError, Finding};
use crate::engine::EngineError;
use crate::registry::{MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES, RegistryError};

impl From<RegistryError> for CommandError {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let message = error.to_string();
        let new = |kind, help: String| Self::new(kind, message.clone()).with_help(help);
        match error {
            E::Manifest(faults) => faults.into(),
            E::Refused { path, .. } => {
                new("bundle", format!("remove or rename `{path}` and register the folder again"))
            }
            E::NoBundle { .. } => new(
                "bundle",
                format!(
                    "give the folder that holds module.manifest.yaml: at most {MAX_BUNDLE_FILES} files and {} MiB",
                    MAX_BUNDLE_BYTES >> 20
                ),
            ),
            E::Files { path, .. } => {
                new("files", format!("see that {} exists and may be read or written", path.display()))
            }
            E::Corrupt { .. } => new("corrupt", "replug register PATH puts the files back".to_owned()),
            E::ContentDiffers { id, .. } => new(
                "content-differs",
                format!("set a new `version:` in the manifest; replug versions {id} lists the taken ones"),
            ),
            E::BreakingChange(found) => {
                new("breaking-change", format!("replug show {}@{} shows what it promises", found.id, found.other))
            }
            E::Unreadable { id, version, .. } => {
                new("unusable", format!("replug unregister {id}@{version}, then register its folder again"))
            }
            E::NotRegistered { id, registered, .. } if registered.is_empty() => {
                new("not-registered", format!("replug register PATH, with the folder of `{id}`"))
            }
            E::NotRegistered { id, .. } => new("not-registered", format!("replug versions {id}")),
            E::Unresolved(why) => (*why).into(),
            E::Reference { .. } => new("reference", "a module is named ID or ID@VERSION".to_owned()),
            E::Store(_) => new("store", "see the log of the runtime; the command may be repeated".to_owned()),
            E::Audit(error) => error.into(),
            E::Stopped => new("stopped", "the runtime is ending; start it again: replug serve".to_owned()),
            E::Internal { .. } => new("internal", "this is a fault of Replug; see the log of the runtime".to_owned()),
        }
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        use EngineError as E;
        let message = error.to_string();
        let new = |kind, help: String| Self::new(kind, message.clone()).with_help(help);
        match error {
            E::Registry(error) => error.into(),
            E::Obstructed { .. } => {
                new("obstructed", "replug list shows what runs, replug find who offers a capability".to_owned())
            }
            E::Needed { dependents, .. } => {
                let (verb, id) = dependents.first().map_or(("deactivate", "ID"), |dependent| dependent.way_out());
                new("needed", format!("replug {verb} {id}"))
            }
            E::Orphans { dependents, .. } => {
                let first = dependents.first().map_or("ID".to_owned(), |it| format!("{}@{}", it.id, it.version));
                new("orphans", format!("replug unregister {first}"))
            }
            E::Unconfigured { .. } => new(
                "unconfigured",
                "give each key a `default` in the manifest's `config.schema`, or a value".to_owned(),
            ),
            E::Ungranted(error) => error.into(),
            E::PendingMigrations { module, .. } => {
                new("pending-migrations", format!("replug activate {module} --strategy gradual"))
            }
            E::Scripts { faults, .. } => Self::of_faults("script", faults.into_iter().map(Finding::from).collect()),
            E::Evaluation { fault, trace, log, .. } => {
                let mut finding = Finding::from(*fault);
                if trace.len() > 1 {
                    finding.help = Some(format!("at {}", trace.join(", at ")));
                }
                Self { log: log.into(), ..Self::of_faults("script", vec![finding]) }
            }
            E::Busy { id, .. } => new("busy", format!("replug show {id}")),
            E::Set { .. } => new("set", "replug list shows what serves, and what is not confirmed".to_owned()),
            E::InSet { id, .. } => new("in-set", format!("replug confirm {id}, or replug rollback {id}")),
            E::NothingServes { id } => new("nothing-serves", format!("replug activate {id}")),
            E::NotOffered { capability, .. } => new("not-offered", format!("replug find --capability {capability}")),
            E::NothingShifts { .. } => new("nothing-shifts", "replug list".to_owned()),
            E::NotYet { id, .. } => new("not-yet", format!("replug watch {id}")),
            E::Unconfirmable { id, .. } => new("unconfirmable", format!("replug activate {id}@VERSION")),
            E::NothingToReturnTo { id } => new("nothing-to-return-to", format!("replug versions {id}")),
            E::Irreversible { id, .. } => new(
                "irreversible",
                format!("register a newer version of {id} with what is to be changed and activate that"),
            ),
            E::NoWay(no_way) => {
                new("no-way", format!("replug versions {} --compatible-with {}", no_way.id, no_way.from))
            }
            E::Runs { help, .. } => new("runs", help),
            E::Port { .. } => new("port", "see the log of the runtime".to_owned()),
            E::Quarantined { module, .. } => new("quarantined", format!("replug activate {module}")),
            E::Forgive(_) => new("files", "see that the file may be written, and try again".to_owned()),
            E::Audit(error) => error.into(),
            E::Store(_) => new("store", "see the log of the runtime; the command may be repeated".to_owned()),
            E::Stopped => new("stopped", "the runtime is ending; start it again: replug serve".to_owned()),
            E::Internal(_) => new("internal", "this is a fault of Replug; see the log of the runtime".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;
    use crate::engine::{Impassable, NoWay};
    use crate::registry::interfaces::Contradiction;
    use crate::registry::resolver::{Cycle, Unresolved};
    use crate::sandbox::permissions::Ungranted;

    #[test]
    fn every_refusal_has_a_kind_in_kebab_case_and_says_what_to_do() {
        let version = || Version::new(1, 0, 0);
        let id = || "m".to_owned();
        let registry = [
            RegistryError::Refused { path: "x".into(), reason: "is a link".into() },
            RegistryError::NoBundle { reason: "it is empty".into() },
            RegistryError::Files { path: "x".into(), action: "reading", cause: "no".into() },
            RegistryError::Corrupt { expected: id(), found: id() },
            RegistryError::ContentDiffers { id: id(), version: version(), registered: id(), offered: id() },
            RegistryError::BreakingChange(Box::new(Contradiction {
                id: id(),
                version: version(),
                other: version(),
                differences: vec![],
            })),
            RegistryError::Unreadable { id: id(), version: version(), cause: id() },
            RegistryError::NotRegistered { wanted: id(), id: id(), registered: vec![] },
            RegistryError::NotRegistered { wanted: id(), id: id(), registered: vec![version()] },
            RegistryError::from(Box::new(Unresolved::Cycle(Cycle { chain: vec![id()] }))),
            RegistryError::Stopped,
            RegistryError::Internal { cause: id() },
        ];
        let engine = [
            EngineError::Obstructed { module: id(), obstacles: vec![] },
            EngineError::Needed { id: id(), action: id(), dependents: vec![], together: vec![] },
            EngineError::Orphans { id: id(), version: version(), dependents: vec![] },
            EngineError::Unconfigured { module: id(), keys: vec![id()] },
            EngineError::Ungranted(Ungranted { module: id(), waiting: vec![], cause: None }),
            EngineError::PendingMigrations { module: id(), pending: vec![version()] },
            EngineError::Busy { id: id(), waiting: 64 },
            EngineError::Set { reason: id() },
            EngineError::InSet { id: id(), set: vec![id()], action: id() },
            EngineError::NothingServes { id: id() },
            EngineError::NotOffered { capability: id(), module: Some(id()), providers: vec![id()] },
            EngineError::NothingShifts { id: id() },
            EngineError::NotYet { id: id(), version: version() },
            EngineError::Unconfirmable { id: id(), version: version(), state: crate::engine::State::Failed },
            EngineError::NothingToReturnTo { id: id() },
            EngineError::Irreversible { id: id(), to: version(), migration: version() },
            EngineError::NoWay(Box::new(NoWay {
                id: id(),
                to: version(),
                from: version(),
                cause: Impassable::Unsupported,
            })),
            EngineError::Port { module: id(), cause: id() },
            EngineError::Quarantined { module: id(), count: 2 },
            EngineError::Stopped,
            EngineError::Internal(id()),
        ];
        let errors = registry.into_iter().map(CommandError::from).chain(engine.into_iter().map(CommandError::from));
        for error in errors {
            assert!(error.kind.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{}", error.kind);
            assert!(error.help.as_ref().is_some_and(|help| !help.is_empty()), "{error:?}");
            assert!(!error.message.ends_with('.'), "{error:?}");
        }
    }

    #[test]
    fn an_error_of_the_registry_is_the_same_behind_the_engine() {
        let error = || RegistryError::NotRegistered { wanted: "a@2.0.0".into(), id: "a".into(), registered: vec![] };
        assert_eq!(CommandError::from(EngineError::Registry(error())), CommandError::from(error()));
    }
}
