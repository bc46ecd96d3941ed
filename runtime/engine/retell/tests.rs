//! Slots and entries after what the log tells, told once and told twice.

use super::*;
use crate::engine::board::Slot;
use crate::engine::journal::{Action, Owed};
use crate::engine::jump::Jump;
use crate::engine::outcome::Outcome;
use crate::manifest::ActivationStrategy;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn told(what: What) -> Told {
    Told { id: "m".to_owned(), what, at: 9 }
}

fn serves(text: &str, provisional: bool, number: u64) -> Told {
    let unconfirmed = provisional.then(|| Unconfirmed { back: Back::Is, ..Unconfirmed::default() });
    told(What::Serves { version: version(text), unconfirmed, instant: true, number })
}

/// The slot after what is told, told once and told twice.
fn slot(all: &[Told]) -> SlotRecord {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    retell(&store, all.to_vec()).unwrap();
    let found = || Records::new(store.clone()).slots.get("m").unwrap().unwrap_or_default();
    let once = found();
    retell(&store, all.to_vec()).unwrap();
    let places = |slot: &SlotRecord| (slot.serving.clone(), slot.provisional.clone(), slot.last.clone());
    assert_eq!(places(&found()), places(&once), "told twice");
    check(&store).unwrap();
    once
}

#[test]
fn a_slot_is_what_the_commands_made_of_it() {
    let first = [serves("1.0.0", false, 1)];
    let shown = |slot: SlotRecord| {
        let text = |version: Option<Version>| version.map_or("-".to_owned(), |version| version.to_string());
        let provisional = slot.provisional.map(|it| it.version);
        [slot.serving, provisional, slot.previous, slot.last].map(text).join(" ")
    };
    let after = |more: &[Told]| shown(slot(&[&first[..], more].concat()));
    assert_eq!(after(&[]), "1.0.0 - - 1.0.0");
    let second = serves("2.0.0", true, 2);
    assert_eq!(after(std::slice::from_ref(&second)), "1.0.0 2.0.0 - 2.0.0");
    let confirmed = told(What::Confirmed(version("2.0.0")));
    assert_eq!(after(&[second.clone(), confirmed.clone()]), "2.0.0 - 1.0.0 2.0.0");
    assert_eq!(after(&[second.clone(), told(What::Restarted)]), "1.0.0 - - 2.0.0");
    let failed = told(What::Failed { version: version("2.0.0"), reason: Some("it failed".to_owned()), number: 2 });
    assert_eq!(after(&[second.clone(), failed]), "1.0.0 - - 2.0.0");
    let gone = told(What::Deactivated { version: version("2.0.0"), number: 3 });
    assert_eq!(after(&[second.clone(), confirmed.clone(), gone]), "- - 1.0.0 2.0.0");
    assert_eq!(after(&[second, confirmed, serves("1.0.0", false, 3)]), "1.0.0 - - 1.0.0", "a rollback");
}

#[test]
fn numbers_and_generations_are_not_given_again() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let all = [told(What::Generation(7)), serves("1.0.0", false, 5), told(What::Generation(3))];
    retell(&store, all.to_vec()).unwrap();
    let records = Records::new(store);
    assert_eq!((records.generations.get("m"), records.numbers.get("m")), (Ok(Some(7)), Ok(Some(5))));
}

fn unconfirmed(back: Back, set: &[&str], owed: &[&str]) -> Told {
    let set = set.iter().map(|&id| id.to_owned()).collect();
    let owed = owed.iter().map(|&text| version(text)).collect();
    let unconfirmed = Some(Unconfirmed { back, set, owed });
    told(What::Serves { version: version("2.0.0"), unconfirmed, instant: false, number: 2 })
}

#[test]
fn no_restart_returns_across_a_migration_without_a_way_back_or_one_of_which_nothing_is_told() {
    let one_way = Back::OneWay(version("1.5.0"), Some("n".to_owned()));
    for (back, stays) in [(one_way.clone(), "2.0.0"), (Back::Untold, "2.0.0"), (Back::Is, "1.0.0")] {
        let all = [serves("1.0.0", false, 1), unconfirmed(back.clone(), &["m", "n"], &[])];
        let before = slot(&all);
        assert_eq!(before.set(), ["m", "n"]);
        let after = slot(&[&all[..], &[told(What::Restarted)]].concat());
        assert_eq!((after.serving, after.provisional), (Some(version(stays)), None), "{back:?}");
    }
    let provisional = slot(&[serves("1.0.0", false, 1), unconfirmed(one_way, &[], &[])]).provisional.unwrap();
    assert_eq!(provisional.one_way().as_deref(), Some("1.5.0 of n"));
}

