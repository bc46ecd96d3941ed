//! Timers without a module.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;

mod again;

fn free(_: &Value) -> Result<Parcel, NoRoom> {
    Ok(Parcel::none(Arc::default()))
}

fn timer(id: Option<&str>, millis: u64, repeats: bool) -> Timer {
    let every = Duration::from_millis(millis);
    Timer { id: id.map(str::to_owned), every, repeats, topic: "x.y".into(), payload: Value::Null }
}

fn version(number: u64) -> InstanceKey {
    InstanceKey { id: "x".into(), version: format!("{number}.0.0").into(), generation: 1 }
}

/// A run of `init`, which each VM begins anew.
fn init() -> Readying {
    Readying::of("init").expect("it gets ready")
}

/// Counts the ticks of all its timers.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn set(&self, timers: &Timers, timer: Timer) -> Result<String, NotSet> {
        self.with(|beat| timers.set(timer, beat, free))
    }

    fn with<R>(&self, work: impl FnOnce(&Beat<'_, Box<dyn Fn(&Timer) + Send + Sync>>) -> R) -> R {
        let tick = |_: &Timer| -> Box<dyn Fn(&Timer) + Send + Sync> {
            let counted = Arc::clone(&self.0);
            Box::new(move |_| {
                counted.fetch_add(1, Ordering::AcqRel);
            })
        };
        work(&Beat { runtime: &Handle::current(), tick: &tick })
    }

    async fn reaches(&self, count: usize) {
        while self.0.load(Ordering::Acquire) < count {
            tokio::task::yield_now().await;
        }
    }
}

fn cancel(timers: &Timers, id: &str) -> bool {
    timers.cancel(id, &version(1), false)
}

/// What ticks: the ids, with the milliseconds between two ticks.
fn running(timers: &Timers) -> Vec<(String, u128)> {
    let table = lock(&timers.table);
    let mut all: Vec<_> =
        table.running.iter().map(|(id, running)| (id.clone(), running.kept.timer.every.as_millis())).collect();
    all.sort();
    all
}

#[tokio::test]
async fn one_that_does_not_repeat_ticks_once_and_is_gone() {
    let (timers, ticks) = (Timers::default(), Count::default());
    let once = ticks.set(&timers, timer(None, 10, false)).expect("there is room");
    let other = ticks.set(&timers, timer(None, 10, true)).expect("there is room");
    assert_ne!(once, other);
    ticks.reaches(4).await;
    assert!(!cancel(&timers, &once), "it has ended by itself");
    assert!(cancel(&timers, &other) && !cancel(&timers, &other));
}

#[tokio::test]
async fn the_same_timer_under_its_id_goes_on_and_another_one_replaces_it() {
    let (timers, first) = (Timers::default(), Count::default());
    let named = |millis| timer(Some("a"), millis, true);
    assert_eq!(first.set(&timers, named(3_600_000)), Ok("a".to_owned()));
    let serial = lock(&timers.table).running["a"].serial;
    let none = |_: &Value| Err(NoRoom { bytes: 1, reserved: 1, quota: 1 });
    first.with(|beat| timers.set(named(3_600_000), beat, none)).expect("it is there, and needs no room");
    assert_eq!(lock(&timers.table).running["a"].serial, serial, "it was not set anew");
    let second = Count::default();
    second.set(&timers, named(10)).expect("it replaces the first");
    second.reaches(2).await;
    assert_eq!((first.0.load(Ordering::Acquire), running(&timers).len()), (0, 1));
}

