use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::engine::outcome::StepOutcome;
use crate::engine::record::Provisional;
use crate::engine::strategy::StepName;
use crate::manifest::ActivationStrategy;

const NOW: u64 = 9_000;

fn version(minor: u64) -> Version {
    Version::new(1, minor, 0)
}

fn slot(serving: Option<u64>, provisional: Option<(u64, u64)>) -> SlotRecord {
    SlotRecord {
        serving: serving.map(version),
        provisional: provisional.map(|(minor, entry)| provisionally(minor, entry)),
        last: serving.map(version),
        since: 1,
        ..SlotRecord::default()
    }
}

fn provisionally(minor: u64, entry: u64) -> Provisional {
    Provisional { version: version(minor), entry, one_way: None, one_way_of: None, frozen: None, set: Vec::new() }
}

fn entry(number: u64, action: Action, of: u64, from: Option<u64>) -> Entry {
    let begun = Entry::begun(action, version(of), from.map(version), ActivationStrategy::Gradual, 5);
    Entry { number, generation: number, ..begun }
}

fn owed(minor: u64) -> Option<Owed> {
    Some(Owed { version: version(minor), migrations: vec![version(minor)] })
}

fn owed_by(settled: &Settled) -> Vec<Owed> {
    settled.owed.iter().map(|(_, owed)| owed.clone()).collect()
}

#[test]
fn each_row_of_the_table_is_decided_as_it_says() {
    let interrupted = |mut entry: Entry| {
        entry.intends(StepName::Migrate);
        entry
    };
    let committed = |entry: Entry| Entry { committed: true, ..entry };
    let act = Action::Activate;
    // (slot, entry) → (what serves, outcome, what is taken back, what of the reason)
    let table = [
        (slot(Some(1), None), interrupted(entry(1, act, 2, Some(1))), Some(1), Outcome::RolledBack, "during migrate"),
        (slot(None, None), entry(1, act, 1, None), None, Outcome::Failed, "before the switch"),
        (slot(Some(1), None), committed(entry(1, act, 1, None)), Some(1), Outcome::Active, ""),
        (slot(Some(1), Some((2, 1))), committed(entry(1, act, 2, Some(1))), Some(1), Outcome::RolledBack, "confirmed"),
        (
            slot(Some(2), None),
            entry(1, Action::Rollback, 1, Some(2)),
            Some(2),
            Outcome::RolledBack,
            "before the switch",
        ),
        (slot(Some(1), None), committed(entry(1, Action::Rollback, 1, Some(2))), Some(1), Outcome::Active, ""),
        (slot(None, None), committed(entry(1, Action::Deactivate, 1, Some(1))), None, Outcome::Inactive, ""),
        (
            slot(Some(1), None),
            entry(1, Action::Deactivate, 1, Some(1)),
            Some(1),
            Outcome::RolledBack,
            "before the switch",
        ),
        // it was given back before the end, and only the entry did not hear of it
        (
            slot(Some(1), None),
            committed(entry(1, act, 2, Some(1))),
            Some(1),
            Outcome::RolledBack,
            "while it was undone",
        ),
    ];
    for (slot, entry, serves, outcome, reason) in table {
        let told = format!("{slot:?} {entry:?}");
        let settled = settle(Some(slot), vec![entry], NOW);
        let decided = &settled.entries[0];
        assert_eq!(settled.slot.unwrap().serving, serves.map(version), "{told}");
        assert_eq!(decided.outcome, Some(outcome), "{told}");
        assert!(decided.reason.as_deref().unwrap_or_default().contains(reason), "{decided:?} of {told}");
        assert_eq!(settled.notes.len(), 1, "{told}");
    }
}

