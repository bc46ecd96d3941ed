//! No value that fits into a VM's memory overflows the stack of a script thread, whatever is done with it.

use super::super::engine;
use super::*;
use crate::testing::child::{in_a_process, note, on_a_stack, test_path};

/// Ways to nest values: what begins, what adds a level, and the bytes that it takes at most, where as many are tried as fit.
const NESTS: &[(&str, &str, &str, usize)] = &[
    ("closures", "let a = 1;", "let c = a; a = || c;", 512),
    ("closures of parameters", "let a = 1; let w = |x| || x;", "a = w.call(a);", 512),
    ("closures in arrays", "let a = 1;", "let c = a; a = [|| c];", 768),
    ("closures in maps", "let a = 1;", "let c = a; a = #{ f: || c };", 1536),
    ("arrays", "let a = [1];", "a.push([a.pop()]);", COPIED),
    ("maps", "let a = [1];", "a.push(#{ a: a.pop() });", COPIED),
];

/// What recurses over a value. None of it may end the process; each may end the call.
const USES: &[(&str, &str)] = &[
    ("drop", "a = (); \"\""),
    ("clone", "let b = a; let c = [b, a]; let d = c; \"\""),
    ("print", "print(a); let s = `${a}`; s = a.to_string() + [a]; \"\""),
    ("debug", "debug(a); let s = a.to_debug(); debug([a]); debug(#{ a: a }); \"\""),
    ("JSON", "#{ a: a }.to_json(); \"\""),
    ("compare", "let b = a; a == b"),
    ("compare in arrays", "let b = [a]; b == [a]; a in b; b.contains(a); b.index_of(a)"),
    ("sort", "let b = [a, a, a]; b.sort()"),
    ("sort by comparer", "let b = [a, a, a]; b.sort(|x, y| 1); b.dedup(); \"\""),
    ("switch", "switch a { 1 => 1, \"x\" => 2, _ => \"\" }"),
    ("convert", "kv.get(a)"),
    ("log", "log.info(a)"),
    ("throw", "throw a;"),
    ("throw in a map", "throw #{ message: \"m\", a: a };"),
    ("catch", "try { throw a; } catch (e) { let x = e; throw x; }"),
    ("return", "#{ body: a }"),
    ("pass", "let f = |x| x; f.call(a); f.call([a]); \"\""),
    ("index", "let m = #{ a: a }; m.b = m.a; m[\"c\"] = [m.b]; \"\""),
];

fn script(nest: usize, levels: usize, end: &str) -> String {
    let (_, begin, level, _) = NESTS[nest];
    // The hash of a value is what takes most of a stack; of a nest it is refused.
    let hash = "if i % 16384 == 1000 { try { switch a { 1 => 1, _ => 2 } } catch { } }";
    handler(&format!("{begin} for i in 0..{levels} {{ {level} {hash} }} {end}"))
}

/// `REPLUG_TEST_STACK` tries another size, to find how much is needed.
fn stack_for(limits: &Limits) -> usize {
    let given = std::env::var("REPLUG_TEST_STACK").ok().and_then(|bytes| bytes.parse().ok());
    given.unwrap_or_else(|| limits.stack_size())
}

/// In place of bytes: the engine looks at all levels of arrays and maps at each step, so more than these take more time
/// than a call has.
const COPIED: usize = 0;
const COPIED_LEVELS: usize = 1000;

fn uses_of_the_deepest(memory: usize, nests: std::ops::Range<usize>) {
    let limits = Limits { memory, stack: Some(0), ..generous() };
    for nest in nests {
        let (name, _, _, bytes) = NESTS[nest];
        let levels = memory.checked_div(bytes).unwrap_or(COPIED_LEVELS);
        let run = |levels: usize, limits: Limits, end: &'static str, what: String| {
            note(&what);
            on_a_stack(stack_for(&limits), Duration::from_secs(60), &what.clone(), move || {
                let (mut vm, _) = vm_with(&limits, &script(nest, levels, end));
                vm.respond(&api(), &request(), &context())
            })
        };
        for (used, end) in USES {
            let what = format!("{used} of {levels} levels of {name} within {} MiB", memory >> 20);
            let result = run(levels, limits, end, what.clone());
            // Copies of what fits need not fit.
            assert!(bytes == COPIED || !result.is_err_and(|error| error.retires_vm()), "{what}");
        }
        // At the limit itself the call ends, and all there is drops.
        let end = if bytes != COPIED { limits } else { Limits { ticks: 30_000, ..limits } };
        let result = run(usize::MAX >> 2, end, "\"\"", format!("the end of {name} within {} MiB", memory >> 20));
        let error = result.unwrap_err();
        assert!(error.retires_vm(), "{name}: {error}");
    }
}

#[test]
fn nothing_that_fits_one_mebibyte_overflows() {
    in_a_process(test_path!(nothing_that_fits_one_mebibyte_overflows), || uses_of_the_deepest(1 << 20, 0..NESTS.len()));
}

