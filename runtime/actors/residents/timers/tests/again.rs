//! What the VMs of a version set again.

use std::collections::BTreeMap;

use super::*;
use crate::sandbox::quota::Account;
use crate::sandbox::quota::heap::HeapShare;

/// What was said by the ticks of all its timers, and how often.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<BTreeMap<String, u128>>>);

impl Heard {
    /// Sets what a run of version 2 sets.
    fn set(&self, timers: &Timers, owns: bool, timer: Timer, run: &Readying) -> Result<String, NotSet> {
        self.with(|beat| timers.set_own((&version(2), || owns), (timer, run), beat, free))
    }

    fn with<R>(&self, work: impl FnOnce(&Beat<'_, Box<dyn Fn(&Timer) + Send + Sync>>) -> R) -> R {
        let tick = |_: &Timer| -> Box<dyn Fn(&Timer) + Send + Sync> {
            let heard = self.clone();
            Box::new(move |timer| *heard.all().entry(format!("{:?}", timer.payload)).or_default() += 1)
        };
        work(&Beat { runtime: &Handle::current(), tick: &tick })
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, u128>> {
        self.0.lock().expect("no test panics with it")
    }

    fn of(&self, payload: i64) -> u128 {
        self.all().get(&format!("{:?}", Value::from(payload))).copied().unwrap_or_default()
    }

    fn count(&self) -> u128 {
        self.all().values().sum()
    }
}

fn says(payload: i64, timer: Timer) -> Timer {
    Timer { payload: Value::from(payload), ..timer }
}

fn serials(timers: &Timers) -> BTreeMap<String, u64> {
    lock(&timers.table).running.iter().map(|(id, running)| (id.clone(), running.serial)).collect()
}

/// Lets VMs be made until it is so; with each, `vm` sets what it sets.
async fn vms_until(is: impl Fn() -> bool, mut vm: impl FnMut(i64)) {
    let late = Instant::now() + Duration::from_secs(20);
    for number in 0.. {
        vm(number);
        tokio::task::yield_now().await;
        if is() {
            return;
        }
        assert!(Instant::now() < late, "the VMs keep it from ticking");
    }
}

#[tokio::test]
async fn two_of_a_kind_without_an_id_in_one_init_are_two_timers_that_each_vm_finds_again() {
    let (timers, heard, begun) = (Timers::default(), Heard::default(), Instant::now());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let run = init();
        let ids: Vec<_> = [1, 2].map(|said| heard.set(&timers, true, says(said, timer(None, 20, true)), &run)).into();
        seen.push((ids, serials(&timers)));
    }
    assert!(seen.iter().all(|run| *run == seen[0]), "{seen:?}");
    assert_ne!(seen[0].0[0], seen[0].0[1]);
    while heard.of(1) < 3 || heard.of(2) < 3 {
        tokio::task::yield_now().await;
    }
    let counts = (heard.of(1), heard.of(2));
    let periods = begun.elapsed().as_millis() / 20;
    assert!(counts.0 <= periods && counts.1 <= periods, "{counts:?} in {periods}: once a period each");
    // the other handler names its own
    let warmup = Readying::of("warmup").expect("it gets ready");
    heard.set(&timers, true, says(3, timer(None, 20, true)), &warmup).expect("there is room");
    assert_eq!(running(&timers).len(), 3);
}

#[tokio::test]
async fn however_often_vms_are_made_what_init_sets_ticks_in_time_and_says_what_the_last_one_said() {
    for (id, repeats) in [(None, true), (Some("a"), true), (None, false), (Some("a"), false)] {
        for differs in [true, false] {
            let (timers, heard, begun) = (Timers::default(), Heard::default(), Instant::now());
            let set = |number| {
                let own = says(if differs { number } else { 0 }, timer(id, 20, repeats));
                heard.set(&timers, true, own, &init()).expect("there is room");
            };
            vms_until(|| heard.count() >= 3, set).await;
            let (count, periods) = (heard.count(), begun.elapsed().as_millis() / 20);
            assert!(count <= periods, "{id:?}, {repeats}: {count} in {periods}");
            assert_eq!(heard.all().len() > 1, differs, "{id:?}, {repeats}");
            let table = lock(&timers.table);
            assert!(table.running.len() <= 1 && table.own[&version(2)].len() <= 1, "{id:?}, {repeats}");
        }
    }
}

#[tokio::test]
async fn another_time_or_topic_under_the_id_is_another_timer_that_begins_anew() {
    let (timers, heard) = (Timers::default(), Heard::default());
    let first = timer(Some("a"), 3_600_000, true);
    let topic = Timer { topic: "x.z".into(), ..first.clone() };
    let mut seen = std::collections::BTreeSet::new();
    for own in [first, topic, timer(Some("a"), 7_200_000, true), timer(Some("a"), 7_200_000, false)] {
        heard.set(&timers, true, own, &init()).expect("there is room");
        let now = serials(&timers);
        assert!(now.len() == 1 && seen.insert(now["a"]), "{now:?}");
    }
}

#[tokio::test]
async fn what_waits_aside_has_the_last_payload_and_begins_when_its_version_has_the_slot() {
    let (timers, heard) = (Timers::default(), Heard::default());
    let hours = |said, owns| {
        let run = init();
        for id in [None, None, Some("a")] {
            for repeats in [true, false] {
                let id = id.map(|id| format!("{id}-{repeats}"));
                let own = Timer { id, ..says(said, timer(None, 3_600_000, repeats)) };
                heard.set(&timers, owns, own, &run).expect("there is room");
            }
        }
    };
    let payloads = || -> Vec<Value> {
        lock(&timers.table).running.values().map(|running| running.kept.timer.payload.clone()).collect()
    };
    hours(1, false);
    hours(2, false);
    assert!(running(&timers).is_empty());
    heard.with(|beat| timers.move_to(&version(2), beat));
    assert_eq!(payloads(), vec![Value::from(2); 6]);
    let began = serials(&timers);
    hours(3, true);
    heard.with(|beat| timers.move_to(&version(2), beat));
    assert_eq!((payloads(), serials(&timers)), (vec![Value::from(3); 6], began.clone()));
    // what another version sets alike goes on where it repeats; nothing else does
    let other = |beat: &Beat<'_, _>| {
        let run = init();
        for said in [3, 4] {
            let own = says(said, timer(None, 3_600_000, true));
            timers.set_own((&version(3), || false), (own, &run), beat, free).expect("there is room");
        }
    };
    heard.with(other);
    heard.with(|beat| timers.move_to(&version(3), beat));
    let now = serials(&timers);
    assert_eq!(now.len(), 2);
    assert_eq!(now.iter().filter(|(id, serial)| began.get(*id) == Some(serial)).count(), 1);
    heard.with(|beat| timers.move_to(&version(2), beat));
    assert_eq!(payloads(), vec![Value::from(3); 6], "its own are back");
}

