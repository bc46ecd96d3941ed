use proptest::prelude::*;

use super::*;
use crate::engine::strategy;
use crate::manifest::ActivationStrategy;

fn key(id: &str, generation: u64) -> InstanceKey {
    InstanceKey { id: id.into(), version: format!("1.{generation}.0").into(), generation }
}

fn run(world: &mut World, changes: &[Change]) {
    for change in changes {
        world.apply(change).unwrap_or_else(|e| panic!("{e} in {world:#?}"));
    }
}

/// A command of a random history over two modules.
#[derive(Clone, Debug)]
enum Command {
    Activate { module: usize, gradual: bool, pending: usize, keeps_standby: bool, weights: Vec<u8> },
    Return { module: usize },
    Withdraw { module: usize },
    Deactivate { module: usize },
    Confirm { module: usize },
}

/// A command that is one change.
fn route(id: &str, from: &SlotState, to: SlotState) -> Plan {
    Plan { steps: vec![Step { name: StepName::Activate, changes: vec![Change::route(id, from, &to)] }] }
}

/// The same activation where the traffic moves by these weights first.
fn shifted(mut plan: Plan, key: &InstanceKey, slot: &SlotState, weights: &[u8]) -> Plan {
    let step = plan.steps.iter_mut().find(|step| step.name == StepName::Activate).expect("it takes the traffic");
    let (mut present, mut changes) = (slot.clone(), Vec::new());
    for weight in weights {
        let next = present.turned(&Turn::Shift(Share { key: key.clone(), weight: *weight }));
        changes.push(Change::route(&key.id, &present, &next));
        present = next;
    }
    let last = present.turned(&Turn::TakeOver { key: key.clone(), keeps_standby: true, joins: false });
    changes.push(Change::route(&key.id, &present, &last));
    step.changes = changes;
    plan
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let one = prop_oneof![
        4 => (0usize..2, any::<bool>(), 0usize..3, any::<bool>(), prop::collection::vec(0u8..100, 0..3)).prop_map(
            |(module, gradual, pending, keeps_standby, weights)| {
                Command::Activate { module, gradual, pending, keeps_standby, weights }
            }
        ),
        2 => (0usize..2).prop_map(|module| Command::Return { module }),
        1 => (0usize..2).prop_map(|module| Command::Withdraw { module }),
        1 => (0usize..2).prop_map(|module| Command::Deactivate { module }),
        2 => (0usize..2).prop_map(|module| Command::Confirm { module }),
    ];
    prop::collection::vec(one, 1..24)
}

fn plan(world: &World, command: &Command, generation: u64) -> Option<Plan> {
    let id = |module: usize| ["a", "b"][module];
    let slot = |module: usize| world.slots.get(id(module)).cloned().unwrap_or_default();
    match *command {
        Command::Activate { module, gradual, pending, keeps_standby, ref weights } => {
            let strategy = if gradual { ActivationStrategy::Gradual } else { ActivationStrategy::Instant };
            let applied = world.schema.get(id(module)).map_or(0, Vec::len);
            let pending: Vec<_> = (0..if gradual { pending } else { 0 })
                .map(|n| Version::new(1, u64::try_from(applied + n).expect("small"), 0))
                .collect();
            let (key, steps) = (key(id(module), generation), strategy::steps(strategy));
            let plan = activate(&key, &slot(module), steps, &pending, keeps_standby);
            let shifts = gradual && keeps_standby && slot(module).serving.is_some();
            Some(if shifts { shifted(plan, &key, &slot(module), weights) } else { plan })
        }
        Command::Return { module } => {
            let to = slot(module).turned(&Turn::ReturnToStandby);
            slot(module).standby.is_some().then(|| route(id(module), &slot(module), to))
        }
        Command::Withdraw { module } => slot(module).serving.map(|key| {
            let to = slot(module).turned(&Turn::Withdraw(key));
            route(id(module), &slot(module), to)
        }),
        Command::Deactivate { module } => slot(module).serving.is_some().then(|| {
            let to = slot(module).turned(&Turn::Clear);
            route(id(module), &slot(module), to)
        }),
        Command::Confirm { module } => slot(module).standby.is_some().then(|| {
            let to = slot(module).turned(&Turn::Confirm);
            route(id(module), &slot(module), to)
        }),
    }
}

