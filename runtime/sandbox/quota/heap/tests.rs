use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const fn share(quota: u64, limit: u64, workers: u64) -> HeapShare {
    HeapShare { quota, limit, workers, aside: 0, values: 0 }
}

fn parts(account: &Arc<HeapAccount>, count: usize) -> Vec<Reservation> {
    (0..count).map(|_| Reservation::none(Arc::clone(account))).collect()
}

#[test]
fn one_vm_takes_what_the_others_leave_and_gives_it_back() {
    let account = Arc::new(HeapAccount::default());
    let mut vms = parts(&account, 2);
    assert_eq!(vms[0].run(share(100, 64, 2), 10), Ok(64));
    assert_eq!(vms[1].run(share(100, 64, 2), 10), Ok(36), "less than its own limit");
    vms[0].rest(20);
    assert_eq!(vms[1].run(share(100, 64, 2), 10), Ok(55), "and leaves a floor to the one that rests");
    assert_eq!(vms[0].run(share(100, 64, 2), 10), Ok(45));
    drop(vms);
    assert_eq!(account.state.load(Ordering::Relaxed), 0);
}

#[test]
fn a_vm_for_which_too_little_is_left_keeps_what_it_had() {
    let account = Arc::new(HeapAccount::default());
    let mut vms = parts(&account, 2);
    assert_eq!(vms[0].run(share(100, 90, 1), 1), Ok(90));
    assert_eq!(vms[1].run(share(100, 90, 1), 30), Err(HeapFull { reserved: 90, quota: 100, least: 30 }));
    assert_eq!(account.reserved(), 90);
}

#[test]
fn where_others_run_room_is_waited_for_and_where_none_does_it_is_refused_at_once() {
    let account = Arc::new(HeapAccount::default());
    let mut vms = parts(&account, 2);
    let (mut second, mut first) = (vms.pop().expect("two"), vms.pop().expect("two"));
    assert_eq!(first.run(share(100, 90, 1), 1), Ok(90));
    let soon = Instant::now() + Duration::from_millis(5);
    assert!(second.run_by(share(100, 90, 1), 30, soon).is_err(), "the time is over");
    let later = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| second.run_by(share(100, 90, 1), 30, later));
        while !account.is_waited_for() {
            std::thread::yield_now();
        }
        first.rest(20);
        assert_eq!(waits.join().expect("no panic"), Ok(80));
    });
    second.rest(80);
    let begun = Instant::now();
    assert!(first.run_by(share(100, 90, 1), 30, later).is_err(), "what rests gives nothing back");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// What runs on the thread may go on until this is set.
struct Ends(Arc<AtomicBool>);

impl replug_scripts::Overseer for Ends {
    fn holds(&self, _: usize) {}

    fn may_go_on(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn who_is_to_end_waits_for_no_room() {
    let (account, ends) = (Arc::new(HeapAccount::default()), Arc::<AtomicBool>::default());
    let mut vms = parts(&account, 2);
    let (mut second, mut first) = (vms.pop().expect("two"), vms.pop().expect("two"));
    assert_eq!(first.run(share(100, 90, 1), 1), Ok(90));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let _overseen = replug_scripts::Overseen::by(std::rc::Rc::new(Ends(Arc::clone(&ends))));
            second.run_by(share(100, 90, 1), 30, begun + Duration::from_secs(60))
        });
        while !account.is_waited_for() {
            std::thread::yield_now();
        }
        ends.store(true, Ordering::SeqCst);
        account.wake();
        assert!(waits.join().expect("no panic").is_err());
    });
    assert!(begun.elapsed() < Duration::from_secs(30), "it did not wait for its time");
}

#[test]
fn many_that_need_all_of_it_get_it_in_turn() {
    let account = Arc::new(HeapAccount::default());
    std::thread::scope(|scope| {
        for mut vm in parts(&account, 6) {
            scope.spawn(move || {
                for _ in 0..500 {
                    let until = Instant::now() + Duration::from_secs(60);
                    assert_eq!(vm.run_by(share(100, 100, 1), 100, until), Ok(100));
                    vm.rest(0);
                }
            });
        }
    });
    assert_eq!(account.state.load(Ordering::Relaxed), 0);
}