#[tokio::test]
async fn a_payload_that_takes_the_place_of_another_gives_back_its_room() {
    let (timers, heard, account) = (Timers::default(), Heard::default(), Arc::<Account>::default());
    let hold = |payload: &Value| {
        let mut room = Parcel::none(Arc::clone(&account));
        room.resize(HeapShare::new(1 << 20, 1 << 10, 1, true), payload.size()).map(|()| room)
    };
    let set = |bytes: usize, owns: bool| {
        let own = Timer { payload: Value::from("x".repeat(bytes).as_str()), ..timer(Some("a"), 3_600_000, true) };
        let size = own.payload.size() as u64;
        let set = heard.with(|beat| timers.set_own((&version(2), || owns), (own, &init()), beat, hold));
        set.map(|_| size)
    };
    for owns in [false, true] {
        for bytes in [1_000, 1_000, 5_000, 10] {
            assert_eq!(set(bytes, owns), Ok(account.heap.values()), "{owns}");
        }
    }
    let before = (serials(&timers), account.heap.values());
    assert!(matches!(set(2 << 20, true), Err(NotSet::NoRoom(_))));
    assert_eq!((serials(&timers), account.heap.values()), before, "it goes on as it was");
    assert!(timers.cancel("a", &version(2), true));
    assert_eq!(account.heap.values(), 0);
}

#[tokio::test]
async fn one_init_sets_a_thousand_without_an_id_at_most_and_the_next_vm_finds_all_of_them() {
    let (timers, heard) = (Timers::default(), Heard::default());
    for _ in 0..2 {
        let run = init();
        for said in 0..MAX_TIMERS {
            heard.set(&timers, true, says(said as i64, timer(None, 3_600_000, true)), &run).expect("there is room");
        }
        let more = heard.set(&timers, true, timer(None, 3_600_000, true), &run);
        assert_eq!((more, running(&timers).len()), (Err(NotSet::TooMany), MAX_TIMERS));
    }
}
