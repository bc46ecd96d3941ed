use super::*;
use crate::limits::Verdict;
use crate::rhai::engine;
use crate::testing::limits::{
    assert_a_crowded_heap_is_full, assert_each_budget_has_its_verdict, assert_ends_at_the_deadline,
    assert_large_request_is_a_memory_verdict, assert_new_limits_hold, assert_serves, sizes_over, verdict_on,
};

fn verdict(limits: &Limits, body: &str) -> Verdict {
    verdict_on(vm_with(limits, &handler(body)), body)
}

#[test]
fn each_limit_has_its_verdict() {
    scripted(|| {
        assert_each_budget_has_its_verdict("loop { }", |limits| vm_with(limits, &handler("loop { }")));
        let limits = Limits { memory: 1 << 20, ..generous() };
        assert_eq!(verdict(&limits, "loop { let a = 1; let f = || a; }"), Verdict::Memory(1 << 20));
    });
}

#[test]
fn the_deadline_of_the_call_ends_it() {
    scripted(|| assert_ends_at_the_deadline(vm(&handler("loop { }"))));
}

#[test]
fn callbacks_cannot_shed_ticks() {
    scripted(|| {
        let limits = Limits { ticks: 10_000, ..generous() };
        let body = "let a = []; a.pad(100, 1); let b = []; b.pad(100, 1); loop { a.map(|x| b.map(|y| y)); }";
        assert_eq!(verdict(&limits, body), Verdict::Ticks(10_000));
    });
}

#[test]
fn empty_functions_of_any_file_take_ticks() {
    scripted(|| {
        let limits = Limits { ticks: 1_000_000, ..generous() };
        for (call, body) in [("parts(a)", "{}"), ("lib::util::parts(a)", "{}"), ("lib::util::parts(a)", ";")] {
            let parts = format!("fn parts(a) {{ for i in 0..10 {{ let b = a; b.retain(|x| {body}); }} }}");
            let main = format!("{parts} {}", handler(&format!("let a = []; a.pad(150000, 1); {call}; \"done\"")));
            let vm = vm_of(&limits, &[("main.rhai", &main), ("lib/util.rhai", &parts)]);
            assert_eq!(verdict_on(vm, call), Verdict::Ticks(1_000_000), "{call} {body}");
        }
        let at_end = "fn parts(a) { for i in 0..10 { let b = a; b.retain(global::NOP); } } const NOP = |x| // the end";
        let main = handler("let a = []; a.pad(150000, 1); lib::util::parts(a); \"done\"");
        let vm = vm_of(&limits, &[("main.rhai", &main), ("lib/util.rhai", at_end)]);
        assert_eq!(verdict_on(vm, "at the end of a file"), Verdict::Ticks(1_000_000));
    });
}

#[test]
fn a_verdict_passes_every_try() {
    scripted(|| {
        let limits = Limits { ticks: 10_000, ..generous() };
        for body in [
            "loop { try { loop { } } catch { } }",
            "loop { try { [1].map(|x| { loop { } }); } catch { } }",
            "try { [2, 1].sort(|a, b| { loop { } }); } catch { } \"caught\"",
            "try { try { loop { } } catch { loop { } } } catch (e) { throw e; }",
        ] {
            assert_eq!(verdict(&limits, body), Verdict::Ticks(10_000), "{body}");
        }
    });
}

#[test]
fn each_call_has_its_own_budget() {
    scripted(|| {
        let limits = Limits { ticks: 20_000, ..generous() };
        let body = "for i in 0..4000 { } \"\"";
        assert_serves(vm_with(&limits, &handler(body)), 5, body);
    });
}

/// What grows in the script is seen by an allocator that counts, which the integration tests have.
#[test]
fn what_only_a_crowded_heap_has_no_room_for_is_a_verdict() {
    scripted(|| {
        assert_a_crowded_heap_is_full(
            |limits, body| vm_with(limits, &handler(body)),
            &[
                "let s = \"\"; s.pad(900000, 'x'); s",
                "let a = []; a.pad(60000, 1); \"\"",
                "let b = blob(300000); \"\"",
                "let m = #{}; for i in 0..1000 { m[i.to_string()] = i; } \"\"",
            ],
            &[
                "let s = \"\"; s.pad(3000000, 'x'); s",
                "let a = []; a.pad(200000, 1); \"\"",
                "let s = \"\"; s.pad(700000, 'x'); try { kv.cas(s, s, s); } catch { } \"\"",
            ],
        );
        let limits = Limits { memory: 2 << 30, room: Some(60 << 20), ..generous() };
        let body = "try { config.get(); } catch { } \"\"";
        assert_eq!(verdict(&limits, body), Verdict::Memory(60 << 20), "what the host answers");
    });
}

#[test]
fn calls_nest_as_deep_in_a_crowded_heap() {
    let all = Limits { stack: Some(0), ..generous() };
    let crowded = Limits { room: Some(2 << 20), ..all };
    assert_eq!(engine::call_levels(&crowded), engine::call_levels(&all));
}

#[test]
fn new_limits_hold_from_the_next_call() {
    scripted(|| {
        let body = "for i in 0..3000 { } let s = \"\"; s.pad(2000000, 'x'); s";
        assert_new_limits_hold(vm(&handler(body)), "length of string is too large");
    });
}

