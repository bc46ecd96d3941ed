//! Random sequences of commands, faults, stops and kills, of two modules one of which needs the other, against a small model of
//! the registry and the slots.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::engine::probe::{Act, When};
use crate::store::audit::Who;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happens {
    /// To one of the modules.
    To(usize, Does),
    Stop,
    Kill,
}

/// What is done to a module.
#[derive(Clone, Debug)]
enum Does {
    Register(u64),
    /// Activates a version; the second: it fails at that place, perhaps by a panic, and is taken back.
    Activate(u64, Option<(usize, bool)>),
    /// The process ends while the version is activated, at that place.
    KillIn(u64, usize),
    Confirm,
    Rollback(Option<u64>),
    Deactivate,
    Unregister(u64),
    /// A trigger of what serves.
    Trip,
}

fn happens() -> impl Strategy<Value = Happens> {
    let version = || 1_u64..5;
    let fault = || prop::option::weighted(0.25, (0..PAST, any::<bool>()));
    let does = prop_oneof![
        3 => version().prop_map(Does::Register),
        6 => (version(), fault()).prop_map(|(version, fault)| Does::Activate(version, fault)),
        2 => (version(), 0..PLACES.len()).prop_map(|(version, place)| Does::KillIn(version, place)),
        2 => Just(Does::Confirm),
        2 => prop::option::of(version()).prop_map(Does::Rollback),
        1 => Just(Does::Deactivate),
        1 => version().prop_map(Does::Unregister),
        2 => Just(Does::Trip),
    ];
    prop_oneof![
        12 => (0_usize..2, does).prop_map(|(module, does)| Happens::To(module, does)),
        1 => Just(Happens::Stop),
        1 => Just(Happens::Kill),
    ]
}

/// The places of an activation, in order; from [`PAST`] on it has taken over for good.
const PLACES: [(&str, When); 19] = [
    ("validate", When::Before),
    ("validate", When::After),
    ("prepare", When::Before),
    ("prepare", When::After),
    ("load", When::Before),
    ("load", When::After),
    ("register", When::Before),
    ("register", When::After),
    ("migrate", When::Before),
    ("migrate", When::After),
    ("warmup", When::Before),
    ("warmup", When::After),
    ("activate", When::Before),
    ("commit", When::Before),
    ("commit", When::Inside),
    ("commit", When::After),
    ("activate", When::After),
    ("verify", When::Before),
    ("verify", When::After),
];
const PAST: usize = 14;

/// The modules: the second needs the first.
const IDS: [&str; 2] = ["a", "b"];

/// What a slot and its versions are, by the table of states.
#[derive(Clone, Debug, Default, PartialEq)]
struct Slot {
    registered: BTreeSet<u64>,
    /// What a restart starts.
    confirmed: Option<u64>,
    provisional: Option<u64>,
    /// What a rollback of a confirmed version returns to.
    previous: Option<u64>,
}

impl Slot {
    fn serving(&self) -> Option<u64> {
        self.provisional.or(self.confirmed)
    }

    fn standby(&self) -> Option<u64> {
        self.provisional.and(self.confirmed)
    }

    fn returns_to(&self) -> Option<u64> {
        if self.provisional.is_some() { self.confirmed } else { self.previous }
    }

    /// Whether an activation of the version starts it.
    fn starts(&self, version: u64) -> bool {
        self.registered.contains(&version) && ![self.serving(), self.standby()].contains(&Some(version))
    }

    /// The slot after it, and whether the command is carried out; a command that is refused changes nothing.
    fn after(&self, does: &Does) -> (Self, bool) {
        let (mut next, known) = (self.clone(), |version: u64| self.registered.contains(&version));
        let done = match *does {
            Does::Register(version) => {
                next.registered.insert(version);
                true
            }
            Does::Activate(version, _) if !known(version) => false,
            Does::Activate(version, _) if self.serving() == Some(version) => true,
            Does::Activate(version, _) if self.standby() == Some(version) => {
                next.provisional = None;
                true
            }
            // it is taken back, which is an outcome
            Does::Activate(_, Some(_)) => true,
            Does::Activate(version, None) if self.confirmed.is_none() => {
                (next.confirmed, next.previous) = (Some(version), None);
                true
            }
            Does::Activate(version, None) => {
                next.provisional = Some(version);
                true
            }
            // what is confirmed at once is finished once it has taken over; the rest of it a kill takes back
            Does::KillIn(version, place) if self.starts(version) => {
                if self.confirmed.is_none() && place >= PAST {
                    (next.confirmed, next.previous) = (Some(version), None);
                }
                true
            }
            Does::KillIn(version, _) => return (self.after(&Does::Activate(version, None)).0, true),
            Does::Confirm => {
                if let Some(provisional) = next.provisional.take() {
                    next.previous = next.confirmed.replace(provisional);
                }
                self.serving().is_some()
            }
            Does::Rollback(to) => self.rolled_back(to, &mut next),
            Does::Deactivate => {
                (next.confirmed, next.provisional) = (None, None);
                self.serving().is_some()
            }
            Does::Unregister(version) => {
                let runs = self.serving() == Some(version) || self.standby() == Some(version);
                let done = known(version) && !runs;
                if done {
                    next.registered.remove(&version);
                    next.previous = next.previous.filter(|previous| *previous != version);
                }
                done
            }
            Does::Trip => {
                next.provisional = None;
                true
            }
        };
        if done { (next, true) } else { (self.clone(), false) }
    }

