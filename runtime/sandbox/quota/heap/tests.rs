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
        steps in proptest::collection::vec((0_usize..4, 0_u64..50, 1_u64..101, any::<bool>()), 0..200)
    ) {
        let account = Arc::new(HeapAccount::default());
        let mut all = parts(&account, 4);
        for (index, least, bytes, rests) in steps {
            if rests {
                all[index].rest(bytes);
            } else {
                let had = all[index].bytes;
                match all[index].run(share(100, bytes, 4), least) {
                    Ok(got) => prop_assert!((least..=bytes).contains(&got)),
                    Err(_) => prop_assert_eq!(all[index].bytes, had),
                }
            }
            prop_assert_eq!(account.reserved(), all.iter().map(|one| one.bytes).sum::<u64>());
            prop_assert!(account.reserved() <= 100);
        }
    }
}

#[test]
fn who_runs_for_requests_leaves_room_for_the_actors_that_they_wait_for() {
    let share = HeapShare::new(100 << 20, 32 << 20, 4, true).with_aside(1);
    let account = Arc::new(HeapAccount::default());
    // as many as two versions have, and some of them are full at rest
    let mut requests = parts(&account, 8);
    for vm in &mut requests {
        if let Ok(room) = vm.run(share, share.least()) {
            vm.rest(room / 2);
        }
    }
    let running = requests.iter_mut().filter_map(|vm| vm.run(share, share.least()).ok()).count();
    assert!(running > 2, "{running}");
    let mut actor = Reservation::none(Arc::clone(&account)).aside();
    let room = actor.run(share, share.least()).expect("nobody has to end for it");
    assert!(room >= 8 << 20, "{room}");
    actor.rest(1 << 20);
    drop(requests);
    drop(actor);
    assert_eq!((account.reserved(), account.aside.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn an_actor_that_runs_takes_no_floor_from_the_requests() {
    let share = HeapShare::new(100 << 20, 64 << 20, 2, true).with_aside(1);
    let account = Arc::new(HeapAccount::default());
    let mut actor = Reservation::none(Arc::clone(&account)).aside();
    actor.run(share, share.least()).expect("it is the first");
    let mut requests = parts(&account, 2);
    let rooms: Vec<u64> = requests.iter_mut().map(|vm| vm.run(share, share.least()).expect("both run")).collect();
    assert!(rooms.iter().all(|room| *room >= 14 << 20), "{rooms:?}");
}
