//! Random sequences of commands, faults, stops and kills, of two modules one of which needs the other, against a small model of
//! the registry and the slots.

use proptest::prelude::*;
use tokio::sync::Notify;

use self::reference::Model;
use super::*;
use crate::engine::Order;
use crate::engine::probe::{Act, When};
use crate::store::audit::Who;

mod reference;

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
    Activate(u64, Option<(usize, bool)>, How),
    /// The process ends while the version is activated, at that place.
    KillIn(u64, usize),
    Confirm,
    Rollback(Option<u64>),
    Deactivate,
    Unregister(u64),
    /// A trigger of what serves.
    Trip,
}

/// How a version takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Instant,
    /// As its manifest says: at once, by weights, or, where it stays at a weight for an hour, by somebody's order: to go on, or
    /// to end it.
    Gradual {
        goes_on: bool,
    },
}

/// The version that takes its traffic weight by weight, and the one that stays at the first weight.
const WEIGHTED: u64 = 3;
const STAYING: u64 = 4;

fn happens() -> impl Strategy<Value = Happens> {
    let version = || 1_u64..5;
    let fault = || prop::option::weighted(0.25, (0..PAST, any::<bool>()));
    let how = || {
        prop_oneof![
            1 => Just(How::Instant),
            2 => any::<bool>().prop_map(|goes_on| How::Gradual { goes_on }),
        ]
    };
    let does = prop_oneof![
        3 => version().prop_map(Does::Register),
        6 => (version(), fault(), how()).prop_map(|(version, fault, how)| Does::Activate(version, fault, how)),
        // one that stays at a weight comes to no place after it
        2 => (1..STAYING, 0..PLACES.len()).prop_map(|(version, place)| Does::KillIn(version, place)),
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

/// The manifest of a version, whose number says how its traffic is shifted.
fn manifest(version: u64) -> String {
    let shifting = match version {
        WEIGHTED => "initial: 10, increment: 45, maxIncrement: 45, interval: 10ms",
        STAYING => "initial: 10, increment: 45, maxIncrement: 45, interval: 1h",
        _ => "initial: 100, interval: 10ms",
    };
    format!(
        "lifecycle:\n  activation:\n    confirmWindow: 1h\n    rollbackTriggers: [criticalError]\n    trafficShifting: {{ {shifting} }}\n"
    )
}

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
                self.register(id, &format!("{version}.0.0"), &format!("{needs}{}", manifest(version))).await;
                true
            }
            Does::Activate(wanted, fault, how) => {
                let probe = &self.engine.shared.probe;
                if let Some((place, panics)) = fault {
                    probe.arm(id, PLACES[place], 0, if panics { Act::Panic } else { Act::Error });
                }
                let report = self.activated(id, version(wanted), how).await;
                probe.disarm(id);
                if let (Ok(report), true) = (&report, fault.is_none()) {
                    shifted(report, model.shifts(module, wanted, how), (wanted, how));
                }
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

    /// Activates a version and, once it stays at its first weight, gives the order.
    async fn activated(&self, id: &str, version: Version, how: How) -> Result<ActivationReport, EngineError> {
        let engine = self.engine.by(Who::Admin);
        let How::Gradual { goes_on } = how else {
            return engine.activate(id, &version, Some(ActivationStrategy::Instant)).await;
        };
        let stays = version.major == STAYING;
        let mut events = self.events.subscribe();
        let mut coming = std::pin::pin!(engine.activate(id, &version, None));
        loop {
            let event = tokio::select! {
                biased;
                report = &mut coming => return report,
                event = events.recv() => event.expect("few events"),
            };
            let weight = match &*event {
                Event::TrafficShifted { instance, weight } if *instance.id == *id && stays => *weight,
                _ => continue,
            };
            if weight == 10 {
                let order = if goes_on { Order::Promote { full: true } } else { Order::Abort };
                self.engine.by(Who::Admin).steer(id, order).await.expect("it is at a weight");
            }
        }
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

    fn is_slot(&self, id: &str, model: &reference::Slot, all: &Model) -> Result<(), TestCaseError> {
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

/// What the report tells of the shift of a version without a fault is what the table of its manifest says.
fn shifted(report: &ActivationReport, shifts: bool, (version, how): (u64, How)) {
    let weights: Vec<u8> = report.traffic_shift.iter().map(|shift| shift.weight).collect();
    // the weights from which it went on, by a verdict or an order; one that is given up has none of those
    let expected: &[u8] = match (shifts, version, how) {
        (true, WEIGHTED, _) => &[10, 55],
        (true, STAYING, How::Gradual { goes_on: false }) => &[],
        (true, STAYING, _) => &[10],
        (true, ..) => &[100],
        (false, ..) => &[],
    };
    assert_eq!(weights, expected, "{version}, {how:?}: {report:?}");
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