    fn rolled_back(&self, to: Option<u64>, next: &mut Self) -> bool {
        let Some(serving) = self.serving() else { return false };
        match to.or(self.returns_to()) {
            None => false,
            Some(target) if !self.registered.contains(&target) => false,
            Some(target) if target == serving => true,
            Some(target) if self.standby() == Some(target) => {
                next.provisional = None;
                true
            }
            // it is started anew, and what it takes the place of is nothing to return to
            Some(target) => {
                *next = Self { confirmed: Some(target), provisional: None, previous: None, ..self.clone() };
                true
            }
        }
    }
}

/// Both slots.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model([Slot; 2]);

impl Model {
    /// Whether the module has what it needs, and takes nothing from who needs it.
    fn may(&self, module: usize, does: &Does) -> bool {
        let [needed, needs] = &self.0;
        match (module, does) {
            (1, Does::Activate(..) | Does::KillIn(..)) => needed.serving().is_some(),
            (0, Does::Deactivate) => needs.serving().is_none(),
            (0, Does::Unregister(version)) => {
                needs.registered.is_empty() || needed.registered.iter().any(|other| other != version)
            }
            _ => true,
        }
    }

    /// The model after it, and whether it is carried out.
    fn after(&self, happens: &Happens) -> (Self, bool) {
        let mut next = self.clone();
        let (mut done, mut ends) = (true, true);
        if let Happens::To(module, does) = happens {
            ends = matches!(does, Does::KillIn(..));
            let may = self.may(*module, does);
            if may {
                (next.0[*module], done) = self.0[*module].after(does);
            }
            done = ends || (may && done);
        }
        if ends {
            next.0.iter_mut().for_each(|slot| slot.provisional = None);
        }
        (next, done)
    }

    /// Whether an activation of the version starts it.
    fn starts(&self, module: usize, version: u64) -> bool {
        self.may(module, &Does::KillIn(version, 0)) && self.0[module].starts(version)
    }
}

const MANIFEST: &str = "lifecycle:\n  activation:\n    confirmWindow: 1h\n    rollbackTriggers: [criticalError]\n    trafficShifting: { initial: 100, interval: 10ms }\n";

impl World {
    /// It happens; says whether it was carried out.
    async fn meets(self, happens: &Happens, model: &Model) -> (Self, bool) {
        match happens {
            Happens::To(module, does) => self.does(*module, does, model).await,
            Happens::Stop => {
                let world = self.restarted().await;
                world.engine.resume().await;
                (world, true)
            }
            Happens::Kill => (self.after_a_kill().await, true),
        }
    }

    async fn after_a_kill(&self) -> Self {
        let killed = self.killed().await;
        killed.engine.resume().await;
        killed
    }

    async fn does(self, module: usize, does: &Does, model: &Model) -> (Self, bool) {
        // a handle that is kept would keep the store from being opened again
        let engine = || self.engine.by(Who::Admin);
        let (id, version) = (IDS[module], |version: u64| Version::new(version, 0, 0));
        let done = match *does {
            Does::Register(version) => {
                let needs = if module == 1 { "dependencies:\n  - id: a\n" } else { "" };
                self.register(id, &format!("{version}.0.0"), &format!("{needs}{MANIFEST}")).await;
                true
            }
            Does::Activate(wanted, fault) => {
                let probe = &self.engine.shared.probe;
                if let Some((place, panics)) = fault {
                    probe.arm(id, PLACES[place], 0, if panics { Act::Panic } else { Act::Error });
                }
                let report = engine().activate(id, &version(wanted), None).await;
                probe.disarm(id);
                report.is_ok()
            }
            Does::KillIn(wanted, place) => {
                let killed = if model.starts(module, wanted) {
                    self.killed_in(id, version(wanted), PLACES[place]).await
                } else {
                    let _ = engine().activate(id, &version(wanted), None).await;
                    self.after_a_kill().await
                };
                return (killed, true);
            }
            Does::Confirm => engine().confirm(id).await.is_ok(),
            Does::Rollback(to) => engine().rollback(id, to.map(version).as_ref()).await.is_ok(),
            Does::Deactivate => engine().deactivate(id).await.is_ok(),
            Does::Unregister(gone) => engine().unregister(id, Some(&version(gone))).await.is_ok(),
            Does::Trip => {
                self.trips(id).await;
                true
            }
        };
        (self, done)
    }

