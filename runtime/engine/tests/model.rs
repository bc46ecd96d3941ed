//! Random sequences of commands, faults, stops and kills against a small model of what a slot is.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::store::audit::Who;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happens {
    Register(u64),
    /// Activates a version; the second: its bindings cannot be made, and it is taken back.
    Activate(u64, bool),
    Confirm,
    Rollback(Option<u64>),
    Deactivate,
    Unregister(u64),
    /// A trigger of what serves.
    Trip,
    Stop,
    Kill,
}

fn happens() -> impl Strategy<Value = Happens> {
    let version = || 1_u64..5;
    prop_oneof![
        3 => version().prop_map(Happens::Register),
        6 => (version(), prop::bool::weighted(0.25)).prop_map(|(version, fails)| Happens::Activate(version, fails)),
        2 => Just(Happens::Confirm),
        2 => prop::option::of(version()).prop_map(Happens::Rollback),
        1 => Just(Happens::Deactivate),
        1 => version().prop_map(Happens::Unregister),
        2 => Just(Happens::Trip),
        1 => Just(Happens::Stop),
        1 => Just(Happens::Kill),
    ]
}

/// What a slot is, by the table of states.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    registered: BTreeSet<u64>,
    /// What a restart starts.
    confirmed: Option<u64>,
    provisional: Option<u64>,
    /// What a rollback of a confirmed version returns to.
    previous: Option<u64>,
}

impl Model {
    fn serving(&self) -> Option<u64> {
        self.provisional.or(self.confirmed)
    }

    fn standby(&self) -> Option<u64> {
        self.provisional.and(self.confirmed)
    }

    fn returns_to(&self) -> Option<u64> {
        if self.provisional.is_some() { self.confirmed } else { self.previous }
    }

    /// The model after it, and whether the command is carried out; a command that is refused changes nothing.
    fn after(&self, happens: &Happens) -> (Self, bool) {
        let (mut next, known) = (self.clone(), |version: u64| self.registered.contains(&version));
        let done = match *happens {
            Happens::Register(version) => {
                next.registered.insert(version);
                true
            }
            Happens::Activate(version, _) if !known(version) => false,
            Happens::Activate(version, _) if self.serving() == Some(version) => true,
            Happens::Activate(version, _) if self.standby() == Some(version) => {
                next.provisional = None;
                true
            }
            // it is taken back, which is an outcome
            Happens::Activate(_, true) => true,
            Happens::Activate(version, false) if self.confirmed.is_none() => {
                (next.confirmed, next.previous) = (Some(version), None);
                true
            }
            Happens::Activate(version, false) => {
                next.provisional = Some(version);
                true
            }
            Happens::Confirm => {
                if let Some(provisional) = next.provisional.take() {
                    next.previous = next.confirmed.replace(provisional);
                }
                self.serving().is_some()
            }
            Happens::Rollback(to) => self.rolled_back(to, &mut next),
            Happens::Deactivate => {
                (next.confirmed, next.provisional) = (None, None);
                self.serving().is_some()
            }
            Happens::Unregister(version) => {
                let runs = self.serving() == Some(version) || self.standby() == Some(version);
                let done = known(version) && !runs;
                if done {
                    next.registered.remove(&version);
                    next.previous = next.previous.filter(|previous| *previous != version);
                }
                done
            }
            Happens::Trip | Happens::Stop | Happens::Kill => {
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

const MANIFEST: &str = "lifecycle:\n  activation:\n    confirmWindow: 1h\n    rollbackTriggers: [criticalError]\n    trafficShifting: { initial: 100, interval: 10ms }\n";

fn label(version: u64) -> String {
    format!("a@{version}.0.0")
}

impl World {
    /// Does it, and says whether it was carried out.
    async fn meets(self, happens: &Happens) -> (Self, bool) {
        // a handle that is kept would keep the store from being opened again
        let engine = || self.engine.by(Who::Admin);
        let version = |version: u64| Version::new(version, 0, 0);
        let done = match *happens {
            Happens::Register(version) => {
                self.register("a", &format!("{version}.0.0"), MANIFEST).await;
                true
            }
            Happens::Activate(wanted, fails) => {
                if fails {
                    self.fail(&[(Place::Commit, Fault::Error)]);
                }
                let report = engine().activate("a", &version(wanted), None).await;
                self.fail(&[]);
                report.is_ok()
            }
            Happens::Confirm => engine().confirm("a").await.is_ok(),
            Happens::Rollback(to) => engine().rollback("a", to.map(version).as_ref()).await.is_ok(),
            Happens::Deactivate => engine().deactivate("a").await.is_ok(),
            Happens::Unregister(gone) => engine().unregister("a", Some(&version(gone))).await.is_ok(),
            Happens::Trip => {
                self.trips().await;
                true
            }
            Happens::Stop => {
                let world = self.restarted().await;
                world.engine.resume().await;
                return (world, true);
            }
            Happens::Kill => {
                let killed = self.killed().await;
                killed.engine.resume().await;
                return (killed, true);
            }
        };
        (self, done)
    }

    /// The tree of what serves gives up; returns once that was dealt with.
    async fn trips(&self) {
        let slot = self.engine.shared.board.slot("a").state;
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
        let text = |version: Option<u64>| version.map(|version| format!("{version}.0.0"));
        prop_assert_eq!(self.routed("a"), text(model.serving()), "{:?}", model);
        let slot = self.engine.slots().into_iter().find(|slot| slot.id == "a");
        let slot = slot.filter(|slot| matches!(slot.state, State::Active | State::Provisional));
        let seen = slot.map(|slot| (slot.version, slot.previous, slot.state == State::Provisional, slot.weight));
        let expected = text(model.serving());
        let expected = expected.map(|serving| (serving, text(model.returns_to()), model.provisional.is_some(), 100));
        prop_assert_eq!(seen, expected, "{:?}", model);
        let mut placed: Vec<String> = model.serving().into_iter().chain(model.standby()).map(label).collect();
        placed.sort();
        // what lost its place drains beside everything else
        for _ in 0..1_000_000 {
            if self.held() == placed {
                break;
            }
            tokio::task::yield_now().await;
        }
        prop_assert_eq!(self.held(), placed, "{:?}", model);
        for version in model.registered.iter().copied() {
            let state = self.state(&label(version));
            let expected = match version {
                _ if model.provisional == Some(version) => state == State::Provisional,
                _ if model.standby() == Some(version) => state == State::Standby,
                _ if model.confirmed == Some(version) => state == State::Active,
                _ => matches!(state, State::Registered | State::Inactive | State::Failed | State::Draining),
            };
            prop_assert!(expected, "{} is {} in {:?}", label(version), state, model);
        }
        Ok(())
    }
}

proptest! {
    // each case is a runtime with its store, and some of its restarts
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 8))]

    #[test]
    fn a_slot_is_what_the_table_of_states_says_whatever_happens(all in prop::collection::vec(happens(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut world, mut model) = (World::new().await, Model::default());
            for happens in &all {
                let (next, done) = model.after(happens);
                let (there, carried_out) = world.meets(happens).await;
                world = there;
                prop_assert_eq!(carried_out, done, "{:?} in {:?}", happens, model);
                model = next;
                world.is(&model).await?;
            }
            Ok(())
        })?;
    }
}