#[test]
fn what_a_snapshot_knows_of_a_provisional_version_stays_when_that_is_told_again() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let records = Records::new(store.clone());
    let (one_way, set) = (Some(version("2.0.0")), vec!["m".to_owned(), "n".to_owned()]);
    let frozen = Some("it fails".to_owned());
    let known = Provisional { version: version("2.0.0"), entry: 2, one_way, one_way_of: None, frozen, set };
    let (serving, provisional) = (Some(version("1.0.0")), Some(known.clone()));
    let mut batch = Batch::new();
    batch.put(&records.slots, "m", &SlotRecord { serving, provisional, ..SlotRecord::default() }).unwrap();
    store.commit_blocking(batch).unwrap();
    for _ in 0..2 {
        retell(&store, vec![unconfirmed(Back::Is, &[], &[])]).unwrap();
        assert_eq!(records.slots.get("m").unwrap().unwrap().provisional, Some(known.clone()));
    }
}

/// A store whose snapshot had entry 2, an activation of 2.0.0 on its way that owes a migration, with what else is done to it.
fn interrupted(all: &[Told]) -> (tempfile::TempDir, Records) {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let records = Records::new(store.clone());
    retell(&store, vec![serves("1.0.0", false, 1)]).unwrap();
    let begun =
        Entry::begun(Action::Activate, version("2.0.0"), Some(version("1.0.0")), ActivationStrategy::Gradual, 1);
    let owed = Some(Owed { version: version("2.0.0"), migrations: vec![version("2.0.0")] });
    let mut batch = Batch::new();
    records.put_entry(&mut batch, "m", &Entry { number: 2, owed, ..begun }).unwrap();
    store.commit_blocking(batch).unwrap();
    retell(&store, all.to_vec()).unwrap();
    (dir, records)
}

#[test]
fn an_entry_that_was_open_is_closed_by_what_is_told_of_its_end() {
    let provisional = || unconfirmed(Back::Is, &[], &["2.0.0"]);
    let active = || serves("2.0.0", false, 2);
    let failed = told(What::Failed { version: version("2.0.0"), reason: None, number: 2 });
    let gone = told(What::Deactivated { version: version("2.0.0"), number: 3 });
    let confirmed = told(What::Confirmed(version("2.0.0")));
    for (all, outcome) in [
        (vec![active()], Outcome::Active),
        (vec![provisional(), confirmed], Outcome::Active),
        (vec![failed.clone()], Outcome::RolledBack),
        (vec![provisional(), failed], Outcome::RolledBack),
        (vec![provisional(), gone], Outcome::Provisional),
        (vec![provisional(), serves("1.0.0", false, 3)], Outcome::Provisional),
        (vec![provisional(), told(What::Restarted)], Outcome::RolledBack),
        (vec![told(What::Restarted)], Outcome::RolledBack),
    ] {
        let (_dir, records) = interrupted(&all);
        let entry = records.entry("m", 2).unwrap().unwrap();
        assert!(entry.closed && entry.owed.is_none() && entry.outcome == Some(outcome), "{all:?}: {entry:?}");
        assert_eq!(records.all().unwrap().open, std::collections::BTreeMap::new(), "{all:?}");
    }
}

