//! What the audit log tells since a snapshot, done to its records.

use std::collections::BTreeMap;
use std::path::Path;

use semver::Version;
use serde_json::Value;

use crate::engine::retell::{self as engine, Back, Unconfirmed, What};
use crate::error::Error;
use crate::registry;
use crate::registry::versions::ModuleRef;
use crate::sandbox::permissions::retell as permissions;
use crate::store::Store;
use crate::store::archive::About;
use crate::store::audit::{AuditError, AuditLog, Kind, MAX_READ, Record, Row};

/// Whether a snapshot is one of this log: the entry that it knows as the newest is there and has the same hash. A restore puts
/// aside the snapshots of before it.
pub(super) fn fits(log: &AuditLog, about: &About) -> Result<(), String> {
    let seq = about.audit.seq;
    if seq > log.newest() {
        return Err(format!("it knows entry {seq} of the audit log, which ends with {}", log.newest()));
    }
    for row in log.read_blocking(seq.max(1), 1).map_err(|error| error.to_string())? {
        let other = row.entry().is_some_and(|entry| entry.seq == seq && entry.hash != about.audit.hash);
        if other {
            return Err(format!("entry {seq} of the audit log is another one than it knows"));
        }
    }
    Ok(())
}

/// The first entry that tells of something which a store has; none: the runtime was started, and no more.
pub(super) fn first(log: &AuditLog) -> Result<Option<u64>, AuditError> {
    let mut next = 1;
    loop {
        let rows = log.read_blocking(next, MAX_READ)?;
        let Some(last) = rows.last() else { return Ok(None) };
        next = follows(last, next);
        let mut entries = rows.iter().filter_map(Row::entry);
        if let Some(entry) = entries.find(|it| matches!(it.kind, Kind::Registered | Kind::ActivationEnded)) {
            return Ok(Some(entry.seq));
        }
    }
}

fn follows(row: &Row, next: u64) -> u64 {
    match row {
        Row::Entry(entry) => entry.seq + 1,
        Row::Damage(damage) => damage.before.max(next + 1),
    }
}

/// Does what the log tells behind entry `after` to the records in `store`; what it does not tell enough of is added to `left`.
pub(super) fn retell(
    store: &Store,
    bundles: &Path,
    log: &AuditLog,
    after: u64,
    left: &mut Vec<String>,
) -> Result<(), Error> {
    let mut told = Told::default();
    let mut next = after + 1;
    loop {
        let rows = log.read_blocking(next, MAX_READ)?;
        let Some(last) = rows.last() else { break };
        next = follows(last, next);
        for row in &rows {
            match row {
                Row::Entry(entry) => told.hear(entry, left),
                Row::Damage(damage) => left.push(format!(
                    "the audit log is damaged between entries {} and {}: what they told is not in the store",
                    damage.after, damage.before
                )),
            }
        }
        // a long log is done stretch by stretch
        told.apply(store, left)?;
    }
    told.end(store, bundles, left)
}

#[derive(Default)]
struct Told {
    slots: Vec<engine::Told>,
    decisions: Vec<permissions::Told>,
    /// What was told of each version. Only the last is done, so that files which went meanwhile are no one's loss.
    registered: BTreeMap<(String, Version), Vec<registry::Told>>,
    /// The activations that have begun and not ended.
    begun: BTreeMap<(String, Version), Begun>,
}

#[derive(Clone, Copy, Default)]
struct Begun {
    instant: bool,
    /// Whether the end of another one of its set told that it serves.
    serves: bool,
}

impl Told {
    fn hear(&mut self, entry: &Record, left: &mut Vec<String>) {
        let data: Value = serde_json::from_str(entry.data.get()).unwrap_or_default();
        if let Err(why) = self.understand(entry, &data, left) {
            left.push(format!("entry {} of the audit log ({} {}): {why}", entry.seq, entry.kind.name(), entry.subject));
        }
    }

