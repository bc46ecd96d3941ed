//! What an argument can be, by the name that its value has in the definitions.

use clap::Arg;

use super::place::{Place, placeholder};
use super::{Candidate, Offer};
use crate::admin::commands::FoundModule;
use crate::admin::repl::inventory::Inventory;
use crate::engine::State;

/// What arguments can be at a place.
pub(super) struct Values<'a> {
    pub(super) place: &'a Place<'a>,
    pub(super) inventory: &'a Inventory,
}

impl Values<'_> {
    /// What the argument can be that starts with `word`.
    pub(super) fn of(&self, arg: &Arg, word: &str) -> Offer {
        let named = arg.get_possible_values();
        let mut candidates = match (&*placeholder(arg), arg.get_id().as_str()) {
            _ if !named.is_empty() => {
                let about = |value: &clap::builder::PossibleValue| value.get_help().map(ToString::to_string);
                named.iter().map(|value| Candidate::new(value.get_name(), about(value))).collect()
            }
            ("PATH" | "DIR", _) => return Offer::Paths { typed: word.to_owned(), files: false },
            ("FILE", _) => return Offer::Paths { typed: word.to_owned(), files: true },
            ("ID", _) => self.ids(),
            ("ID@RANGE", _) => self.ids().into_iter().map(|id| Candidate { ends: false, ..id }).collect(),
            ("ID[@V]" | "ID@V" | "ID[@VERSION]" | "ID@VERSION", _) => self.references(word),
            ("V" | "VERSION", _) => self.versions(),
            ("STATE", _) => self.states(),
            ("PERMISSION", _) => self.permissions(),
            (_, "capability") => self.offered(|offered| &offered.id),
            (_, "category") => self.offered(|offered| &offered.category),
            _ => Vec::new(),
        };
        candidates.retain(|candidate| candidate.value.starts_with(word));
        Offer::Words(candidates)
    }

    fn ids(&self) -> Vec<Candidate> {
        let verb = self.place.verb();
        let ids = self.inventory.ids(|version| is_meant(verb, &version.state));
        ids.into_iter().map(|id| Candidate::new(id, self.about(id))).collect()
    }

    /// Ids, and once one is typed its versions.
    fn references(&self, word: &str) -> Vec<Candidate> {
        let meant = |version: &&FoundModule| is_meant(self.place.verb(), &version.state);
        let id = word.split_once('@').map_or(word, |(id, _)| id);
        let versions = self.inventory.versions(id).filter(meant);
        let versions = versions.map(|it| Candidate::new(format!("{id}@{}", it.version), Some(it.state.to_string())));
        let others = self.ids().into_iter().filter(|candidate| candidate.value != id);
        // a version may follow, so the word is not whole
        others.map(|candidate| Candidate { ends: false, ..candidate }).chain(versions).collect()
    }

    /// Versions of the module that the line names.
    fn versions(&self) -> Vec<Candidate> {
        let Some(id) = self.place.given.first() else { return Vec::new() };
        let id = id.split_once('@').map_or(*id, |(id, _)| id);
        let returns = self.place.verb() == "rollback";
        let meant = |version: &&FoundModule| !(returns && serves(&version.state));
        let versions = self.inventory.versions(id).filter(meant);
        versions.map(|it| Candidate::new(&it.version, Some(it.state.to_string()))).collect()
    }

    /// What the version that the line names asks for, or any version of the module; without what stands there already.
    fn permissions(&self) -> Vec<Candidate> {
        let Some((module, given)) = self.place.given.get(1..).and_then(<[_]>::split_first) else { return Vec::new() };
        let (id, version) = module.split_once('@').map_or((*module, None), |(id, version)| (id, Some(version)));
        let meant = |it: &&FoundModule| version.is_none_or(|version| version == it.version);
        let asked: std::collections::BTreeSet<_> =
            self.inventory.versions(id).filter(meant).flat_map(|it| &it.asks).collect();
        let free = asked.into_iter().filter(|asked| !given.contains(&asked.as_str()));
        free.map(|asked| Candidate::new(asked, None)).collect()
    }

    fn states(&self) -> Vec<Candidate> {
        let states: std::collections::BTreeSet<_> = self.inventory.0.iter().map(|version| &*version.state).collect();
        states.into_iter().map(|state| Candidate::new(state, None)).collect()
    }

    fn offered(&self, part: impl Fn(&crate::admin::commands::FoundCapability) -> &String) -> Vec<Candidate> {
        let offered = self.inventory.0.iter().flat_map(|version| &version.capabilities);
        let parts: std::collections::BTreeSet<_> = offered.map(part).collect();
        parts.into_iter().map(|part| Candidate::new(part, None)).collect()
    }

    /// What a module's id says beside it: the version that serves.
    fn about(&self, id: &str) -> Option<String> {
        let serving = self.inventory.versions(id).find(|version| serves(&version.state))?;
        Some(format!("{} {}", serving.version, serving.state))
    }
}

/// Whether a version in this state is one that the verb is for.
fn is_meant(verb: &str, state: &str) -> bool {
    match verb {
        "deactivate" | "rollback" | "eval" => serves(state),
        "confirm" => state == State::Provisional.name(),
        "activate" | "plan" => !serves(state) && state != State::Activating.name() && state != "unusable",
        "unregister" => {
            let runs = [State::Activating, State::Standby, State::Draining, State::RollingBack];
            !serves(state) && runs.iter().all(|running| running.name() != state)
        }
        _ => true,
    }
}

fn serves(state: &str) -> bool {
    state == State::Active.name() || state == State::Provisional.name()
}
