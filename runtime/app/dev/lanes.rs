//! Swaps beside each other. Of a folder one runs at a time, and what is saved there meanwhile follows it; a module that takes
//! long holds up no other one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Semaphore;

use super::say;
use super::swap::{self, Swapped};
use crate::app::Runtime;
use crate::registry::Bundle;

/// How many folders are checked at once.
const CHECKS: usize = 4;

/// What a folder held when it was read.
pub(super) struct Save {
    pub(super) dir: PathBuf,
    pub(super) bundle: Bundle,
    /// When it was saved; nothing for what was there at the start.
    pub(super) at: Option<Instant>,
}

/// The swaps that run, and what comes after them.
pub(super) struct Lanes<'a> {
    runtime: &'a Runtime,
    checks: Arc<Semaphore>,
    running: FuturesUnordered<BoxFuture<'a, (Save, Swapped)>>,
    /// The folders of those, each with the newest that was saved there since.
    busy: BTreeMap<PathBuf, Option<Save>>,
    /// What something is missing for: it is tried again when nothing runs.
    waiting: Vec<Save>,
    /// Whether something came up since those were tried.
    came_up: bool,
}

impl<'a> Lanes<'a> {
    pub(super) fn new(runtime: &'a Runtime) -> Self {
        let checks = Arc::new(Semaphore::new(CHECKS));
        let (running, busy, waiting) = Default::default();
        Self { runtime, checks, running, busy, waiting, came_up: false }
    }

    /// Swaps it in, once what runs in its folder has ended. What was saved there before and has not begun is left out.
    pub(super) fn begin(&mut self, save: Save) {
        self.waiting.retain(|older| older.dir != save.dir);
        match self.busy.entry(save.dir.clone()) {
            Entry::Occupied(mut lane) => {
                lane.insert(Some(save));
            }
            Entry::Vacant(lane) => {
                lane.insert(None);
                self.run(save, true);
            }
        }
    }

    /// Whether nothing runs or waits.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Returns when a swap ended, never where none runs. Nothing is lost where whoever waits for it goes away.
    pub(super) async fn go_on(&mut self) {
        let Some((save, swapped)) = self.running.next().await else { return std::future::pending().await };
        let newer = self.busy.remove(&save.dir).flatten();
        match (swapped, save.at) {
            (Swapped::Done { label }, Some(at)) => {
                say::line(&format!("{label} serves ({} ms)", at.elapsed().as_millis()));
                self.came_up = true;
            }
            (Swapped::Done { label }, None) => {
                say::line(&format!("{label} serves"));
                self.came_up = true;
            }
            (Swapped::Same { label }, _) => {
                say::line(&format!("{label} serves on"));
                self.came_up = true;
            }
            (Swapped::Waits, _) if newer.is_none() => self.waiting.push(save),
            (Swapped::Waits | Swapped::Refused, _) => {}
        }
        if let Some(newer) = newer {
            self.begin(newer);
        }
        if self.running.is_empty() {
            self.again();
        }
    }

    /// Tries those that wait; where nothing came up meanwhile for the last time, and then they say what is missing.
    fn again(&mut self) {
        let is_patient = std::mem::take(&mut self.came_up);
        for save in std::mem::take(&mut self.waiting) {
            self.busy.insert(save.dir.clone(), None);
            self.run(save, is_patient);
        }
    }

    fn run(&mut self, save: Save, is_patient: bool) {
        let (runtime, checks) = (self.runtime, Arc::clone(&self.checks));
        self.running.push(Box::pin(async move {
            let swapped = swap::swap(runtime, &save.dir, &save.bundle, &checks, is_patient).await;
            (save, swapped)
        }));
    }
}