    fn understand(&mut self, entry: &Record, data: &Value, left: &mut Vec<String>) -> Result<(), String> {
        let text = |key: &str| data[key].as_str().map(str::to_owned);
        let number = data["number"].as_u64().unwrap_or(0);
        match entry.kind {
            Kind::Registered | Kind::Unregistered => {
                let (id, version) = module(entry)?;
                let told = self.registered.entry((id.clone(), version.clone())).or_default();
                match (entry.kind, text("digest")) {
                    // it takes the entry before back, which did not come about
                    _ if text("reason").is_some() => drop(told.pop()),
                    (Kind::Registered, None) => return Err("it does not tell the digest; register it again".to_owned()),
                    (kind, digest) => {
                        let digest = digest.filter(|_| kind == Kind::Registered);
                        told.push(registry::Told { id, version, digest, at: entry.at });
                    }
                }
            }
            Kind::ActivationBegan => {
                let at = module(entry)?;
                self.begun.insert(at, Begun { instant: data["strategy"] == "instant", serves: false });
            }
            Kind::ActivationEnded | Kind::RolledBack => {
                let (id, version) = module(entry)?;
                let Begun { instant, .. } = self.begun.remove(&(id.clone(), version.clone())).unwrap_or_default();
                match text("outcome").as_deref() {
                    Some(outcome @ ("active" | "provisional")) => {
                        let unconfirmed = (outcome == "provisional").then(|| unconfirmed(data)).transpose()?;
                        if unconfirmed.as_ref().is_some_and(|it| it.back == Back::Untold) {
                            left.push(format!(
                                "the log does not tell whether there is a way back from {id}@{version}, so it is not returned \
                                 from by itself"
                            ));
                        }
                        self.slot(id, What::Serves { version, unconfirmed, instant, number }, entry.at);
                        for member in data["members"].as_array().into_iter().flatten() {
                            self.member(member, entry.at)?;
                        }
                    }
                    Some("rolled-back" | "failed") => {
                        self.slot(id, What::Failed { version, reason: text("reason"), number }, entry.at);
                    }
                    // it serves still
                    Some("failed-to-restore") => {
                        left.push(format!("{id}@{version} could not be taken back; look at `replug show {id}`"));
                    }
                    other => return Err(format!("there is no outcome {other:?}")),
                }
            }
            Kind::Confirmed => {
                let (id, version) = module(entry)?;
                self.slot(id, What::Confirmed(version), entry.at);
            }
            Kind::Deactivated => {
                let (id, version) = module(entry)?;
                self.slot(id, What::Deactivated { version, number }, entry.at);
            }
            Kind::StateChanged | Kind::TrafficShifted => {
                let (id, _) = module(entry)?;
                self.slot(id, What::Generation(data["generation"].as_u64().unwrap_or(0)), entry.at);
            }
            Kind::ProviderChosen => {
                self.slot(entry.subject.clone(), What::Chosen(text("provider")), entry.at);
            }
            Kind::RuntimeStarted => {
                self.begun.clear();
                self.slot(String::new(), What::Restarted, entry.at);
            }
            Kind::PermissionGranted => self.decided(entry, data, "granted")?,
            Kind::PermissionNarrowed => self.decided(entry, data, "narrowed")?,
            Kind::PermissionDenied => self.decided(entry, data, "denied")?,
            Kind::PermissionsForgotten => {
                let texts = texts(&data["permissions"]);
                let all = texts.iter().map(|text| permissions::permission(text)).collect::<Result<Vec<_>, _>>()?;
                // of many only the first are named; what is not given can be granted again
                let named = data["count"].as_u64().is_some_and(|count| count == all.len() as u64);
                let change =
                    if named { permissions::Change::Forgotten(all) } else { permissions::Change::ForgottenAll };
                self.decisions.push(permissions::Told { id: entry.subject.clone(), change });
            }
            // none of them changes what is kept
            _ => {}
        }
        Ok(())
    }

    /// Another one of the set of what serves: it does so since the same write.
    fn member(&mut self, data: &Value, at: u64) -> Result<(), String> {
        let text = |key: &str| data[key].as_str().unwrap_or_default();
        let version: Version = text("version").parse().map_err(|error| format!("a member of the set: {error}"))?;
        let (id, unconfirmed) = (text("module").to_owned(), Some(unconfirmed(data)?));
        if let Some(begun) = self.begun.get_mut(&(id.clone(), version.clone())) {
            begun.serves = true;
        }
        let (instant, number) = (data["instant"] == true, data["number"].as_u64().unwrap_or(0));
        self.slot(id, What::Serves { version, unconfirmed, instant, number }, at);
        Ok(())
    }

    fn slot(&mut self, id: String, what: What, at: u64) {
        self.slots.push(engine::Told { id, what, at });
    }

    fn decided(&mut self, entry: &Record, data: &Value, verdict: &str) -> Result<(), String> {
        let permission = permissions::permission(data["permission"].as_str().unwrap_or_default())?;
        let decision = permissions::decision(verdict, &texts(&data["to"]), (entry.who, entry.at))?;
        let change = permissions::Change::Decided { permission, decision };
        self.decisions.push(permissions::Told { id: module(entry)?.0, change });
        Ok(())
    }

    fn apply(&mut self, store: &Store, left: &mut Vec<String>) -> Result<(), Error> {
        engine::retell(store, std::mem::take(&mut self.slots))?;
        permissions::retell(store, std::mem::take(&mut self.decisions))?;
        left.truncate(1000);
        Ok(())
    }

    fn end(mut self, store: &Store, bundles: &Path, left: &mut Vec<String>) -> Result<(), Error> {
        self.apply(store, left)?;
        let lost = |told: &registry::Told| told.digest.as_ref().is_some_and(|digest| !bundles.join(digest).is_dir());
        let last = self.registered.into_values().filter_map(|mut told| told.pop());
        let (gone, told): (Vec<_>, Vec<_>) = last.partition(lost);
        left.extend(
            gone.iter().map(|told| format!("the files of {}@{} are gone; register it again", told.id, told.version)),
        );
        registry::retell(store, told)?;
        let cut_off = self.begun.iter().filter(|(_, begun)| !begun.serves).map(|(of, _)| of);
        left.extend(cut_off.map(|(id, version)| format!("the activation of {id}@{version} had not ended")));
        Ok(())
    }
}

fn module(entry: &Record) -> Result<(String, Version), String> {
    match entry.subject.parse::<ModuleRef>() {
        Ok(ModuleRef { id, version: Some(version) }) => Ok((id, version)),
        _ => Err("it names no version".to_owned()),
    }
}

/// What is told of a version that is to be confirmed yet.
fn unconfirmed(data: &Value) -> Result<Unconfirmed, String> {
    let version = |text: &str| text.parse::<Version>().map_err(|error| format!("migration `{text}`: {error}"));
    let back = match data.get("oneWay") {
        None => Back::Untold,
        Some(Value::Null) => Back::Is,
        Some(migration) => {
            let module = data["oneWayOf"].as_str().map(str::to_owned);
            Back::OneWay(version(migration.as_str().unwrap_or_default())?, module)
        }
    };
    let owed = texts(&data["owed"]).iter().map(|text| version(text)).collect::<Result<_, _>>()?;
    Ok(Unconfirmed { back, set: texts(&data["set"]), owed })
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