#[tokio::test]
async fn there_are_at_most_a_thousand_and_an_end_makes_room() {
    let (timers, ticks) = (Timers::default(), Count::default());
    let ids: Vec<_> =
        (0..MAX_TIMERS).map(|_| ticks.set(&timers, timer(None, 3_600_000, true)).expect("there is room")).collect();
    assert_eq!(ticks.set(&timers, timer(Some("one more"), 10, true)), Err(NotSet::TooMany));
    assert!(cancel(&timers, &ids[7]));
    assert!(ticks.set(&timers, timer(Some("one more"), 10, true)).is_ok());
    let task = lock(&timers.table).running["one more"].task.clone();
    timers.clear();
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_timers_of_a_version_tick_while_it_has_the_slot_and_come_back_with_it() {
    let (timers, ticks) = (Timers::default(), Count::default());
    let hours = |hours: u64| hours * 3_600_000;
    let own = |number, owns, id, millis, repeats| {
        let set = |beat: &Beat<'_, _>| {
            timers.set_own((&version(number), || owns), (timer(Some(id), millis, repeats), &init()), beat, free)
        };
        ticks.with(set).expect("there is room");
    };
    own(1, true, "both", hours(1), true);
    own(1, true, "same", hours(2), true);
    own(1, true, "first", hours(3), true);
    own(1, true, "late", hours(4), false);
    ticks.set(&timers, timer(Some("slot"), hours(5), false)).expect("there is room");
    let before = running(&timers);
    let serial = || lock(&timers.table).running["same"].serial;
    let goes_on = serial();
    // a candidate changes nothing
    own(2, false, "both", hours(7), true);
    own(2, false, "same", hours(2), true);
    own(2, false, "second", hours(8), true);
    assert!(!timers.cancel("first", &version(2), true), "it has none of that id");
    assert_eq!(running(&timers), before);
    ticks.with(|beat| timers.move_to(&version(2), beat));
    let of =
        |all: &[(&str, u64)]| all.iter().map(|(id, of)| ((*id).to_owned(), u128::from(hours(*of)))).collect::<Vec<_>>();
    assert_eq!(running(&timers), of(&[("both", 7), ("same", 2), ("second", 8), ("slot", 5)]));
    ticks.with(|beat| timers.move_to(&version(1), beat));
    timers.forget(&version(2));
    assert_eq!((running(&timers), serial()), (before, goes_on));
}

#[tokio::test]
async fn what_ticked_once_does_not_do_so_again_when_its_version_is_back() {
    let (timers, ticks) = (Timers::default(), Count::default());
    let once = |beat: &Beat<'_, _>| {
        timers
            .set_own((&version(1), || true), (timer(Some("once"), 10, false), &init()), beat, free)
            .expect("there is room")
    };
    ticks.with(once);
    ticks.reaches(1).await;
    ticks.with(|beat| timers.move_to(&version(2), beat));
    ticks.with(|beat| timers.move_to(&version(1), beat));
    assert!(running(&timers).is_empty());
}

#[tokio::test]
async fn nothing_is_kept_of_what_ticked_once_however_often_init_sets_it() {
    let (timers, ticks) = (Timers::default(), Count::default());
    for round in 1..=MAX_TIMERS + 1 {
        let once =
            |beat: &Beat<'_, _>| timers.set_own((&version(1), || true), (timer(None, 1, false), &init()), beat, free);
        ticks.with(once).expect("there is room");
        ticks.reaches(round).await;
    }
    let table = lock(&timers.table);
    assert_eq!((table.running.len(), table.own[&version(1)].len()), (0, 0));
}

#[tokio::test]
async fn what_others_have_set_keeps_no_version_from_its_own_and_its_init_cancels_none_of_it() {
    let (timers, ticks) = (Timers::default(), Count::default());
    for number in 0..MAX_TIMERS {
        ticks.set(&timers, timer(Some(&number.to_string()), 3_600_000, true)).expect("there is room");
    }
    assert!(!timers.cancel("7", &version(1), true));
    let own = timer(Some("7"), 7_200_000, true);
    ticks
        .with(|beat| timers.set_own((&version(1), || true), (own, &init()), beat, free))
        .expect("it counts for itself");
    assert!(timers.cancel("7", &version(1), true));
    ticks.with(|beat| timers.move_to(&version(2), beat));
    assert_eq!(running(&timers).len(), MAX_TIMERS, "what it covered is back");
}

#[tokio::test]
async fn a_timer_of_the_slot_is_back_where_the_version_that_replaced_it_is_taken_back() {
    for millis in [3_600_000, 7_200_000] {
        let (timers, ticks) = (Timers::default(), Count::default());
        ticks.set(&timers, timer(Some("tidy"), 3_600_000, true)).expect("there is room");
        let before = running(&timers);
        let own = timer(Some("tidy"), millis, true);
        ticks
            .with(|beat| timers.set_own((&version(2), || false), (own.clone(), &init()), beat, free))
            .expect("there is room");
        ticks.with(|beat| timers.move_to(&version(2), beat));
        assert_eq!(running(&timers), [("tidy".to_owned(), u128::from(millis))]);
        ticks.with(|beat| timers.move_to(&version(1), beat));
        timers.forget(&version(2));
        assert_eq!(running(&timers), before);
        assert!(lock(&timers.table).running["tidy"].of.is_none(), "it is the slot's as before");
        // the same again, and confirmed
        ticks.with(|beat| timers.set_own((&version(3), || false), (own, &init()), beat, free)).expect("there is room");
        ticks.with(|beat| timers.move_to(&version(3), beat));
        timers.settle();
        ticks.with(|beat| timers.move_to(&version(4), beat));
        assert!(running(&timers).is_empty(), "it was replaced for good");
    }
}
