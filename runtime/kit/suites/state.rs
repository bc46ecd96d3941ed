//! What one test has changed of the world around its module.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use replug_scripts::{HostError, Value};

use super::clock::TestClock;
use super::http::HttpFake;
use super::module::Event;

/// Lines of a log that are kept.
const LINES: usize = 200;

/// What stands in for a service.
#[derive(Clone, Debug)]
pub(super) enum StandIn {
    /// It answers this.
    Answer(Value),
    /// A function of the test does.
    Function,
}

/// Shared by the host, the stage and the services of one test.
pub(super) struct State {
    pub(super) clock: TestClock,
    pub(super) http: HttpFake,
    pub(super) events: SyncSender<Event>,
    stand_ins: Mutex<HashMap<String, StandIn>>,
    calls: Mutex<Vec<(String, Value)>>,
    settings: Mutex<BTreeMap<String, Value>>,
    log: Mutex<Vec<String>>,
}

impl State {
    pub(super) fn new(events: SyncSender<Event>) -> Self {
        Self {
            clock: TestClock::default(),
            http: HttpFake::default(),
            events,
            stand_ins: Mutex::default(),
            calls: Mutex::default(),
            settings: Mutex::default(),
            log: Mutex::default(),
        }
    }

    pub(super) fn stand_in(&self, service: &str) -> Option<StandIn> {
        locked(&self.stand_ins).get(service).cloned()
    }

    pub(super) fn set_stand_in(&self, service: &str, stand_in: StandIn) {
        locked(&self.stand_ins).insert(service.to_owned(), stand_in);
    }

    pub(super) fn note_call(&self, service: &str, args: Value) {
        locked(&self.calls).push((service.to_owned(), args));
    }

    pub(super) fn calls(&self, service: &str) -> Vec<Value> {
        let calls = locked(&self.calls);
        calls.iter().filter(|(name, _)| name == service).map(|(_, args)| args.clone()).collect()
    }

    pub(super) fn set_setting(&self, key: &str, value: Value) {
        locked(&self.settings).insert(key.to_owned(), value);
    }

    /// The module's settings as the test has changed them: one, or with all the others.
    pub(super) fn settings(
        &self,
        key: Option<&str>,
        declared: impl FnOnce() -> Result<Value, HostError>,
    ) -> Result<Value, HostError> {
        let changed = locked(&self.settings);
        match key {
            Some(key) if changed.contains_key(key) => Ok(changed[key].clone()),
            Some(_) => declared(),
            None => match declared()? {
                Value::Map(mut all) => {
                    all.extend(changed.iter().map(|(key, value)| (key.clone(), value.clone())));
                    Ok(Value::Map(all))
                }
                other => Ok(other),
            },
        }
    }

    pub(super) fn log(&self, line: String) {
        let mut log = locked(&self.log);
        if log.len() < LINES {
            log.push(line);
        }
    }

    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.log))
    }
}

/// The content, whatever a panic left behind.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