#[test]
fn all_workers_run_at_once_whatever_their_limits_are() {
    for workers in 1..=32 {
        let account = Arc::new(HeapAccount::default());
        let mut vms = parts(&account, 32);
        for vm in &mut vms[..usize::try_from(workers).expect("small")] {
            let got = vm.run(share(100 << 20, 32 << 20, workers), 1 << 20);
            assert!(got.is_ok(), "{workers}: {got:?}");
        }
    }
}

proptest! {
    #[test]
    fn the_reservations_are_within_the_quota_and_their_sum_is_the_account(
        (quota, steps) in (20_u64..101, proptest::collection::vec((0_usize..6, 0_u64..50, 1_u64..101, 0_u8..8), 0..200))
    ) {
        let account = Arc::new(HeapAccount::default());
        let workers: Vec<_> = (0..2).map(|_| AsideRoom::of(Arc::clone(&account))).collect();
        let new = |index: usize| {
            let part = Reservation::none(Arc::clone(&account));
            if index < 2 { Reservation::aside(&workers[index]) } else { part }
        };
        let mut all: Vec<_> = (0..6).map(new).collect();
        for (index, least, bytes, what) in steps {
            let had = all[index].bytes;
            match what {
                0 => all[index] = new(index),
                1..=3 => all[index].rest(bytes),
                _ => match all[index].run(HeapShare { aside: 2, ..share(quota, bytes, 6) }, least) {
                    Ok(got) => prop_assert!((least..=bytes).contains(&got)),
                    Err(_) => prop_assert_eq!(all[index].bytes, had),
                },
            }
            prop_assert_eq!(account.reserved(), all.iter().map(|one| one.bytes).sum::<u64>());
            prop_assert!(account.reserved() <= quota);
            let aside = || all[..2].iter().filter_map(|one| one.aside.as_ref());
            prop_assert_eq!(account.owed.load(Ordering::Relaxed), aside().map(|aside| aside.owed).sum::<u64>());
            let vacant = aside().filter(|aside| !aside.is_made).count();
            prop_assert_eq!(account.vacant.load(Ordering::Relaxed), vacant as u64);
        }
        drop((all, workers));
        prop_assert_eq!(empty(&account), (0, 0, 0));
    }

    #[test]
    fn an_actor_finds_room_whatever_the_requests_of_two_versions_took(
        (aside, limit, quota, workers) in (1_usize..9, 8_u64..65, 16_u64..129, 1_usize..9),
        steps in proptest::collection::vec((0_usize..12, 0_u64..100, any::<bool>()), 0..200)
    ) {
        let share = HeapShare::new(quota << 20, limit << 20, workers, true).with_aside(aside);
        let is_for_all = quota == 128 && aside < 3 && workers == 4;
        let account = Arc::new(HeapAccount::default());
        let rooms: Vec<_> = (0..2 * aside).map(|_| AsideRoom::of(Arc::clone(&account))).collect();
        let mut requests = parts(&account, 2 * workers);
        let mut actors: Vec<_> = rooms.iter().map(Reservation::aside).collect();
        for (index, percent, runs) in steps {
            let (of_requests, of_actors) = (index % requests.len(), index % actors.len());
            let part = if index < 8 { &mut requests[of_requests] } else { &mut actors[of_actors] };
            let held = part.bytes;
            if runs {
                let _ = part.run(share, share.limit.min(held + LEAST_ROOM).max(share.least()));
            } else {
                part.rest(held * percent / 100);
            }
        }
        for actor in &mut actors {
            // what rests and is full gives nothing back, so where that is all there is nobody has room
            let held = if is_for_all { actor.bytes } else { actor.bytes.min(share.floor() / 2) };
            actor.rest(held);
        }
        for vm in &mut requests {
            let _ = vm.run(share, share.least());
        }
        let mut running = 0;
        for actor in &mut actors {
            let needs = share.limit.min(actor.bytes + LEAST_ROOM).max(share.least());
            let runs = actor.run(share, needs).is_ok();
            prop_assert!(runs || !is_for_all, "{:?}", account);
            running += u32::from(runs);
        }
        prop_assert!(running > 0, "{:?}", account);
    }
}

/// What is left of an account that nobody uses.
fn empty(account: &HeapAccount) -> (u64, u64, u64) {
    (account.reserved(), account.owed.load(Ordering::Relaxed), account.vacant.load(Ordering::Relaxed))
}

