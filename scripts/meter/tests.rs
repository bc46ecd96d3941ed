use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn limits(ticks: u64, cpu_time: Duration, wall_time: Duration) -> Limits {
    Limits { ticks, cpu_time, wall_time, memory: 1 << 20, room: None, stack: None }
}

fn far() -> Instant {
    Instant::now() + HOUR
}

/// Burns CPU time without ticks.
fn burn(time: Duration) {
    let end = thread_cpu_time() + time;
    while thread_cpu_time() < end {
        std::hint::black_box(0);
    }
}

/// Ticks until a verdict; `None` when there is none after `most`.
fn tick_until(most: u64) -> Option<Verdict> {
    (0..most).find_map(|_| tick(1))
}

#[test]
fn exactly_the_granted_ticks_pass() {
    let _guard = start(&limits(1000, HOUR, HOUR), far());
    assert_eq!(tick_until(1000), None);
    assert_eq!(ticks_used(), 1000);
    assert_eq!(tick(1), Some(Verdict::Ticks(1000)));
}

/// Keeps whoever gives way from going on until its time is over.
struct Sleeps(Cell<u32>);

impl observe::Overseer for Sleeps {
    fn holds(&self, _: usize) {}

    fn may_go_on(&self) -> bool {
        true
    }

    fn gives_way(&self, until: Instant) {
        self.0.set(self.0.get() + 1);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn a_call_gives_way_while_it_runs_and_ends_where_that_took_all_its_time() {
    let (overseer, time) = (std::rc::Rc::new(Sleeps(Cell::new(0))), Duration::from_millis(300));
    let overseen = observe::Overseen::by(std::rc::Rc::clone(&overseer) as _);
    let _guard = start(&limits(u64::MAX, HOUR, time), far());
    assert_eq!(tick_until(u64::MAX), Some(Verdict::WallTime(time)));
    assert_eq!(overseer.0.get(), 1, "it did not go on");
    drop(overseen);
}

#[test]
fn a_host_that_asks_whether_it_may_go_on_gives_no_way_and_counts_no_tick() {
    let (overseer, time) = (std::rc::Rc::new(Sleeps(Cell::new(0))), Duration::from_millis(30));
    let overseen = observe::Overseen::by(std::rc::Rc::clone(&overseer) as _);
    let _guard = start(&limits(u64::MAX, time, HOUR), far());
    let begun = thread_cpu_time();
    while observe::may_go_on() {
        assert_eq!(ticks_used(), 0);
        assert!(thread_cpu_time().saturating_sub(begun) < HOUR / 60, "it is never over");
    }
    assert_eq!(verdict(), Some(Verdict::CpuTime(time)));
    assert_eq!(overseer.0.get(), 0, "it gave way");
    drop(overseen);
}

#[test]
fn a_call_that_has_run_is_judged_by_what_its_last_operation_took() {
    let time = Duration::from_millis(20);
    let _guard = start(&limits(u64::MAX, time, HOUR), far());
    assert_eq!((look_within(STRIDE), conclude()), (None, None));
    burn(time);
    assert_eq!(conclude(), Some(Verdict::CpuTime(time)));
    assert_eq!(tick(1), Some(Verdict::CpuTime(time)));
}

#[test]
fn a_verdict_is_sticky_until_the_guard_drops() {
    let guard = start(&limits(0, HOUR, HOUR), far());
    let first = tick(1);
    assert_eq!(first, Some(Verdict::Ticks(0)));
    trip(Verdict::Memory(1));
    for _ in 0..1000 {
        assert_eq!(tick(1), first);
        assert_eq!(tick(0), first, "a tick of nothing asks too");
    }
    assert_eq!(verdict(), first);
    drop(guard);
    assert_eq!(verdict(), None);
    assert_eq!(tick(u64::MAX), None, "without a call nothing is counted");
    assert_eq!(tick(u64::MAX), None);
}

#[test]
fn a_trip_ends_the_call_at_its_next_tick() {
    let _guard = start(&limits(1000, HOUR, HOUR), far());
    trip(Verdict::Memory(7));
    assert_eq!(tick(1), Some(Verdict::Memory(7)));
}

#[test]
fn a_trip_without_a_call_does_nothing() {
    trip(Verdict::Memory(7));
    assert_eq!(tick(1), None);
    let _guard = start(&limits(10, HOUR, HOUR), far());
    assert_eq!(tick(1), None);
}

#[test]
fn cpu_time_is_bounded() {
    let limit = Duration::from_millis(5);
    let _guard = start(&limits(u64::MAX, limit, HOUR), far());
    let begun = thread_cpu_time();
    let verdict = loop {
        if let Some(verdict) = tick(1) {
            break verdict;
        }
    };
    assert_eq!(verdict, Verdict::CpuTime(limit));
    assert!(thread_cpu_time().saturating_sub(begun) < Duration::from_millis(100));
}

#[test]
fn slow_ticks_are_looked_at_one_by_one_after_the_first_stride() {
    let limit = Duration::from_millis(20);
    let _guard = start(&limits(u64::MAX, limit, HOUR), far());
    let mut count = 0u64;
    while tick(1).is_none() {
        burn(Duration::from_micros(500));
        count += 1;
    }
    assert!(count <= STRIDE + 40, "{count} slow ticks before the verdict");
}

#[test]
fn hurry_makes_the_next_tick_look() {
    let _guard = start(&limits(u64::MAX, HOUR, HOUR), far());
    assert!(COUNTDOWN.get() > 1, "the stride is not over");
    hurry();
    assert!(step(), "it is now");
    assert_eq!(tick(1), None);
    assert!(COUNTDOWN.get() > 1, "another one began");
}

#[test]
fn a_tick_after_a_beat_looks_whatever_is_left_of_the_stride() {
    let wall_time = Duration::from_millis(30);
    let _guard = start(&limits(u64::MAX, HOUR, wall_time), far());
    // one operation that takes long, as a host function may
    while !beat::has_passed() || Instant::now() < BUDGET.get().unwrap().wall_end {
        std::hint::spin_loop();
    }
    assert_eq!(tick(1), Some(Verdict::WallTime(wall_time)));
}

#[test]
fn after_hurry_on_slow_ticks_are_looked_at_from_the_first() {
    let limit = Duration::from_millis(40);
    let _guard = start(&limits(u64::MAX, limit, HOUR), far());
    assert_eq!(tick_until(STRIDE + 1), None);
    hurry_on();
    let mut count = 0;
    while tick(1).is_none() {
        burn(Duration::from_millis(10));
        count += 1;
    }
    assert!(count <= 8, "{count} ticks of 10 ms within 40 ms");
}

#[test]
fn a_full_heap_ends_the_call_with_its_limit() {
    let _guard = start(&limits(1000, HOUR, HOUR), far());
    out_of_memory();
    assert_eq!(tick(0), Some(Verdict::Memory(1 << 20)));
}

#[test]
fn the_deadline_shortens_the_wall_time() {
    let _guard = start(&limits(u64::MAX, HOUR, HOUR), Instant::now());
    assert_eq!(tick_until(STRIDE + 1), Some(Verdict::WallTime(Duration::ZERO)));
}

#[test]
fn bytes_are_charged_as_ticks() {
    let _guard = start(&limits(100, HOUR, HOUR), far());
    assert_eq!(charge_bytes(64 * 100), None);
    assert_eq!(ticks_used(), 100);
    assert_eq!(charge_bytes(63), None);
    assert_eq!(charge_bytes(usize::MAX), Some(Verdict::Ticks(100)));
}

#[test]
fn exempt_work_costs_no_cpu_time() {
    let limit = Duration::from_millis(30);
    let _guard = start(&limits(u64::MAX, limit, HOUR), far());
    assert_eq!(tick_until(STRIDE + 1), None);
    exempt(|| {
        burn(Duration::from_millis(30));
        exempt(|| burn(Duration::from_millis(30)));
        assert_eq!(tick_until(10 * STRIDE), None, "not inside either");
    });
    assert_eq!(tick_until(10 * STRIDE), None);
    burn(Duration::from_millis(30));
    assert_eq!(tick_until(10 * STRIDE), Some(Verdict::CpuTime(limit)), "what follows counts again");
}

#[test]
fn exempt_work_that_panics_leaves_the_meter_whole() {
    let limit = Duration::from_millis(10);
    let _guard = start(&limits(u64::MAX, limit, HOUR), far());
    assert_eq!(tick_until(STRIDE + 1), None);
    let caught = std::panic::catch_unwind(|| exempt(|| std::panic::resume_unwind(Box::new("x"))));
    assert!(caught.is_err());
    burn(Duration::from_millis(30));
    assert_eq!(tick_until(10 * STRIDE), Some(Verdict::CpuTime(limit)));
}

#[test]
fn a_nested_call_has_its_own_budget_and_the_outer_one_returns() {
    let limit = Duration::from_millis(20);
    let _outer = start(&limits(1000, limit, HOUR), far());
    assert_eq!(tick_until(500), None);
    {
        let _inner = start(&limits(5, HOUR, HOUR), far());
        assert_eq!(ticks_used(), 0);
        assert_eq!(tick_until(5), None);
        assert_eq!(tick(1), Some(Verdict::Ticks(5)));
        burn(Duration::from_millis(30));
    }
    assert_eq!(ticks_used(), 500);
    assert_eq!(tick_until(500), None, "neither the ticks nor the CPU time nor the verdict of the inner call");
    assert_eq!(tick(1), Some(Verdict::Ticks(1000)));
}

#[test]
fn a_nested_start_keeps_the_outer_verdict() {
    let _outer = start(&limits(0, HOUR, HOUR), far());
    assert!(tick(1).is_some());
    drop(start(&limits(5, HOUR, HOUR), far()));
    assert_eq!(tick(1), Some(Verdict::Ticks(0)));
}

proptest! {
    #[test]
    fn the_count_is_exact_however_it_is_asked(steps in proptest::collection::vec((0u64..200, 0u8..4), 0..60)) {
        let _guard = start(&limits(1_000_000, HOUR, HOUR), far());
        let mut expected = 0;
        for (n, kind) in steps {
            match kind {
                0 => hurry(),
                1 => exempt(|| ()),
                2 => drop(start(&limits(1, HOUR, HOUR), far())),
                _ => {}
            }
            expected += n;
            prop_assert_eq!(tick(n), None);
            prop_assert_eq!(ticks_used(), expected);
        }
    }
}
