//! What holds after every cell.

use super::*;
use crate::engine::HistoryEntry;
use crate::engine::outcome::StepOutcome;

/// The alarms so far about a module.
pub(super) fn alarms(events: &mut Receiver<Arc<Event>>, alarms: &mut Vec<(String, String)>) {
    loop {
        match events.try_recv().as_deref() {
            Ok(Event::Alarm { subject, message }) => alarms.push((subject.clone(), message.clone())),
            Ok(_) | Err(tokio::sync::broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return,
        }
    }
}

impl World {
    /// The instances of a module that are there, as `version`, and of those the ones that could not be let go.
    pub(super) fn instances(&self, id: &str) -> (Vec<String>, Vec<String>) {
        let instances = &self.engine.shared.hands.instances;
        let keys = instances.keys().into_iter().filter(|key| &*key.id == id);
        let (left, there): (Vec<_>, Vec<_>) = keys.partition(|key| instances.get(key).is_some_and(|it| it.left));
        let sorted = |keys: Vec<crate::monitor::InstanceKey>| {
            let mut versions: Vec<_> = keys.iter().map(|key| key.version.to_string()).collect();
            versions.sort();
            versions
        };
        (sorted(there), sorted(left))
    }

    fn placed(&self, id: &str) -> Vec<String> {
        let slot = self.engine.shared.board.slot(id).state;
        let mut placed: Vec<_> = slot.keys().map(|key| key.version.to_string()).collect();
        placed.sort();
        placed
    }

    /// Waits until nothing of the module is on its way, in or out.
    pub(super) async fn settles(&self, cell: &Cell) {
        let moves = || {
            let slot = self.engine.shared.board.slot(&cell.id);
            let draining = slot
                .versions
                .values()
                .any(|record| matches!(record.state, State::Draining | State::Activating | State::RollingBack));
            // the end of a return is written a moment after its states
            let open = self.engine.shared.records.undecided(&cell.id).unwrap().len();
            let provisional = usize::from(slot.record.as_ref().is_some_and(|record| record.provisional.is_some()));
            let moves = draining || slot.candidate.is_some() || open != provisional;
            moves || self.instances(&cell.id).0 != self.placed(&cell.id)
        };
        let settled = async {
            while moves() {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), settled).await.is_err() {
            let slot = self.engine.shared.board.slot(&cell.id);
            panic!("{cell}: it does not settle: {:?} beside {slot:#?}", self.instances(&cell.id));
        }
    }

    /// The newest entry of the journal about 2.0.0.
    pub(super) async fn entry(&self, cell: &Cell) -> Option<HistoryEntry> {
        let history = self.engine.history(&cell.id, 50).await.unwrap();
        history.into_iter().find(|entry| entry.version == "2.0.0" && entry.command != "resume")
    }

    /// What holds whatever happened: one version, everywhere the same, in a state in which it may stay, and nothing beside it.
    pub(super) async fn is_one(&self, cell: &Cell) -> Option<String> {
        self.settles(cell).await;
        let slot = self.engine.shared.board.slot(&cell.id);
        let version = |key: &Option<crate::monitor::InstanceKey>| key.as_ref().map(|key| key.version.to_string());
        let (serving, standby) = (version(&slot.state.serving), version(&slot.state.standby));
        assert_eq!(self.routed(&cell.id), serving, "{cell}: what is routed serves");
        assert_eq!(slot.state.shift, None, "{cell}: nothing takes a share");
        let record = slot.record.clone().unwrap_or_default();
        let provisional = record.provisional.as_ref().map(|it| it.version.to_string());
        let recorded = provisional.clone().or_else(|| record.serving.as_ref().map(Version::to_string));
        assert_eq!(recorded, serving, "{cell}: what is recorded serves: {slot:#?}");
        let waits = slot.state.is_provisional();
        assert_eq!(provisional.is_some(), waits, "{cell}: {slot:#?}");
        let on_disk = self.engine.shared.records.all().unwrap();
        assert_eq!(on_disk.slots.get(&cell.id), slot.record.as_ref(), "{cell}: what is recorded is on the disk");
        for (of, state) in &slot.versions {
            let (of, state) = (Some(of.to_string()), state.state);
            let may = match state {
                State::Active => of == serving && !waits,
                State::Provisional => of == serving && waits,
                State::Standby => of == standby,
                State::FailedToRestore => true,
                state => state.is_idle() && of != serving && of != standby,
            };
            assert!(may, "{cell}: {of:?} is {state}: {slot:#?}");
        }
        let open = on_disk.open.get(&cell.id).map_or(0, Vec::len);
        assert_eq!(open, usize::from(provisional.is_some()), "{cell}: {:#?}", on_disk.open.get(&cell.id));
        let (there, left) = self.instances(&cell.id);
        let mut held: Vec<_> = self
            .held()
            .iter()
            .filter_map(|held| held.split_once('@'))
            .filter(|it| it.0 == cell.id)
            .map(|it| it.1.to_owned())
            .collect();
        held.retain(|version| !left.contains(version) || there.contains(version));
        assert_eq!(held, there, "{cell}: nothing is held beside what has a place");
        serving
    }

    /// The checks after an activation of 2.0.0 that was broken.
    pub(super) async fn is_true(&self, cell: &Cell, told: &Told, alarms: &[(String, String)]) {
        let kind = cell.kind;
        let before = (!kind.first).then(|| "1.0.0".to_owned());
        let serving = self.is_one(cell).await;
        let entry = self.entry(cell).await;
        let state = self.state(&cell.label(2));
        let Some(outcome) = told.outcome() else {
            let Told::Refused(reason) = told else { panic!("{cell}: it was told nothing") };
            assert!(!reason.is_empty() && entry.is_none(), "{cell}: {reason}, {entry:?}");
            assert_eq!((serving, state), (before, State::Registered), "{cell}");
            assert_eq!(self.tables(&cell.id), [""; 0], "{cell}: nothing was changed");
            return;
        };
        let entry = entry.unwrap_or_else(|| panic!("{cell}: no entry: {told:?}"));
        assert_eq!(entry.outcome, Some(outcome), "{cell}: {entry:?}");
        let serves = match outcome {
            Outcome::Provisional | Outcome::Active => Some("2.0.0".to_owned()),
            Outcome::RolledBack | Outcome::Failed => before,
            Outcome::FailedToRestore => serving.clone(),
            Outcome::Inactive => panic!("{cell}: {told:?}"),
        };
        let expected = expected::state(outcome);
        assert_eq!((serving, state), (serves.clone(), expected), "{cell}: {told:?}");
        assert_eq!(outcome == Outcome::Failed, kind.first && !outcome.serves(), "{cell}: {told:?}");
        let told_alarm = alarms.iter().any(|(subject, _)| subject.starts_with(&cell.label(2)));
        assert_eq!(told_alarm, matches!(outcome, Outcome::Failed | Outcome::FailedToRestore), "{cell}: {alarms:?}");
        if outcome.serves() {
            assert_eq!(self.tables(&cell.id), kind.migrations(), "{cell}");
            return;
        }
        let reason = entry.reason.as_deref().unwrap_or_default();
        if cell.place.0 == "close" {
            let kept = if kind.preserve { kind.migrations() } else { &[] };
            assert!(!reason.is_empty() && self.tables(&cell.id) == kept, "{cell}: {entry:?}");
            return;
        }
        let failed: Vec<_> =
            entry.steps.iter().filter(|step| step.outcome != Some(StepOutcome::Done)).map(|step| &*step.name).collect();
        assert!(!failed.is_empty() && failed.iter().any(|step| reason.contains(step)), "{cell}: {entry:?}");
        // what came too late is noticed by the step after it
        if cell.wrong != Some(Wrong::Hang) {
            assert!(failed.contains(&cell.step()), "{cell}: {entry:?}");
        }
        let tables = self.tables(&cell.id);
        if outcome != Outcome::FailedToRestore && !kind.preserve {
            assert_eq!(tables, [""; 0], "{cell}: what it made of the schema is taken back");
        }
        assert!(tables.is_empty() || tables == kind.migrations(), "{cell}: {tables:?}");
    }

    /// The module is not wedged: a good version takes over, and everything of the others goes.
    pub(super) async fn goes_on(&self, cell: &Cell) {
        self.engine.shared.probe.disarm(&cell.id);
        if self.engine.shared.board.slot(&cell.id).state.serving.is_some_and(|key| &*key.version == "3.0.0") {
            return;
        }
        let version = Version::new(3, 0, 0);
        let strategy = Some(ActivationStrategy::Gradual);
        let report = self.engine.activate(&cell.id, &version, strategy).await;
        let report = report.unwrap_or_else(|error| panic!("{cell}: a good version is refused: {error}"));
        assert!(report.outcome.serves(), "{cell}: {report:?}");
        self.engine.confirm(&cell.id).await.unwrap_or_else(|error| panic!("{cell}: {error}"));
        assert_eq!(self.is_one(cell).await.as_deref(), Some("3.0.0"), "{cell}");
        self.is_swept(cell).await;
        assert_eq!(self.is_one(cell).await.as_deref(), Some("3.0.0"), "{cell}");
        assert_eq!(self.tables(&cell.id), cell.kind.migrations(), "{cell}");
    }

    /// Waits until nothing is left of what could not be let go before.
    pub(super) async fn is_swept(&self, cell: &Cell) {
        let swept = async {
            while !self.instances(&cell.id).1.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), swept)
            .await
            .unwrap_or_else(|_| panic!("{cell}: something is left"));
    }

    /// Nothing runs any more but what has a place: no tree, and once all is out of service no thread.
    pub(super) async fn ends(self, cells: &[Cell]) {
        let trees = self.modules.get_cell().get_children().len();
        let placed: usize = cells.iter().map(|cell| self.placed(&cell.id).len()).sum();
        // the engine's own actor hangs there too
        assert_eq!(trees, placed + 1, "trees of {placed} instances: {cells:?}");
        self.engine.stop(Duration::from_secs(5)).await;
        let gone = async {
            while cells.iter().any(|cell| has_thread(&cell.id)) {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), gone).await;
        let left: Vec<_> = cells.iter().filter(|cell| has_thread(&cell.id)).map(ToString::to_string).collect();
        assert!(ended.is_ok(), "threads are left of {left:?}");
    }
}

/// Whether a thread of a module runs; elsewhere than on Linux nobody can say.
fn has_thread(id: &str) -> bool {
    let name = format!("vm:{id}\n");
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok()).any(|comm| comm == name)
}