#[test]
fn who_runs_for_requests_leaves_room_for_the_actors_that_they_wait_for() {
    let share = HeapShare::new(100 << 20, 32 << 20, 4, true).with_aside(1);
    let account = Arc::new(HeapAccount::default());
    let worker = AsideRoom::of(Arc::clone(&account));
    // as many as two versions have, and some of them are full at rest
    let mut requests = parts(&account, 8);
    for vm in &mut requests {
        if let Ok(room) = vm.run(share, share.least()) {
            vm.rest(room / 2);
        }
    }
    let running = requests.iter_mut().filter_map(|vm| vm.run(share, share.least()).ok()).count();
    assert!(running > 2, "{running}");
    let mut actor = Reservation::aside(&worker);
    let room = actor.run(share, share.least()).expect("nobody has to end for it");
    assert!(room >= 8 << 20, "{room}");
    actor.rest(1 << 20);
    drop((requests, actor, worker));
    assert_eq!(empty(&account), (0, 0, 0));
}

#[test]
fn an_actor_that_is_full_wakes_while_requests_take_the_rest() {
    let share = HeapShare::new(100 << 20, 32 << 20, 4, true).with_aside(1);
    let account = Arc::new(HeapAccount::default());
    let worker = AsideRoom::of(Arc::clone(&account));
    let mut actor = Reservation::aside(&worker);
    let room = actor.run(share, share.least()).expect("it is the first");
    actor.rest(room);
    let mut requests = parts(&account, 8);
    let running = requests.iter_mut().filter_map(|vm| vm.run(share, share.least()).ok()).count();
    assert!(running > 1, "{running}");
    actor.run(share, share.limit.min(room + LEAST_ROOM)).expect("nobody has to end for it");
}

#[test]
fn the_actors_of_one_version_that_rest_take_nothing_from_those_of_another_to_come() {
    let share = HeapShare::new(100 << 20, 32 << 20, 4, true).with_aside(1);
    let account = Arc::new(HeapAccount::default());
    let workers = [(); 2].map(|()| AsideRoom::of(Arc::clone(&account)));
    let mut old = Reservation::aside(&workers[0]);
    let room = old.run(share, share.least()).expect("it is the first");
    old.rest(room);
    let mut requests = parts(&account, 8);
    let running = requests.iter_mut().filter_map(|vm| vm.run(share, share.least()).ok()).count();
    assert!(running > 1, "{running}");
    let mut new = Reservation::aside(&workers[1]);
    new.run(share, share.least()).expect("nobody has to end for it");
}

#[test]
fn a_quota_too_small_for_all_is_for_requests_too() {
    let share = HeapShare::new(8 << 20, 8 << 20, 1, true).with_aside(8);
    let account = Arc::new(HeapAccount::default());
    let workers: Vec<_> = (0..16).map(|_| AsideRoom::of(Arc::clone(&account))).collect();
    let mut request = Reservation::none(Arc::clone(&account));
    assert!(request.run(share, share.least()).is_ok_and(|room| room >= 3 << 20));
    let mut actor = Reservation::aside(&workers[0]);
    assert!(actor.run(share, share.least()).is_ok_and(|room| room >= 2 << 20), "and for an actor beside it");
    request.rest(0);
    actor.rest(3 << 20);
    assert!(request.run(share, share.least()).is_ok(), "nothing runs");
}

#[test]
fn a_quota_with_room_for_one_is_for_whoever_comes() {
    let share = HeapShare::new(4 << 20, 4 << 20, 2, true).with_aside(2);
    let account = Arc::new(HeapAccount::default());
    let workers = [(); 2].map(|()| AsideRoom::of(Arc::clone(&account)));
    let mut request = Reservation::none(Arc::clone(&account));
    assert!(request.run(share, share.least()).is_ok());
    drop(request);
    assert!(Reservation::aside(&workers[0]).run(share, share.least()).is_ok());
}

#[test]
fn a_request_goes_on_beside_an_actor_in_a_small_quota() {
    let share = HeapShare::new(8 << 20, 8 << 20, 1, true).with_aside(8);
    let account = Arc::new(HeapAccount::default());
    let workers: Vec<_> = (0..16).map(|_| AsideRoom::of(Arc::clone(&account))).collect();
    let mut actor = Reservation::aside(&workers[0]);
    assert!(actor.run(share, share.least()).is_ok());
    let mut request = Reservation::none(Arc::clone(&account));
    assert!(request.run(share, share.least()).is_ok(), "{account:?}");
}