#[test]
fn a_provisional_version_has_an_open_entry_that_owes_what_is_told_also_where_the_snapshot_had_none() {
    let owed = Some(Owed { version: version("2.0.0"), migrations: vec![version("1.5.0"), version("2.0.0")] });
    let told = unconfirmed(Back::Is, &[], &["1.5.0", "2.0.0"]);
    let (_dir, with) = interrupted(std::slice::from_ref(&told));
    let dir = tempfile::TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    retell(&store, vec![serves("1.0.0", false, 1), told]).unwrap();
    for records in [with, Records::new(store)] {
        let mut kept = records.all().unwrap();
        let settled = settle(kept.slots.remove("m"), kept.open.remove("m").unwrap(), 9);
        let owing: Vec<_> = settled.owed.into_iter().map(|(_, owed)| owed).collect();
        assert_eq!(owing, owed.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(settled.slot.unwrap().serving, Some(version("1.0.0")));
    }
}

/// A rollback takes back behind its switch, and the log does not tell that it did: it is done once more, and finds nothing
/// unless the version that it left serves again.
#[test]
fn what_a_rollback_owes_is_taken_back_once_more_unless_something_served_since() {
    let back = || serves("1.0.0", false, 3);
    for (since, owes) in [
        (vec![back()], 1),
        (vec![back(), back()], 1),
        (vec![back(), told(What::Failed { version: version("3.0.0"), reason: None, number: 4 })], 1),
        (vec![back(), serves("2.0.0", false, 4)], 0),
        (vec![back(), serves("2.0.0", true, 4)], 0),
        (vec![back(), told(What::Deactivated { version: version("1.0.0"), number: 4 })], 0),
        (vec![back(), told(What::Restarted)], 0),
    ] {
        let (_dir, records) = interrupted(&[serves("2.0.0", false, 2)]);
        let begun = Entry::begun(Action::Rollback, version("1.0.0"), None, ActivationStrategy::Instant, 1);
        let owed = Some(Owed { version: version("2.0.0"), migrations: vec![version("2.0.0")] });
        let mut batch = Batch::new();
        records.put_entry(&mut batch, "m", &Entry { number: 3, owed, ..begun }).unwrap();
        records.store.commit_blocking(batch).unwrap();
        retell(&records.store, since.clone()).unwrap();
        let mut kept = records.all().unwrap();
        let settled = settle(kept.slots.remove("m"), kept.open.remove("m").unwrap_or_default(), 9);
        assert_eq!(settled.owed.len(), owes, "{since:?}: {settled:?}");
    }
}

#[test]
fn a_salvaged_entry_that_is_closed_is_not_open_and_its_number_is_not_given_again() {
    let (_dir, records) = interrupted(&[]);
    let mut entry = records.entry("m", 2).unwrap().unwrap();
    entry.confirm(9);
    let mut batch = Batch::new();
    for number in [2, 7] {
        batch.put(&records.journal, ("m", number), &Entry { number, ..entry.clone() }).unwrap();
    }
    records.store.commit_blocking(batch).unwrap();
    assert_eq!(records.all().unwrap().open.len(), 1, "its key is there still");
    salvaged(&records.store).unwrap();
    assert_eq!(records.all().unwrap().open.len(), 0);
    assert_eq!(records.numbers.get("m"), Ok(Some(7)));
}

#[test]
fn a_set_is_confirmed_as_one_and_returns_as_one_where_the_log_ends_in_between() {
    let of = |id: &str, told: Told| Told { id: id.to_owned(), ..told };
    let failed = What::Failed { version: version("2.0.0"), reason: None, number: 2 };
    for (what, expected) in
        [(What::Confirmed(version("2.0.0")), "2.0.0"), (failed, "1.0.0"), (serves("1.0.0", false, 3).what, "1.0.0")]
    {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut all = Vec::new();
        for id in ["m", "n"] {
            all.push(of(id, serves("1.0.0", false, 1)));
            all.push(of(id, unconfirmed(Back::Is, &["m", "n"], &["2.0.0"])));
        }
        // one that was provisional with others, since
        all.push(of("x", serves("1.0.0", false, 1)));
        all.push(of("x", unconfirmed(Back::Is, &["n", "x"], &[])));
        all.push(told(what.clone()));
        retell(&store, all).unwrap();
        let kept = Records::new(store).all().unwrap();
        for id in ["m", "n"] {
            let slot = &kept.slots[id];
            assert_eq!(
                (slot.serving.clone(), slot.provisional.clone()),
                (Some(version(expected)), None),
                "{what:?} {id}"
            );
        }
        assert!(kept.slots["x"].provisional.is_some(), "{what:?}");
        assert_eq!(kept.open.keys().collect::<Vec<_>>(), ["x"], "{what:?}");
    }
}

#[test]
fn a_jump_is_over_where_the_log_tells_that_it_arrived_or_is_back() {
    let is_left = |what: What| {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let records = Records::new(store.clone());
        let (mut batch, mut jump) = (Batch::new(), Jump::begun(&Slot::default(), &version("1.0.0"), &version("3.0.0")));
        jump.leg = 3;
        batch.put(&records.jumps, "m", &jump).unwrap();
        store.commit_blocking(batch).unwrap();
        retell(&store, vec![told(what)]).unwrap();
        records.jumps.get("m").unwrap().is_some()
    };
    let serves = |text: &str, number| serves(text, number == 4, number).what;
    assert!(is_left(serves("1.0.0", 2)), "it began there");
    assert!(is_left(serves("2.0.0", 3)), "a stop");
    assert!(is_left(told(What::Confirmed(version("2.0.0"))).what));
    assert!(is_left(What::Restarted));
    assert!(!is_left(serves("3.0.0", 4)), "it arrived");
    assert!(!is_left(serves("1.0.0", 5)), "it is back");
    assert!(!is_left(What::Deactivated { version: version("2.0.0"), number: 5 }));
}