proptest! {
    #[test]
    fn a_plan_followed_by_its_inverse_restores_the_snapshot(history in commands()) {
        let mut world = World::default();
        for (n, command) in history.iter().enumerate() {
            let Some(plan) = plan(&world, command, n as u64) else { continue };
            let before = world.clone();
            let changes: Vec<_> = plan.changes().cloned().collect();
            run(&mut world, &changes);
            let after = world.clone();
            run(&mut world, &plan.inverse());
            prop_assert_eq!(&world, &before);
            world = after;
        }
    }

    #[test]
    fn a_plan_cut_anywhere_is_undone_by_the_inverse_of_what_was_done(history in commands(), cut in any::<prop::sample::Index>()) {
        let mut world = World::default();
        for (n, command) in history.iter().enumerate() {
            let Some(plan) = plan(&world, command, n as u64) else { continue };
            let changes: Vec<_> = plan.changes().cloned().collect();
            let done = &changes[..cut.index(changes.len() + 1)];
            let mut tried = world.clone();
            run(&mut tried, done);
            let back: Vec<_> = done.iter().rev().filter_map(Change::inverse).collect();
            run(&mut tried, &back);
            prop_assert_eq!(&tried, &world);
            run(&mut world, &changes);
        }
    }

    #[test]
    fn the_six_steps_of_a_rollback_take_any_activation_back_wherever_it_was_cut(history in commands(), cut in any::<prop::sample::Index>()) {
        let mut world = World::default();
        for (n, command) in history.iter().enumerate() {
            let Some(plan) = plan(&world, command, n as u64) else { continue };
            let changes: Vec<_> = plan.changes().cloned().collect();
            if let Command::Activate { module, .. } = command {
                let id = ["a", "b"][*module];
                let done = &changes[..cut.index(changes.len() + 1)];
                let mut tried = world.clone();
                run(&mut tried, done);
                let returned = world.slots.get(id).and_then(|slot| slot.serving.clone());
                let back = roll_back(id, done, returned);
                let names: Vec<_> = back.steps.iter().map(|step| step.name).collect();
                prop_assert_eq!(names, strategy::ROLLBACK);
                run(&mut tried, &back.changes().cloned().collect::<Vec<_>>());
                prop_assert_eq!(&tried, &world);
            }
            run(&mut world, &changes);
        }
    }

    #[test]
    fn a_slot_keeps_its_shape_and_what_is_withdrawn_leaves_the_confirmed_version(history in commands()) {
        let mut world = World::default();
        for (n, command) in history.iter().enumerate() {
            let Some(plan) = plan(&world, command, n as u64) else { continue };
            for change in plan.changes() {
                world.apply(change).unwrap();
                for slot in world.slots.values() {
                    prop_assert!(slot.serving.is_some(), "a slot that is there serves: {:?}", slot);
                    let keys: Vec<_> = slot.keys().collect();
                    let distinct: BTreeSet<_> = keys.iter().collect();
                    prop_assert_eq!(keys.len(), distinct.len(), "nobody has two places: {:?}", slot);
                    let candidate = key("a", 1000);
                    let taken = slot.turned(&Turn::TakeOver { key: candidate.clone(), keeps_standby: true, joins: false });
                    let confirmed = slot.standby.clone().or_else(|| slot.serving.clone());
                    prop_assert_eq!(&taken.standby, &confirmed);
                    let back = taken.turned(&Turn::Withdraw(candidate));
                    prop_assert_eq!(back, SlotState { serving: confirmed, ..SlotState::default() });
                }
            }
        }
    }

    #[test]
    fn nobody_who_keeps_a_place_is_retired(history in commands()) {
        let mut world = World::default();
        for (n, command) in history.iter().enumerate() {
            let Some(plan) = plan(&world, command, n as u64) else { continue };
            for change in plan.changes() {
                if let Change::Route(route) = change {
                    let Route { from, to, .. } = &**route;
                    for gone in retired(from, to) {
                        prop_assert!(to.serving.as_ref() != Some(&gone) && to.standby.as_ref() != Some(&gone));
                    }
                }
            }
            run(&mut world, &plan.changes().cloned().collect::<Vec<_>>());
        }
    }
}

#[test]
fn an_activation_keeps_the_confirmed_version_and_retires_an_unconfirmed_one() {
    let slot = SlotState { serving: Some(key("a", 2)), ..SlotState::default() };
    let plan = activate(&key("a", 3), &slot, strategy::steps(ActivationStrategy::Instant), &[], true);
    let names: Vec<_> = plan.steps.iter().map(|step| step.name.name()).collect();
    assert_eq!(names, ["validate", "prepare", "load", "register", "activate"]);
    let Some(Change::Route(route)) = plan.changes().last() else { panic!("ends with the route") };
    let Route { from, to, .. } = &**route;
    assert_eq!(to.serving, Some(key("a", 3)));
    assert_eq!(to.standby, Some(key("a", 2)));
    assert_eq!(retired(from, to), []);
    let newer = to.turned(&Turn::TakeOver { key: key("a", 4), keeps_standby: true, joins: false });
    assert_eq!((newer.serving.clone(), newer.standby.clone()), (Some(key("a", 4)), Some(key("a", 2))));
    assert_eq!(retired(to, &newer), [key("a", 3)]);
}

#[test]
fn a_rollback_takes_everything_back_in_its_six_steps() {
    let (older, newer) = (key("a", 1), key("a", 2));
    let mut world = World::default();
    let first = activate(&older, &SlotState::default(), strategy::steps(ActivationStrategy::Gradual), &[], true);
    run(&mut world, &first.changes().cloned().collect::<Vec<_>>());
    let before = world.clone();
    let steps = strategy::steps(ActivationStrategy::Gradual);
    let plan = activate(&newer, &world.slots["a"], steps, &[Version::new(2, 0, 0)], true);
    let changes: Vec<_> = plan.changes().cloned().collect();
    for cut in 0..=changes.len() {
        let mut world = before.clone();
        run(&mut world, &changes[..cut]);
        let back = roll_back("a", &changes[..cut], Some(older.clone()));
        let names: Vec<_> = back.steps.iter().map(|step| step.name.name()).collect();
        assert_eq!(names, ["stopTraffic", "deactivate", "rollback", "unregister", "cleanup", "restore"]);
        run(&mut world, &back.changes().cloned().collect::<Vec<_>>());
        assert_eq!(world, before, "cut after {cut} changes");
    }
}