    /// The process ends while an activation is at this place.
    async fn killed_in(&self, id: &str, version: Version, place: (&'static str, When)) -> Self {
        let (probe, go) = (&self.engine.shared.probe, Arc::new(Notify::new()));
        let before = probe.met(id, place);
        probe.arm(id, place, 0, Act::Freeze(Arc::clone(&go)));
        let coming = tokio::spawn({
            let (engine, id) = (self.engine.clone(), id.to_owned());
            async move { engine.activate(&id, &version, None).await }
        });
        while probe.met(id, place) == before {
            let reached = tokio::time::timeout(Duration::from_secs(20), probe.reached.notified()).await;
            assert!(reached.is_ok(), "{id} comes to {place:?}");
        }
        let killed = self.after_a_kill().await;
        go.notify_one();
        coming.await.unwrap().unwrap().ensure_serves().unwrap();
        killed
    }

    /// The tree of what serves gives up; returns once that was dealt with.
    async fn trips(&self, id: &str) {
        let slot = self.engine.shared.board.slot(id).state;
        let Some(instance) = slot.serving.clone() else { return };
        let mut events = self.events.subscribe();
        self.events.emit(Event::CriticalError { instance: instance.clone(), reason: "its workers die".to_owned() });
        // of a confirmed version it is an alarm, and nothing more
        if slot.is_provisional() {
            let returned = |event: &Event| matches!(event, Event::ActivationEnded { instance: of, outcome: "rolled-back", .. } if *of == instance);
            Self::until(&mut events, returned).await;
        }
    }

    /// What is there is what the model says, and nothing is left over of what has no place.
    async fn is(&self, model: &Model) -> Result<(), TestCaseError> {
        let mut placed = Vec::new();
        for (id, slot) in IDS.into_iter().zip(&model.0) {
            self.is_slot(id, slot, model)?;
            placed
                .extend(slot.serving().into_iter().chain(slot.standby()).map(|version| format!("{id}@{version}.0.0")));
        }
        placed.sort();
        let instances = || self.engine.shared.hands.instances.keys().len();
        // what lost its place drains beside everything else
        for _ in 0..1_000_000 {
            if self.held() == placed && instances() == placed.len() {
                break;
            }
            tokio::task::yield_now().await;
        }
        prop_assert_eq!((self.held(), instances()), (placed.clone(), placed.len()), "{:?}", model);
        Ok(())
    }

    fn is_slot(&self, id: &str, model: &Slot, all: &Model) -> Result<(), TestCaseError> {
        let text = |version: Option<u64>| version.map(|version| format!("{version}.0.0"));
        prop_assert_eq!(self.routed(id), text(model.serving()), "{}: {:?}", id, all);
        let registered: Vec<_> = model.registered.iter().map(|version| Version::new(*version, 0, 0)).collect();
        prop_assert_eq!(self.engine.registered(id), registered, "{}: {:?}", id, all);
        let slot = self.engine.slots().into_iter().find(|slot| slot.id == id);
        let slot = slot.filter(|slot| matches!(slot.state, State::Active | State::Provisional));
        let seen = slot.map(|slot| (slot.version, slot.previous, slot.state == State::Provisional, slot.weight));
        let expected = text(model.serving());
        let expected = expected.map(|serving| (serving, text(model.returns_to()), model.provisional.is_some(), 100));
        prop_assert_eq!(seen, expected, "{}: {:?}", id, all);
        let undecided = self.engine.shared.records.undecided(id).unwrap().len();
        prop_assert_eq!(undecided, usize::from(model.provisional.is_some()), "{}: {:?}", id, all);
        for version in model.registered.iter().copied() {
            let state = self.state(&format!("{id}@{version}.0.0"));
            let expected = match version {
                _ if model.provisional == Some(version) => state == State::Provisional,
                _ if model.standby() == Some(version) => state == State::Standby,
                _ if model.confirmed == Some(version) => state == State::Active,
                _ => matches!(state, State::Registered | State::Inactive | State::Failed | State::Draining),
            };
            prop_assert!(expected, "{}@{} is {} in {:?}", id, version, state, all);
        }
        Ok(())
    }
}

proptest! {
    // each case is a runtime with its store, and some of its restarts
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    #[test]
    fn slots_are_what_the_table_of_states_says_whatever_happens(all in prop::collection::vec(happens(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut world, mut model) = (World::new().await, Model::default());
            for happens in &all {
                let (next, done) = model.after(happens);
                let (there, carried_out) = world.meets(happens, &model).await;
                world = there;
                prop_assert_eq!(carried_out, done, "{:?} in {:?}", happens, model);
                model = next;
                world.is(&model).await?;
            }
            Ok(())
        })?;
    }
}
