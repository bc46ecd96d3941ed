//! What one test has changed of the world around its module.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use replug_scripts::{HostError, Value};

use super::actors::Actors;
use super::bounds::{Bounds, Held};
use super::clock::TestClock;
use super::http::HttpFake;
use super::module::Event;
use super::residence::Deliveries;
use crate::sandbox::lines::Lines;

/// Bytes that something kept takes beside its texts and values.
pub(super) const ENTRY: usize = 64;

/// What stands in for a service.
#[derive(Clone, Debug)]
pub(super) enum StandIn {
    /// It answers this.
    Answer(Value),
    /// A function of the test does.
    Function,
}

impl StandIn {
    /// Bytes that it takes under a name of `name` bytes.
    fn size(&self, name: &str) -> usize {
        let answer = if let Self::Answer(answer) = self { answer.size() } else { 0 };
        ENTRY + name.len() + answer
    }
}

/// Shared by the host, the stage and the services of one test.
pub(super) struct State {
    pub(super) clock: TestClock,
    pub(super) http: HttpFake,
    pub(super) deliveries: Deliveries,
    pub(super) actors: Actors,
    pub(super) events: SyncSender<Event>,
    pub(super) held: Held,
    /// When the test must have ended.
    pub(super) end: Instant,
    /// Who waits for a function of the test.
    pub(super) asking: Mutex<Option<SyncSender<Result<Value, HostError>>>>,
    stand_ins: Mutex<HashMap<String, StandIn>>,
    calls: Mutex<Vec<(String, Value)>>,
    settings: Mutex<BTreeMap<String, Value>>,
    log: Mutex<Lines>,
}

impl State {
    /// A test that begins.
    pub(super) fn new(events: SyncSender<Event>, bounds: &Bounds) -> Self {
        Self {
            clock: TestClock::default(),
            http: HttpFake::default(),
            deliveries: Deliveries::default(),
            actors: Actors::default(),
            events,
            held: Held::new(bounds),
            end: Instant::now() + bounds.wall_time,
            asking: Mutex::default(),
            stand_ins: Mutex::default(),
            calls: Mutex::default(),
            settings: Mutex::default(),
            log: Mutex::default(),
        }
    }

    /// Whether the module waits for a function of the test.
    pub(super) fn is_asked(&self) -> bool {
        locked(&self.asking).is_some()
    }

    /// Lets time pass until so many milliseconds have, if they have not; the clock goes on from where it was set.
    pub(super) fn pass_to(&self, passed: u64) {
        self.clock.advance(self.deliveries.pass_to(passed));
    }

    pub(super) fn stand_in(&self, service: &str) -> Option<StandIn> {
        locked(&self.stand_ins).get(service).cloned()
    }

    pub(super) fn set_stand_in(&self, path: &str, service: &str, stand_in: StandIn) -> Result<(), HostError> {
        let mut stand_ins = locked(&self.stand_ins);
        let before = stand_ins.get(service).map_or(0, |before| before.size(service));
        self.held.swap(path, before, stand_in.size(service))?;
        stand_ins.insert(service.to_owned(), stand_in);
        Ok(())
    }

    pub(super) fn note_call(&self, function: &str, service: &str, args: Value) -> Result<(), HostError> {
        self.held.swap(function, 0, ENTRY + service.len() + args.size())?;
        locked(&self.calls).push((service.to_owned(), args));
        Ok(())
    }

    pub(super) fn calls(&self, service: &str) -> Vec<Value> {
        let calls = locked(&self.calls);
        calls.iter().filter(|(name, _)| name == service).map(|(_, args)| args.clone()).collect()
    }

    pub(super) fn set_setting(&self, path: &str, key: &str, value: Value) -> Result<(), HostError> {
        let mut settings = locked(&self.settings);
        let size = |value: &Value| ENTRY + key.len() + value.size();
        self.held.swap(path, settings.get(key).map_or(0, size), size(&value))?;
        settings.insert(key.to_owned(), value);
        Ok(())
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

    pub(super) fn log(&self, line: &str) {
        locked(&self.log).push(line);
    }

    pub(super) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.log)).into_lines()
    }
}

/// The content, whatever a panic left behind.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
