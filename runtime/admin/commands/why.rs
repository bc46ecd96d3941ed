//! Why a module runs, does not run, or runs in the version it does.

use serde::{Deserialize, Serialize};

use super::{CommandError, Commands, ModuleRef, serves};
use crate::engine::{CandidateView, EngineError, HistoryEntry, Outcome, SlotView, State};
use crate::registry::resolver::{self, Change, Running, Unresolved};
use crate::registry::versions::by_age;
use crate::registry::{Definition, Snapshot};

/// How many newer versions are explained.
const NEWER: usize = 5;

/// Why something is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The module.
    pub id: String,
    /// The version that is explained: the one that was named, otherwise the one that serves, otherwise the newest.
    pub version: String,
    /// Its state.
    pub state: String,
    /// The reasons, one line each.
    pub reasons: Vec<Reason>,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `command`, `needed`, `newer`, `state`, `provisional`, `frozen`, `obstacle`, `permission`, `refused`, `derivation`, `together` or `ready`; the last only
    /// where an activation would begin.
    pub kind: String,
    /// In words.
    pub text: String,
    /// When, in milliseconds since 1970, where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

impl Reason {
    fn new(kind: &str, text: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), text: text.into(), at: None }
    }

    /// What an activation would be refused for: one reason, or one for each thing that is in the way.
    fn of_refusal(refusal: &EngineError) -> Vec<Self> {
        match refusal {
            EngineError::Obstructed { obstacles, .. } => {
                obstacles.iter().map(|obstacle| Self::new("obstacle", obstacle.to_string())).collect()
            }
            EngineError::Ungranted(ungranted) if ungranted.cause.is_none() => {
                let asked = ungranted.waiting.iter().map(|asked| {
                    let grant = format!("replug permissions grant {}", ungranted.module);
                    Self::new("permission", format!("it waits for {}: {grant}", asked.permission))
                });
                asked.collect()
            }
            other => vec![Self::new("refused", other.to_string())],
        }
    }
}

impl Commands {
    /// Why a version runs or does not. Without a version: why the module runs in the one it does, or why it does not run.
    ///
    /// # Errors
    /// Nothing of that name is registered, or the journal cannot be read.
    pub async fn why(&self, wanted: &ModuleRef) -> Result<Why, CommandError> {
        let running = self.running();
        let version = wanted.version.clone().or_else(|| running.get(&wanted.id).cloned());
        let definition = self.resolve(&ModuleRef { id: wanted.id.clone(), version })?;
        let manifest = &definition.manifest;
        let state = self.engine.state(&manifest.id, &manifest.version);
        let history = self.engine.history(&manifest.id, 100).await?;
        let snapshot = self.registry.snapshot();
        let slot = self.engine.slots().into_iter().find(|slot| slot.id == manifest.id);
        let candidate = slot.as_ref().and_then(|slot| slot.candidate.as_ref());
        let mut reasons = Vec::new();
        if running.get(&manifest.id) == Some(&manifest.version) {
            if !serves(state.state) {
                reasons.push(kept_on(state.state, state.reason.as_deref()));
            }
            reasons.extend(slot.as_ref().and_then(unconfirmed));
            reasons.extend(brought(&definition, &history));
            reasons.extend(needed(&definition, &snapshot, &running));
            for newer in newer(&definition, &snapshot).into_iter().take(NEWER) {
                match self.not_taken(newer, (&snapshot, &running), (candidate, &history)).await {
                    Ok(reason) => reasons.push(reason),
                    // it was unregistered meanwhile
                    Err(_) if self.registry.snapshot().get(&manifest.id, &newer.manifest.version).is_none() => {}
                    Err(error) => return Err(error),
                }
            }
        } else {
            reasons.push(idle(&definition, state.state, state.reason.as_deref(), &history));
            reasons.extend(replaced(&definition, &running));
            match candidate.filter(|candidate| is_of(candidate, &definition)) {
                Some(candidate) => reasons.push(on_its_way(&definition, candidate)),
                None => reasons.extend(self.in_the_way(&definition, &snapshot, &running).await?),
            }
        }
        Ok(Why {
            id: manifest.id.clone(),
            version: manifest.version.to_string(),
            state: state.state.name().to_owned(),
            reasons,
        })
    }