#[test]
fn nothing_that_fits_sixteen_mebibytes_overflows() {
    in_a_process(test_path!(nothing_that_fits_sixteen_mebibytes_overflows), || uses_of_the_deepest(16 << 20, 0..2));
}

#[test]
fn nothing_that_fits_sixty_four_mebibytes_overflows() {
    in_a_process(test_path!(nothing_that_fits_sixty_four_mebibytes_overflows), || uses_of_the_deepest(64 << 20, 0..1));
}

#[test]
fn functions_of_files_that_call_each_other_end() {
    in_a_process(test_path!(functions_of_files_that_call_each_other_end), || {
        let limits = Limits { memory: 1 << 20, stack: Some(0), ..generous() };
        on_a_stack(limits.stack_size(), Duration::from_secs(60), "files", move || {
            let deep = |call: &str| format!("fn f(n) {{ {}{call}(n + 1){} }}", "(1 + ".repeat(25), ")".repeat(25));
            let (a, b) = (deep("lib::b::f"), deep("lib::a::f"));
            let main = "#{ health: || lib::a::f(1) }";
            let files = [("main.rhai", main), ("lib/a.rhai", a.as_str()), ("lib/b.rhai", b.as_str())];
            let error = vm_of(&limits, &files).0.call(&Handler::Health, &[], &context()).unwrap_err();
            assert!(error.to_string().contains("calls nest too deep"), "{error}");
        });
    });
}

/// Functions that call themselves without end, each in another way, those that take most of a stack first.
const ENDLESS: &[&str] = &[
    "fn g(x) { x } fn f(n) { G28 f(n + 1) )28 }",
    "fn f(n) { S25 f(n + 1) }25 }",
    "fn f(n) { (28 f(n + 1) )28 }",
    "fn f(n) { f(n + 1) }",
    "fn f(n) { [1].map(|x| f(n + 1)) }",
    "fn f(n) { [2, 1].sort(|a, b| f(n + 1)) }",
    "fn f(n) { if true { if true { if true { if true { for i in 0..1 { while true { f(n + 1); } } } } } } }",
    "fn f(n) { try { f(n + 1) } catch { f(n + 1) } }",
    "fn f(n) { `${`${f(n + 1)}`}` }",
];

/// Its abbreviations written out.
fn endless(short: &str) -> String {
    let nests =
        [("G28", "g(", 28), ("(28", "(1 + ", 28), (")28", ")", 28), ("S25", "switch 1 { 1 => ", 25), ("}25", "}", 25)];
    nests.iter().fold(short.to_owned(), |text, (from, to, times)| text.replace(from, &to.repeat(*times)))
}

#[test]
fn calls_without_end_are_an_error_on_any_stack_and_the_vm_serves_on() {
    in_a_process(test_path!(calls_without_end_are_an_error_on_any_stack_and_the_vm_serves_on), || {
        for (memory, stack) in [(1 << 20, Some(0)), (32 << 20, Some(0)), (1 << 20, None), (1 << 20, Some(512 << 20))] {
            let limits = Limits { memory, stack, ..generous() };
            for short in ENDLESS {
                note(short);
                on_a_stack(stack_for(&limits), Duration::from_secs(60), short, move || {
                    let source = format!("{} #{{ health: || f(1), warmup: || 7 }}", endless(short));
                    let (mut vm, _) = vm_with(&limits, &source);
                    let error = vm.call(&Handler::Health, &[], &context()).unwrap_err();
                    assert!(error.to_string().contains("calls nest too deep"), "{short}: {error}");
                    assert!(!error.retires_vm(), "{short}: {error:?}");
                    assert_eq!(vm.call(&Handler::Warmup, &[], &context()).unwrap(), Value::from(7), "{short}");
                });
            }
        }
    });
}

#[test]
fn calls_nest_as_deep_as_the_stack_lets_them() {
    in_a_process(test_path!(calls_nest_as_deep_as_the_stack_lets_them), || {
        let deepest = |limits: Limits| {
            on_a_stack(limits.stack_size(), Duration::from_secs(60), "depth", move || {
                let source = "fn f(n) { kv.put(\"depth\", n); f(n + 1) } #{ health: || f(1) }";
                let (mut vm, notes) = vm_with(&limits, source);
                vm.call(&Handler::Health, &[], &context()).unwrap_err();
                notes.of(HostFn::KvPut).len()
            })
        };
        let least = Limits { memory: 32 << 20, stack: Some(0), ..generous() };
        // the handler itself is a level
        assert_eq!(deepest(least), engine::call_levels(&least) - 1);
        let asked = Limits { stack: Some(100 << 20), ..least };
        assert_eq!(deepest(asked), (36 << 20) / ((16 << 20) / engine::call_levels(&least)) - 1);
        let more = Limits { stack: None, ..least };
        assert!(deepest(more) > deepest(asked), "it has all of 128 MiB");
        let most = Limits { stack: Some(4 << 30), ..least };
        assert_eq!(deepest(most), 999);
    });
}