#[test]
fn what_an_undone_version_migrated_is_taken_back_and_what_serves_keeps_its_tables() {
    let owing = |entry: Entry, minor: u64| Entry { owed: owed(minor), ..entry };
    let undone = settle(Some(slot(Some(1), None)), vec![owing(entry(1, Action::Activate, 2, Some(1)), 2)], NOW);
    assert_eq!(owed_by(&undone), owed(2).into_iter().collect::<Vec<_>>());
    // the rollback did not come to its switch: the newer version still needs its tables
    let kept = settle(Some(slot(Some(2), None)), vec![owing(entry(1, Action::Rollback, 1, Some(2)), 2)], NOW);
    assert_eq!(kept.owed, []);
    let back = Entry { committed: true, ..owing(entry(1, Action::Rollback, 1, Some(2)), 2) };
    let finished = settle(Some(slot(Some(1), None)), vec![back], NOW);
    assert_eq!(owed_by(&finished), owed(2).into_iter().collect::<Vec<_>>());
    let serves = Entry { committed: true, ..owing(entry(1, Action::Activate, 1, None), 1) };
    assert_eq!(settle(Some(slot(Some(1), None)), vec![serves], NOW).owed, []);
}

#[test]
fn what_came_last_is_taken_back_first() {
    let owing = |number, minor: u64, committed| Entry {
        owed: owed(minor),
        committed,
        ..entry(number, Action::Activate, minor, Some(1))
    };
    // a provisional version, and one on its way to take over from it
    let open = vec![owing(1, 2, true), owing(2, 3, false)];
    let settled = settle(Some(slot(Some(1), Some((2, 1)))), open, NOW);
    assert_eq!(settled.owed.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn what_a_start_left_owing_is_owed_still_and_decided_no_more() {
    let mut open = entry(1, Action::Activate, 2, Some(1));
    open.end(Outcome::RolledBack, Some("its checks failed".to_owned()), 6);
    open.owes(owed(2).unwrap());
    let settled = settle(Some(slot(Some(1), None)), vec![open.clone()], NOW);
    assert_eq!(settled.owed, [(1, owed(2).unwrap())]);
    assert!(settled.entries.is_empty() && settled.versions.is_empty() && settled.notes.is_empty(), "{settled:?}");
    assert_eq!(settled.left, [Entry { closed: true, owed: None, ..open.clone() }]);
    // it serves since, with what it owed
    let serves = settle(Some(slot(Some(2), None)), vec![open], NOW);
    assert_eq!((serves.owed, serves.left.len()), (Vec::new(), 1));
}

/// As a store that was made anew may have it: the end of an activation was told, and its entry is open still.
#[test]
fn whatever_is_open_what_serves_keeps_its_migrations() {
    let open = |action, committed| Entry { committed, owed: owed(2), ..entry(1, action, 2, Some(1)) };
    for action in [Action::Activate, Action::Resume, Action::Rollback, Action::Deactivate] {
        for committed in [false, true] {
            let settled = settle(Some(slot(Some(2), None)), vec![open(action, committed)], NOW);
            assert_eq!(settled.owed, [], "{action:?} {committed}");
            assert_eq!(settled.slot.unwrap().serving, Some(version(2)), "{action:?} {committed}");
        }
        let settled = settle(Some(slot(Some(1), None)), vec![open(action, false)], NOW);
        assert_eq!(settled.owed.is_empty(), action == Action::Rollback, "{action:?}: it serves not");
    }
}

#[test]
fn a_provisional_version_behind_a_one_way_migration_is_kept() {
    let provisional = Provisional { one_way: Some(version(2)), frozen: Some("it fails".into()), ..provisionally(2, 1) };
    let record = SlotRecord { provisional: Some(provisional), ..slot(Some(1), None) };
    let open = Entry { committed: true, owed: owed(2), ..entry(1, Action::Activate, 2, Some(1)) };
    for open in [vec![open], Vec::new()] {
        let settled = settle(Some(record.clone()), open, NOW);
        let after = settled.slot.unwrap();
        assert_eq!((after.serving, after.previous, after.provisional), (Some(version(2)), Some(version(1)), None));
        assert!(settled.owed.is_empty() && settled.versions.is_empty());
        for decided in settled.entries {
            assert_eq!((decided.outcome, decided.confirmed, decided.closed), (Some(Outcome::Active), Some(NOW), true));
        }
    }
}

/// What a process may leave: a slot, and open entries of which the newest may be provisional. A version owes only
/// migrations that are newer than what serves, and a rollback those of the version it leaves.
fn left() -> impl Strategy<Value = (Option<SlotRecord>, Vec<Entry>)> {
    let action = prop_oneof![
        4 => Just(Action::Activate),
        1 => Just(Action::Resume),
        2 => Just(Action::Rollback),
        1 => Just(Action::Deactivate),
    ];
    let entries = prop::collection::vec((action, 0_u64..5, any::<bool>(), any::<bool>(), 0_usize..4), 0..4);
    (prop::option::of(prop::option::of(0_u64..5)), entries, any::<bool>()).prop_map(|(serving, drawn, provisional)| {
        let at = serving.flatten();
        let mut entries = Vec::new();
        for (number, (action, minor, committed, owes, steps)) in (1_u64..).zip(drawn) {
            let newer = minor + 10 + number;
            let (of, from, owing) = match action {
                Action::Activate => (newer, at, newer),
                Action::Resume | Action::Deactivate => (at.unwrap_or(minor), at, 0),
                // from a version that is left to the one that serves, or not yet
                Action::Rollback if committed => (at.unwrap_or(minor), Some(newer), newer),
                Action::Rollback => (newer, at, at.unwrap_or(minor)),
            };
            let mut one = entry(number, action, of, from);
            one.committed = committed;
            one.owed = owed(owing).filter(|_| owes && matches!(action, Action::Activate | Action::Rollback));
            for _ in 0..steps {
                one.step_ended(1.0, StepOutcome::Done);
                one.intends(StepName::Load);
            }
            entries.push(one);
        }
        let newest = entries.iter().rev().find(|entry| entry.action == Action::Activate && entry.committed);
        let provisional = newest.filter(|_| provisional && at.is_some());
        let provisional = provisional.map(|it| provisionally(it.version.minor, it.number));
        (serving.map(|_| SlotRecord { provisional, ..slot(at, None) }), entries)
    })
}

proptest! {
    #[test]
    fn everything_that_is_open_is_decided_and_nothing_that_serves_is_touched((slot, open) in left()) {
        let serving = slot.as_ref().and_then(|slot| slot.serving.clone());
        let settled = settle(slot.clone(), open.clone(), NOW);
        // one decision each, and none of them open
        let numbers: Vec<u64> = open.iter().map(|entry| entry.number).collect();
        prop_assert_eq!(settled.entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), numbers);
        prop_assert_eq!(settled.notes.len(), open.len());
        for entry in &settled.entries {
            prop_assert!(entry.closed && entry.outcome.is_some() && entry.ended == Some(NOW) && entry.owed.is_none());
            prop_assert!(entry.outcome != Some(Outcome::Provisional));
        }
        // exactly the confirmed version serves
        prop_assert_eq!(settled.slot.is_some(), slot.is_some());
        let after = settled.slot.clone().unwrap_or_default();
        prop_assert_eq!(&after.serving, &serving);
        prop_assert_eq!(&after.provisional, &None);
        // what serves neither failed nor loses its tables
        let failed: BTreeSet<&Version> = settled.versions.iter().map(|(version, _)| version).collect();
        prop_assert!(serving.as_ref().is_none_or(|serving| !failed.contains(serving)));
        prop_assert!(settled.owed.iter().all(|(_, owed)| Some(&owed.version) != serving.as_ref()));
        // what an activation owes is taken back, whether or not it came to its switch
        for entry in open.iter().filter(|entry| entry.action == Action::Activate) {
            let taken_back = entry.owed.as_ref().is_none_or(|owed| settled.owed.contains(&(entry.number, owed.clone())));
            prop_assert!(taken_back, "{:?}", entry);
        }
        // the next start has nothing to decide
        let again = settle(settled.slot.clone(), Vec::new(), NOW + 1);
        prop_assert_eq!(again, Settled { slot: settled.slot.clone(), ..Settled::default() });
        // one that is cut off before it is written decides the same
        prop_assert_eq!(settle(slot, open, NOW), settled);
    }
}