#[test]
fn the_top_levels_are_under_the_limits_too() {
    scripted(|| {
        let limits = Limits { ticks: 1000, ..generous() };
        let of = |files: &[(&str, &str)]| {
            program(files).instantiate(Arc::new(Notes::default()), &limits, &context()).map(|_| ()).unwrap_err()
        };
        let error = of(&[("main.rhai", "loop { try { loop { } } catch { } }")]);
        assert!(matches!(error, ScriptError::Limit(Verdict::Ticks(1000))), "{error:?}");
        let error = of(&[("main.rhai", "#{}"), ("lib/a.rhai", "loop { }")]);
        assert!(matches!(error, ScriptError::Limit(Verdict::Ticks(1000))), "{error:?}");
    });
}

#[test]
fn garbage_does_not_count_as_memory() {
    scripted(|| {
        let limits = Limits { memory: 8 << 20, ..generous() };
        for body in [
            "for i in 0..50000 { let s = \"x\" + i; } \"\"",
            "let s = \"\"; s.pad(500000, 'x'); for i in 0..600 { let t = s + i; } \"\"",
            "for i in 0..50000 { let t = [i, [i]]; } \"\"",
            "let s = \"\"; for i in 0..5000 { s += \"xxxxxxxxxx\"; } \"\"",
        ] {
            assert_serves(vm_with(&limits, &handler(body)), 1, body);
        }
    });
}

#[test]
fn a_vm_keeps_its_size_over_many_calls() {
    scripted(|| {
        let (mut vm, _) =
            vm(&handler("let a = req; let f = || a; let g = (); g = || [g, a]; #{ body: [req.path, f.call().query] }"));
        let live = super::super::heap::live();
        let (first, second) = sizes_over(&mut *vm, 500);
        assert_eq!(first, second);
        if let (Some(before), Some(now)) = (live, super::super::heap::live()) {
            assert!(now - before < 1 << 20, "{} bytes were left behind", now - before);
        }
    });
}

#[test]
fn what_handlers_keep_counts_between_calls() {
    scripted(|| {
        let source = r#"let kept = []; #{ services: #{
            "a.add": |n| { let s = ""; s.pad(n, 'x'); kept.push(s + kept.len()); kept.len() },
            "a.clear": || { kept = []; 0 },
        } }"#;
        let limits = Limits { memory: 8 << 20, ..generous() };
        let (mut vm, _) = vm_with(&limits, source);
        let add = Handler::Service("a.add".into());
        let small = vm.memory();
        let mut call = |handler: &Handler, n: i64| vm.call(handler, &[Value::Int(n)], &context());
        assert_eq!(call(&add, 200_000).unwrap(), Value::Int(1));
        assert_eq!(call(&add, 200_000).unwrap(), Value::Int(2));
        assert_eq!(call(&Handler::Service("a.clear".into()), 0).unwrap(), Value::Int(0));
        assert_eq!(call(&add, 400_000).unwrap(), Value::Int(1));
        let error = (0..100).find_map(|_| call(&add, 400_000).err()).expect("a full heap");
        assert!(error.retires_vm() || error.to_string().contains("too large"), "{error}");
        assert!(vm.memory() > small || error.retires_vm());
    });
}

#[test]
fn a_request_larger_than_the_vm_is_a_memory_verdict() {
    scripted(|| {
        let source = handler("`${req.body.len()}`");
        assert_large_request_is_a_memory_verdict(|limits| vm_with(limits, &source));
    });
}

/// A call that does nothing costs a few microseconds; this catches what would make it cost a hundred.
#[test]
fn a_call_that_does_nothing_is_cheap() {
    scripted(|| {
        let (mut vm, _) = vm("#{ health: || 1 }");
        let begun = Instant::now();
        for _ in 0..2000 {
            vm.call(&Handler::Health, &[], &context()).unwrap();
        }
        let each = begun.elapsed() / 2000;
        assert!(each < Duration::from_micros(200), "a call took {each:?}");
    });
}

/// What a VM says that it holds is what its memory limit and its module's quota are held against.
#[test]
fn a_vm_holds_what_it_says_that_it_holds() {
    scripted(|| {
        for fill in [
            "for i in 0..2000 { let s = i.to_string(); s.pad(1000, 'x'); kept.push(s); }",
            "for i in 0..2000 { let s = \"\"; s.pad(1000, 'x'); s += i; kept.push(s); }",
            "for i in 0..2000 { kept.push(#{ id: i, name: \"n\" + i, on: true }); }",
            "for i in 0..4000 { kept.push(i + 0.5); }",
            "for i in 0..500 { kept.push([i, [i, \"short\" + i], ()]); }",
            "for i in 0..3000 { kept[`k${i}`] = i; }",
            "let b = blob(500000, 7); kept.push(b);",
        ] {
            let kept = if fill.contains("kept[") { "#{}" } else { "[]" };
            let (mut vm, _) = vm(&format!("let kept = {kept}; #{{ health: || {{ {fill} 1 }} }}"));
            let Some(before) = super::super::heap::live() else { return };
            let said = vm.memory();
            vm.call(&Handler::Health, &[], &context()).unwrap();
            let grown = (super::super::heap::live().unwrap() - before) as f64;
            let share = (vm.memory() - said) as f64 / grown;
            assert!((0.9..=1.1).contains(&share), "{fill}: it says {share:.2} of {grown} bytes");
        }
    });
}