#[test]
fn a_request_that_an_actor_waits_for_leaves_what_full_actors_need_to_wake() {
    let share = HeapShare::new(100 << 20, 32 << 20, 1, true).with_aside(4);
    let account = Arc::new(HeapAccount::default());
    let workers = [(); 4].map(|()| AsideRoom::of(Arc::clone(&account)));
    let mut actors: Vec<_> = workers.iter().map(Reservation::aside).collect();
    for actor in &mut actors[1..] {
        actor.run(share, share.least()).expect("there is room");
        actor.rest(25 << 20);
    }
    actors[0].run(share, share.least()).expect("there is room");
    let mut request = Reservation::none(Arc::clone(&account));
    request.run(share, share.least()).expect("the actor waits for it");
    let held = actors[1].bytes;
    actors[1].run(share, held + LEAST_ROOM).expect("the request waits for it");
}

#[test]
fn an_actor_that_waits_for_room_gets_it() {
    let share = HeapShare::new(40 << 20, 32 << 20, 2, false).with_aside(1);
    let account = Arc::new(HeapAccount::default());
    let worker = AsideRoom::of(Arc::clone(&account));
    let (mut request, mut actor) = (Reservation::none(Arc::clone(&account)), Reservation::aside(&worker));
    let room = request.run(share, share.least()).expect("it is the first");
    let later = Instant::now() + Duration::from_secs(60);
    let needs = share.quota - room + 1;
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| actor.run_by(share, needs, later));
        while !account.is_waited_for() && !waits.is_finished() {
            std::thread::yield_now();
        }
        request.rest(0);
        assert!(waits.join().expect("no panic").is_ok_and(|room| room >= needs));
    });
    assert!(!account.is_waited_for());
    drop((request, actor, worker));
    assert_eq!(empty(&account), (0, 0, 0));
}

#[test]
fn a_worker_with_two_vms_takes_one_place() {
    let share = HeapShare::new(100 << 20, 32 << 20, 1, true).with_aside(2);
    let account = Arc::new(HeapAccount::default());
    let workers = [(); 2].map(|()| AsideRoom::of(Arc::clone(&account)));
    let mut vms = [(); 2].map(|()| Reservation::aside(&workers[0]));
    for vm in &mut vms {
        vm.run(share, share.least()).expect("there is room");
        assert_eq!(account.vacant.load(Ordering::Relaxed), 1);
    }
    let [first, second] = vms;
    drop(first);
    assert_eq!(account.vacant.load(Ordering::Relaxed), 1);
    // it goes on while the worker is gone and another is there
    let [own, _other] = workers;
    drop(own);
    assert_eq!(account.vacant.load(Ordering::Relaxed), 1);
    drop(second);
    assert_eq!(account.vacant.load(Ordering::Relaxed), 1);
}

#[test]
fn who_waits_is_told_when_less_is_left_to_workers_that_went() {
    let share = HeapShare::new(40 << 20, 32 << 20, 2, false).with_aside(2);
    let account = Arc::new(HeapAccount::default());
    let workers = [(); 4].map(|()| AsideRoom::of(Arc::clone(&account)));
    let [mut first, mut second] = [(); 2].map(|()| Reservation::none(Arc::clone(&account)));
    let room = first.run(share, share.least()).expect("it is the first");
    let later = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| second.run_by(share, share.quota - room - (1 << 20), later));
        while !account.is_waited_for() && !waits.is_finished() {
            std::thread::yield_now();
        }
        drop(workers);
        assert!(waits.join().expect("no panic").is_ok());
    });
}

#[test]
fn an_actor_that_runs_takes_no_floor_from_the_requests() {
    let share = HeapShare::new(100 << 20, 64 << 20, 2, true).with_aside(1);
    let account = Arc::new(HeapAccount::default());
    let worker = AsideRoom::of(Arc::clone(&account));
    let mut actor = Reservation::aside(&worker);
    actor.run(share, share.least()).expect("it is the first");
    let mut requests = parts(&account, 2);
    let rooms: Vec<u64> = requests.iter_mut().map(|vm| vm.run(share, share.least()).expect("both run")).collect();
    assert!(rooms.iter().all(|room| *room >= 14 << 20), "{rooms:?}");
}