    /// What an activation of the version would be refused for now, and which versions would go together with it.
    async fn in_the_way(
        &self,
        definition: &Definition,
        snapshot: &Snapshot,
        running: &Running,
    ) -> Result<Vec<Reason>, CommandError> {
        let manifest = &definition.manifest;
        let refused = self.engine.refusals(&manifest.id, &manifest.version).await?;
        let mut reasons: Vec<Reason> = refused.iter().flat_map(Reason::of_refusal).collect();
        if refused.iter().any(|refusal| matches!(refusal, EngineError::Obstructed { .. } | EngineError::Needed { .. }))
        {
            reasons.push(together(definition, snapshot, running));
        }
        if reasons.is_empty() {
            let label = manifest.label();
            reasons.push(Reason::new("ready", format!("nothing is in the way: replug activate {label}")));
        }
        Ok(reasons)
    }

    /// Why a newer version does not run: what became of it, and what an activation would come to now.
    async fn not_taken(
        &self,
        newer: &Definition,
        (snapshot, running): (&Snapshot, &Running),
        (candidate, history): (Option<&CandidateView>, &[HistoryEntry]),
    ) -> Result<Reason, CommandError> {
        let manifest = &newer.manifest;
        let named = |text: String, at| Reason { at, ..Reason::new("newer", format!("{}: {text}", newer.label())) };
        if let Some(candidate) = candidate.filter(|candidate| is_of(candidate, newer)) {
            return Ok(named(on_its_way(newer, candidate).text, None));
        }
        let refused = self.engine.refusals(&manifest.id, &manifest.version).await?;
        let now = match refused.first() {
            Some(EngineError::Obstructed { .. } | EngineError::Needed { .. }) | None => {
                together(newer, snapshot, running)
            }
            Some(refusal) => Reason::of_refusal(refusal).remove(0),
        };
        let state = self.engine.state(&manifest.id, &manifest.version);
        if state.state == State::Registered {
            return Ok(named(now.text, None));
        }
        let was = idle(newer, state.state, state.reason.as_deref(), history);
        Ok(named(format!("{}; {}", was.text, now.text), was.at))
    }
}

/// Whether the candidate is that version.
fn is_of(candidate: &CandidateView, definition: &Definition) -> bool {
    candidate.version == definition.manifest.version.to_string()
}

/// How far a version is that is being activated.
fn on_its_way(definition: &Definition, candidate: &CandidateView) -> Reason {
    let id = &definition.manifest.id;
    let CandidateView { state, weight, paused, .. } = candidate;
    let text = match (paused, *weight) {
        (true, weight) => format!(
            "it is {state} and waits with {weight} % of the traffic: replug resume {id}, replug promote {id} or replug abort {id}"
        ),
        (false, 0) => format!("it is {state}, and takes no traffic yet"),
        (false, weight) => format!("it is {state}, with {weight} % of the traffic: replug abort {id} gives it up"),
    };
    Reason::new("state", text)
}

/// That what serves is not confirmed, and who decides about it.
fn unconfirmed(slot: &SlotView) -> Option<Reason> {
    let id = &slot.id;
    let set = match slot.set.as_slice() {
        [] => String::new(),
        others => format!(" together with {}", others.join(", ")),
    };
    if let Some(frozen) = &slot.frozen {
        let mend = format!("mend it by a newer version, or accept it{set}: replug confirm {id}");
        let text = format!("it is frozen and serves on, since a migration cannot be taken back: {frozen}; {mend}");
        return Some(Reason::new("frozen", text));
    }
    if slot.state != State::Provisional {
        return None;
    }
    let back = slot.previous.as_ref().map_or_else(|| "nothing".to_owned(), Clone::clone);
    let text = format!(
        "it is not confirmed yet{set}, and {back} stands by: replug confirm {id} keeps it, replug rollback {id} returns"
    );
    Some(Reason::new("provisional", text))
}

/// What brought it there, from the journal: the newest command that made it serve.
fn brought(definition: &Definition, history: &[HistoryEntry]) -> Option<Reason> {
    let version = definition.manifest.version.to_string();
    let serves = |entry: &&HistoryEntry| {
        let came = entry.command == "rollback" || entry.version == version;
        came && entry.outcome.is_some_and(crate::engine::Outcome::serves) && entry.version == version
    };
    let entry = history.iter().find(serves)?;
    let from = entry.from.as_ref().map_or(String::new(), |from| format!(", in the place of {from}"));
    let text = match &*entry.command {
        "rollback" => {
            let because = entry.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            format!("a rollback returned to it{from}{because}")
        }
        "resume" => "it served when the runtime ended, and was started again".to_owned(),
        _ => format!("it was activated ({}){from}", entry.strategy),
    };
    Some(Reason { at: Some(entry.began), ..Reason::new("command", text) })
}

