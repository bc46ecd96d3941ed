//! The incidents of one instance, or of the runtime itself.
//!
//! A script may fail in a loop. So the first incident of each name is written at once, and its repeats are counted and written
//! as one entry at most once a minute and when the instance ends. Of one instance 64 names of a kind are told apart; all
//! further ones count as one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use replug_scripts::CallContext;
use serde_json::{Value, json};

use super::IncidentLog;
use crate::monitor::InstanceKey;
use crate::store::audit::{Entry, Kind, Who};

/// Names that are told apart of one kind and instance.
pub(super) const NAMES: usize = 64;

/// How long repeats are counted before they are written, in milliseconds.
const INTERVAL: u64 = 60_000;

/// The longest name, in characters.
pub(super) const LONGEST: usize = 1024;

/// The reason of those that are not told apart.
pub(super) const OTHERS: &str = "further ones, each for another reason";

/// Something that is told.
#[derive(Clone, Copy)]
pub struct Incident<'a> {
    /// What it is.
    pub kind: Kind,
    /// Who had it done.
    pub who: Who,
    /// Tells it from others of its kind: a repeat has the same. Amounts that differ from call to call have no place in it.
    pub name: &'a str,
    /// In which call.
    pub call: Option<&'a CallContext>,
}

/// The incidents of one instance, or of the runtime itself.
pub struct Incidents {
    log: IncidentLog,
    subject: String,
    generation: Option<u64>,
    seen: Mutex<HashMap<Kind, HashMap<Box<str>, Repeats>>>,
}

/// Incidents that have no entry yet.
struct Repeats {
    count: u64,
    /// When the last entry was written.
    told: u64,
    last: Value,
    who: Who,
}

impl Incidents {
    /// None so far.
    #[must_use]
    pub fn new(log: IncidentLog, key: &InstanceKey) -> Self {
        let (subject, generation) = (format!("{}@{}", key.id, key.version), Some(key.generation));
        Self { log, subject, generation, seen: Mutex::default() }
    }

    /// Those of the runtime: none so far.
    #[must_use]
    pub fn of_runtime(log: IncidentLog) -> Self {
        Self { log, subject: "runtime".to_owned(), generation: None, seen: Mutex::default() }
    }

    /// Notes an incident at `now`, in milliseconds since 1970. `data` makes what its entry says beside the call, a JSON object,
    /// of its name; it is asked only where an entry will say it.
    pub fn note(&self, incident: &Incident<'_>, now: u64, data: impl FnOnce(&str) -> Value) {
        let Incident { kind, who, name, call } = *incident;
        let mut seen = self.seen();
        let seen = seen.entry(kind).or_default();
        // a script may have had its say in it
        let end = name.char_indices().nth(LONGEST).map_or(name.len(), |(end, _)| end);
        let name = &name[..end];
        // what copies of requests met is no repeat of what clients did
        let is_copy = call.is_some_and(|call| call.mirrored.is_some());
        let as_told = |name| if is_copy { Cow::Owned(format!("{name} (mirrored)")) } else { Cow::Borrowed(name) };
        let is_known = seen.contains_key(&*as_told(name));
        let name = if is_known || seen.len() < NAMES { name } else { OTHERS };
        let key = as_told(name);
        let details = || {
            let mut told = if name == OTHERS { json!({ "reason": OTHERS }) } else { data(name) };
            if let Some(generation) = self.generation {
                told["requestId"] = call.map(|call| &*call.request_id).into();
                told["caller"] = call.and_then(|call| call.caller.as_deref()).into();
                told["principal"] = call.and_then(|call| call.principal.as_ref()).map(|it| &*it.subject).into();
                told["generation"] = generation.into();
                if is_copy {
                    told["mirrored"] = true.into();
                }
            }
            told
        };
        let Some(repeats) = seen.get_mut(&*key) else {
            let details = details();
            self.write(kind, who, &details, 1);
            seen.insert(key.into(), Repeats { count: 0, told: now, last: details, who });
            return;
        };
        if repeats.count == 0 {
            (repeats.last, repeats.who) = (details(), who);
        }
        repeats.count += 1;
        self.tell_if_due(kind, repeats, now);
    }

    /// Writes the repeats whose minute is over.
    pub fn flush(&self, now: u64) {
        for (kind, seen) in self.seen().iter_mut() {
            for repeats in seen.values_mut().filter(|repeats| repeats.count > 0) {
                self.tell_if_due(*kind, repeats, now);
            }
        }
    }

    /// Writes all that was counted.
    pub fn end(&self) {
        for (kind, seen) in std::mem::take(&mut *self.seen()) {
            for repeats in seen.into_values().filter(|repeats| repeats.count > 0) {
                self.write(kind, repeats.who, &repeats.last, repeats.count);
            }
        }
    }

    fn tell_if_due(&self, kind: Kind, repeats: &mut Repeats, now: u64) {
        if now.saturating_sub(repeats.told) >= INTERVAL {
            self.write(kind, repeats.who, &repeats.last, repeats.count);
            (repeats.count, repeats.told) = (0, now);
        }
    }

    fn write(&self, kind: Kind, who: Who, details: &Value, count: u64) {
        let mut data = details.clone();
        data["count"] = count.into();
        self.log.note(Entry::new(kind, who, self.subject.as_str()).with(data), count);
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Kind, HashMap<Box<str>, Repeats>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Incidents {
    /// The instance ended: what was counted is written.
    fn drop(&mut self) {
        self.end();
    }
}
