use super::*;
use crate::limits::Verdict;

/// A chain of closures each of which captured the one before, as deep as the limits allow or as `levels` says.
fn chain(levels: usize) -> String {
    format!("let a = []; for i in 0..{levels} {{ let c = a; let f = || c; a = f; }}\n")
}

/// 60,000 levels within a limit that leaves room for them.
fn roomy() -> Limits {
    Limits { memory: 64 << 20, ..generous() }
}

/// On a thread as an owner makes it for `limits`.
fn on_stack_of<R: Send>(limits: &Limits, test: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let given = std::env::var("REPLUG_TEST_STACK").ok().and_then(|bytes| bytes.parse().ok());
        let thread = std::thread::Builder::new().stack_size(given.unwrap_or_else(|| limits.stack_size()));
        thread.spawn_scoped(scope, test).unwrap().join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[test]
fn a_chain_of_closures_drops_without_recursion() {
    // Not even a stack of a script thread is needed.
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(4 << 20);
        let test = || {
            let (mut vm, _) = vm_with(&roomy(), &handler(&(chain(60_000) + "\"done\"")));
            for _ in 0..3 {
                assert_eq!(text(&vm.respond(&api(), &request(), &context()).unwrap()), "done");
            }
        };
        small.spawn_scoped(scope, test).unwrap().join().unwrap();
    });
}

#[test]
fn a_chain_can_be_cloned_printed_compared_thrown_and_returned() {
    on_stack_of(&roomy(), || {
        for (end, answered) in [
            ("let b = a; let c = [b, b]; let d = c; \"done\"", true),
            ("print(a); debug(a); print([a]); debug(#{ a: a }); let s = `${a}` + a; \"done\"", true),
            ("let s = [a].to_string() + #{ a: a }.to_json(); \"done\"", true),
            ("log.info(\"x\", a)", false),
            ("let same = a == a; \"done\"", false),
            ("throw a;", false),
            ("throw #{ message: \"m\", a: a };", false),
            ("#{ body: a }", false),
            ("#{ body: [a] }", false),
            ("a", false),
            ("try { throw a; } catch (e) { let x = e; } \"done\"", true),
        ] {
            let (mut vm, _) = vm_with(&roomy(), &handler(&(chain(60_000) + end)));
            let result = vm.respond(&api(), &request(), &context());
            assert_eq!(result.is_ok(), answered, "{end}: {result:?}");
            assert!(!result.is_err_and(|error| error.retires_vm()), "{end}");
        }
    });
}

/// At the limit Rust's own formatting takes over from the engine's.
#[test]
fn a_chain_that_is_printed_when_the_limit_comes_ends_the_call() {
    let limits = Limits { ticks: 3_000_000, ..roomy() };
    on_stack_of(&limits, || {
        for end in [
            "loop { debug(a); }",
            "loop { print([a]); }",
            "loop { let s = `${[a]}`; }",
            "loop { let s = \"\" + #{ a: a }; }",
        ] {
            let (mut vm, _) = vm_with(&limits, &handler(&(chain(60_000) + end)));
            let error = vm.respond(&api(), &request(), &context()).unwrap_err();
            assert!(matches!(error, ScriptError::Limit(Verdict::Ticks(_))), "{end}: {error:?}");
        }
    });
}

#[test]
fn no_chain_outlives_a_call() {
    on_stack_of(&roomy(), || {
        let source =
            format!("let kept = (); #{{ health: || {{ {} kept = a; 1 }}, warmup: || type_of(kept) }}", chain(60_000));
        let (mut vm, _) = vm_with(&roomy(), &source);
        let error = vm.call(&Handler::Health, &[], &context()).unwrap_err();
        assert!(error.retires_vm(), "{error:?}");
    });
}

#[test]
fn closures_that_hold_themselves_do_not_leak() {
    scripted(|| {
        let body = "let f = (); let s = \"\"; s.pad(100000, 'x'); f = || [f, s]; \"\"";
        let (mut vm, _) = vm(&handler(body));
        vm.respond(&api(), &request(), &context()).unwrap();
        let Some(before) = super::super::heap::live() else { return };
        for _ in 0..100 {
            vm.respond(&api(), &request(), &context()).unwrap();
        }
        let left = super::super::heap::live().unwrap() - before;
        assert!(left < 100_000, "{left} bytes were left behind");
        drop(vm);
        let source = "let f = (); let s = \"\"; s.pad(100000, 'x'); f = || [f, s]; #{ health: f }";
        let before = super::super::heap::live().unwrap();
        for _ in 0..20 {
            let (vm, _) = vm_with(&generous(), source);
            drop(vm);
        }
        let left = super::super::heap::live().unwrap() - before;
        assert!(left < 500_000, "{left} bytes were left behind by VMs");
    });
}

#[test]
fn deep_arrays_and_maps_are_dropped_cloned_and_printed() {
    let limits = Limits { cpu_time: Duration::from_millis(400), ..generous() };
    on_stack_of(&limits, || {
        for grow in [
            "loop { x.push([x.pop()]); }",
            "loop { x.push(#{ a: x.pop() }); }",
            "loop { x = [x]; }",
            "loop { x.push([x.shift()]); if x.len() > 1 { print(x); } }",
            "for i in 0..3000 { x.push([x.pop()]); } loop { let y = x; let s = `${y}`; debug(y); }",
            "for i in 0..3000 { x.push([x.pop()]); } throw x;",
            "for i in 0..3000 { x.push([x.pop()]); } #{ body: x }",
        ] {
            let (mut vm, _) = vm_with(&limits, &handler(&format!("let x = [1]; {grow}")));
            vm.respond(&api(), &request(), &context()).unwrap_err();
        }
    });
}