/// Why it runs although it is to be got rid of.
fn kept_on(state: State, reason: Option<&str>) -> Reason {
    let because = reason.map_or(String::new(), |reason| format!(" ({reason})"));
    let text = format!("it is {}{because} and serves only since nothing could take its place", state.name());
    Reason::new("state", text)
}

/// Who needs it.
fn needed(definition: &Definition, snapshot: &Snapshot, running: &Running) -> Vec<Reason> {
    let gone = resolver::dependents(&resolver::one_move(&definition.manifest.id, None), snapshot, running);
    gone.iter().map(|dependent| Reason::new("needed", dependent.to_string())).collect()
}

/// The newer versions, newest first.
fn newer<'a>(definition: &Definition, snapshot: &'a Snapshot) -> Vec<&'a Definition> {
    let manifest = &definition.manifest;
    let all = snapshot.modules.get(&manifest.id).into_iter().flatten();
    let age = |of: &Definition| (of.manifest.version.clone(), of.seq);
    let mut newer: Vec<&Definition> = all
        .map(|(_, other)| &**other)
        .filter(|other| {
            let (own, others) = (age(definition), age(other));
            by_age((&others.0, others.1), (&own.0, own.1)).is_gt()
        })
        .collect();
    newer.reverse();
    newer
}

/// Which versions go together with this one, or why none do.
fn together(definition: &Definition, snapshot: &Snapshot, running: &Running) -> Reason {
    let manifest = &definition.manifest;
    let wanted = [ModuleRef { id: manifest.id.clone(), version: Some(manifest.version.clone()) }];
    match resolver::resolve(&wanted, snapshot, running) {
        Ok(found) => {
            let others = found.changes().filter(|chosen| chosen.id != manifest.id);
            let others: Vec<_> = others
                .map(|chosen| match &chosen.change {
                    Change::Replace { from, .. } => format!("{}@{} in the place of {from}", chosen.id, chosen.version),
                    Change::Start | Change::Keep => format!("{}@{}", chosen.id, chosen.version),
                })
                .collect();
            let label = manifest.label();
            let text = match others.as_slice() {
                [] => format!("no other version would have to change: replug plan {label}"),
                others => format!("it could run with {}: replug deps {label}", others.join(", ")),
            };
            Reason::new("together", text)
        }
        Err(Unresolved::NoSet(derivation)) => Reason::new("derivation", derivation.to_string()),
        Err(Unresolved::Cycle(cycle)) => Reason::new("derivation", cycle.to_string()),
    }
}

/// Why it does not run, by its state.
fn idle(definition: &Definition, state: State, reason: Option<&str>, history: &[HistoryEntry]) -> Reason {
    let version = definition.manifest.version.to_string();
    let returned = |entry: &HistoryEntry| {
        entry.command == "rollback"
            && entry.from.as_deref() == Some(&*version)
            && entry.version != version
            && entry.outcome.is_some_and(Outcome::serves)
    };
    let entry = history.iter().find(|entry| entry.version == version || returned(entry));
    let because = reason.map_or(String::new(), |reason| format!(": {reason}"));
    let text = match (state, entry) {
        (State::Registered, None) => "it is registered and was never activated".to_owned(),
        (State::Inactive, Some(entry)) if entry.command == "deactivate" => format!("it was deactivated{because}"),
        (State::Inactive, Some(entry)) if returned(entry) => {
            format!("it served, and a rollback returned to {}{because}", entry.version)
        }
        (State::Inactive, _) => format!("it served, and another version took its place{because}"),
        (state, _) => format!("it is {}{because}", state.name()),
    };
    Reason { at: entry.map(|entry| entry.began), ..Reason::new("state", text) }
}

/// Which version of the module runs in its place.
fn replaced(definition: &Definition, running: &Running) -> Option<Reason> {
    let version = running.get(&definition.manifest.id)?;
    Some(Reason::new("state", format!("{}@{version} runs in its place", definition.manifest.id)))
}
