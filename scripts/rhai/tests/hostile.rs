use super::*;
use crate::error::HostError;
use crate::host::{CallContext, Host};
use crate::limits::Verdict;
use crate::testing::limits::{assert_stays_spent, tight};

/// What a hostile script must come to, in time.
#[derive(Clone, Copy, Debug)]
enum End {
    /// A verdict on ticks or time.
    Budget,
    /// A verdict; on memory, unless the machine is too slow to fill it in time.
    Memory,
    /// An error of the script, not a verdict.
    Error,
    /// An error or a verdict.
    Stopped,
    /// An answer.
    Answer,
}

const HOSTILE: &[(&str, End, &str)] = &[
    ("a plain loop", End::Budget, "loop { }"),
    ("a loop in try", End::Budget, "loop { try { loop { } } catch { } }"),
    ("a loop in nested tries", End::Budget, "loop { try { try { loop { } } catch { loop { } } } catch { } }"),
    ("a loop in a callback", End::Budget, "let a = [1]; loop { try { a.map(|x| { loop { } }); } catch { } }"),
    ("an empty loop over a range", End::Budget, "loop { for i in 0..1000000000 { } }"),
    ("a range by tiny steps", End::Budget, "for i in range(0.0, 1.0, 0.0000000000001) { }"),
    ("while and do", End::Budget, "while true { do { } while true; }"),
    (
        "nested callbacks",
        End::Budget,
        "let a = []; a.pad(1000, 1); let b = []; b.pad(1000, 1); let c = []; c.pad(1000, 1); loop { a.map(|x| b.map(|y| c.map(|z| z))); }",
    ),
    ("recursion of closures", End::Error, "let f = |x, g| g.call(x + 1, g); f.call(1, f)"),
    (
        "caught recursion",
        End::Stopped,
        "let f = |g| { try { g.call(g) } catch { g.call(g) } }; loop { try { f.call(f) } catch { } }",
    ),
    ("a closure nest", End::Stopped, "let a = []; loop { let c = a; let f = || c; a = f; }"),
    ("closures forever", End::Memory, "loop { let c = 1; let f = || c; }"),
    ("closures that hold themselves", End::Memory, "loop { let f = 1; f = || f; }"),
    ("closures in an array", End::Stopped, "let a = []; loop { let c = \"x\"; a.push(|| c); }"),
    (
        "closures that hold large values",
        End::Memory,
        "let s = \"\"; s.pad(100000, 'x'); loop { let c = s + 1; let f = || c; }",
    ),
    ("closures that hold arrays", End::Stopped, "let a = []; a.pad(1000, 1); loop { let c = a; let f = || c; a = c; }"),
    ("doubling a string", End::Stopped, "let s = \"x\"; loop { s += s; }"),
    ("doubling a string by interpolation", End::Stopped, "let s = \"x\"; loop { s = `${s}${s}`; }"),
    (
        "strings in a map",
        End::Stopped,
        "let m = #{}; let i = 0; loop { m[`k${i}`] = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"; i += 1; }",
    ),
    (
        "strings in nested maps",
        End::Stopped,
        "let m = #{}; let i = 0; loop { m[`k${i}`] = #{ a: `${i}`, b: [i] }; i += 1; }",
    ),
    ("strings in an array", End::Stopped, "let a = []; loop { a.push(\"x\" + a.len()); }"),
    ("an array of itself", End::Stopped, "let a = [1]; loop { a.push(a); }"),
    ("appending an array to itself", End::Stopped, "let a = [1]; loop { a.append(a); }"),
    ("adding an array to itself", End::Stopped, "let a = [1]; loop { a = a + a; }"),
    (
        "many large variables",
        End::Stopped,
        "let f = |g, a, n| { let b = a; b[0] = n; g.call(g, b, n + 1) }; let a = []; a.pad(100000, 1); f.call(f, a, 0)",
    ),
    ("padding an array", End::Error, "let a = []; a.pad(1000000000, 1);"),
    (
        "padding an array by what overflows the check",
        End::Error,
        "let b = []; b.pad(63, 0); let a = []; a.pad(288230376151711744, b);",
    ),
    ("padding by arrays", End::Error, "let b = []; b.pad(1000, 0); let a = []; a.pad(100000, b);"),
    ("padding a string", End::Error, "let s = \"\"; s.pad(1000000000, 'x');"),
    ("padding a string by wide letters", End::Stopped, "let s = \"\"; s.pad(4000000, '\\U0001F600');"),
    ("padding a string by nothing", End::Answer, "let s = \"\"; s.pad(10, \"\"); s"),
    ("an enormous blob", End::Error, "blob(1000000000, 1)"),
    ("padding a blob", End::Error, "let b = blob(); b.pad(1000000000, 1);"),
    ("blobs forever", End::Stopped, "let a = []; loop { a.push(blob(100000)); }"),
    ("adding blobs", End::Stopped, "let b = blob(10); loop { b += b; }"),
    ("a blob into an array", End::Stopped, "let a = []; loop { a = blob(400000).to_array(); }"),
    ("splitting a large string", End::Stopped, "let s = \"\"; s.pad(8000000, ','); loop { s.split(\",\"); }"),
    ("letters of a large string", End::Stopped, "let s = \"\"; s.pad(8000000, ','); loop { s.to_chars(); }"),
    ("replacing by a large string", End::Error, "let s = \"\"; s.pad(1000000, 'x'); let t = s; s.replace(\"x\", t);"),
    (
        "replacing nothing by a large string",
        End::Error,
        "let s = \"\"; s.pad(1000000, 'x'); let t = s; s.replace(\"\", t);",
    ),
    (
        "case of a large string",
        End::Budget,
        "let s = \"\"; s.pad(4000000, 'x'); loop { s.to_upper(); s.make_lower(); }",
    ),
    (
        "searching a large string",
        End::Budget,
        "let s = \"\"; s.pad(4000000, 'a'); let t = \"\"; t.pad(1000000, 'a'); t += \"b\"; loop { s.contains(t); s.index_of(t); }",
    ),
    (
        "parts of a large string",
        End::Budget,
        "let s = \"\"; s.pad(4000000, 'a'); loop { s.sub_string(1000000); s.len(); s.get(3000000); }",
    ),
    ("trimming a large string", End::Budget, "let s = \"\"; s.pad(4000000, ' '); loop { let t = s; t.trim(); }"),
    (
        "comparing large strings",
        End::Budget,
        "let a = \"\"; a.pad(4000000, 'a'); let b = a + \"b\"; a += \"a\"; loop { let x = a < b; }",
    ),
    ("comparing large arrays", End::Budget, "let a = []; a.pad(200000, 1); let b = a; loop { let x = a == b; }"),
    (
        "searching a large array",
        End::Budget,
        "let a = []; a.pad(200000, 1); loop { a.contains(2); 3 in a; a.index_of(4); }",
    ),
    ("copying a large array", End::Budget, "let a = []; a.pad(400000, 1); loop { let b = a; }"),
    (
        "reversing a large array",
        End::Budget,
        "let a = []; a.pad(400000, 1); loop { a.reverse(); a.shift(); a.insert(0, 1); }",
    ),
    (
        "sorting forever",
        End::Budget,
        "let a = []; for i in 0..5000 { a.push((i * 7919) % 100003); } loop { a.sort(); a.reverse(); }",
    ),
    ("sorting a large array forever", End::Budget, "let a = []; a.pad(400000, 1); loop { a.sort(); }"),
    (
        "sorting with a lying comparer",
        End::Budget,
        "let a = []; a.pad(3000, 1); loop { a.sort(|x, y| true); a.sort(|x, y| -1); }",
    ),
    (
        "sorting with an endless comparer",
        End::Budget,
        "let a = []; a.pad(300000, 1); try { a.sort(|x, y| { loop { } }); } catch { } a.sort(|x, y| 1);",
    ),
    ("sorting what cannot be compared", End::Budget, "loop { try { [1, \"x\", []].sort(); } catch { } }"),
    (
        "dropping repeats with an endless comparer",
        End::Budget,
        "let a = []; a.pad(300000, 1); a.dedup(|x, y| { loop { } });",
    ),
    (
        "filters that fail",
        End::Budget,
        "let a = []; a.pad(300000, 1); loop { try { a.filter(|x| none(x)); } catch { } }",
    ),
    ("draining one by one", End::Budget, "let a = []; a.pad(400000, 1); a.drain(|x| true); loop { }"),
    ("printing a large array", End::Budget, "let a = []; a.pad(300000, 1); loop { print(a); }"),
    (
        "printing nested arrays",
        End::Budget,
        "let a = []; for i in 0..1000 { a.push([i, [i]]); } loop { let s = `${a}`; }",
    ),
    ("JSON of a large map", End::Stopped, "let m = #{}; for i in 0..5000 { m[`k${i}`] = i; } loop { m.to_json(); }"),
    ("a flood of the log", End::Budget, "let s = \"\"; s.pad(1000, 'x'); loop { log.info(s); }"),
    ("a flood of the log in try", End::Budget, "loop { try { log.info(\"x\"); print(\"x\"); } catch { } }"),
    ("host errors forever", End::Budget, "loop { try { db.query(\"x\"); } catch { } }"),
    ("large arguments forever", End::Budget, "let a = []; a.pad(1000, \"x\"); loop { try { kv.get(a); } catch { } }"),
    ("a cyclic argument forever", End::Budget, "let f = (); f = [|| f]; loop { try { kv.get(f); } catch { } }"),
    ("a deep body", End::Error, "let x = []; for i in 0..500 { x = [x]; } #{ body: x }"),
    ("a deep thrown value", End::Error, "let x = []; for i in 0..500 { x = [x]; } throw x;"),
    ("a thrown string of a megabyte", End::Error, "let s = \"\"; s.pad(1000000, 'x'); throw s;"),
    ("throwing forever", End::Budget, "loop { try { throw #{ a: [1, 2, 3] }; } catch (e) { let x = e; } }"),
    ("a large switch of ranges", End::Budget, "loop { switch 5 { 0..4 => 1, 4..=9 => 2, _ => 3 } }"),
    ("large shifts and powers", End::Error, "let x = 1 << 70; 2 ** 100"),
    ("the smallest number negated", End::Error, "let x = -9223372036854775807 - 1; -x"),
    ("the smallest number divided", End::Error, "let x = -9223372036854775807 - 1; x / -1"),
    (
        "odd indices",
        End::Budget,
        "let a = [1, 2, 3]; let m = -9223372036854775807 - 1; loop { try { a.extract(m, 9223372036854775807); a.splice(m, m, [1]); a.get(m); a.remove(m); a.chop(m); a.truncate(m); a.insert(m, 1); } catch { } }",
    ),
    (
        "odd ranges",
        End::Budget,
        "let a = [1, 2, 3]; loop { try { a.extract(5..1); a.extract(-5..=9223372036854775807); a.drain(9223372036854775807..=9223372036854775807); a.retain(-3..=-1); } catch { } }",
    ),
    (
        "odd parts of strings",
        End::Budget,
        "let s = \"äöü\"; let m = -9223372036854775807 - 1; loop { try { s.sub_string(m, 9223372036854775807); s.crop(m, 2); s.get(m); s.set(m, 'x'); s.pad(m, 'x'); s.truncate(m); s.split(m); s = \"äöü\"; } catch { } }",
    ),
    (
        "odd parts of blobs",
        End::Budget,
        "let b = blob(5); let m = -9223372036854775807 - 1; loop { try { b.parse_le_int(m, 9223372036854775807); b.write_be(m, 9, 1); b.write_utf8(m, 9, \"äöü\"); b.splice(m, 9, b); b.retain(1, 3); b.extract(m..9); b = blob(5); } catch { } }",
    ),
    (
        "odd bits",
        End::Budget,
        "loop { try { let x = 5; x.get_bits(-64, 64); x.set_bits(0, 64, 1); x.bits(-1, 99); x.get_bit(-64); let y = x[63]; } catch { } }",
    ),
    ("sleep", End::Error, "sleep(60);"),
    ("what is not there", End::Error, "exit();"),
    ("the names of functions", End::Error, "get_fn_metadata_list()"),
    ("locking a captured value", End::Error, "let a = [1, 2]; a.map(|x| { a.push(x); 1 })"),
    ("functions called by name", End::Stopped, "loop { Fn(\"answer\").call((), ()); }"),
    (
        "many variables",
        End::Error,
        "let f = |g, n| { let a1 = n; let a2 = n; let a3 = n; g.call(g, n + 1) }; f.call(f, 1)",
    ),
];

/// Far more than any takes, far less than a hang: the budgets are 100 ms of CPU and 400 ms of wall time.
const IN_TIME: Duration = Duration::from_secs(3);

#[test]
fn hostile_scripts_end_in_time_and_leave_a_working_process() {
    scripted(|| {
        let limits = tight();
        let mut faults = Vec::new();
        for (name, end, body) in HOSTILE {
            let (mut vm, _) = vm_with(&limits, &handler(body));
            let begun = Instant::now();
            let result = vm.respond(&api(), &request(), &context());
            let took = begun.elapsed();
            if took > Duration::from_millis(250) {
                eprintln!("{name} took {took:?}");
            }
            assert!(took < IN_TIME, "{name} took {took:?}");
            let kept = match (end, &result) {
                (End::Budget, Err(ScriptError::Limit(verdict))) => !matches!(verdict, Verdict::Memory(_)),
                (End::Memory, Err(ScriptError::Limit(_))) => true,

                (End::Error, Err(error)) => !error.retires_vm() && error.to_string() != "the Rhai engine failed",
                (End::Stopped, Err(error)) => error.to_string() != "the Rhai engine failed",
                (End::Answer, Ok(_)) => true,
                _ => false,
            };
            if !kept {
                faults.push(format!("{name}: expected {end:?}, found {result:?}"));
            }
            assert!(vm.memory() <= limits.memory, "{name} holds {} bytes", vm.memory());
            if let Err(error) = &result {
                assert_stays_spent(&mut *vm, error, name);
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert_eq!(text(&respond("\"alive\"").unwrap()), "alive");
    });
}

/// What one call leaves behind, a hundred calls leave a hundred times.
#[test]
fn hostile_scripts_leave_no_memory_behind() {
    scripted(|| {
        let limits = tight();
        for (name, _, body) in HOSTILE {
            let program = program(&[("main.rhai", &handler(body))]);
            let once = || {
                let mut vm = program.instantiate(Arc::new(Quiet), &limits, &context()).unwrap();
                let _ = vm.respond(&api(), &request(), &context());
            };
            if !body.contains("||") {
                continue;
            }
            once();
            let Some(before) = super::super::heap::live() else { return };
            once();
            let left = super::super::heap::live().unwrap() - before;
            assert!(left < 64 << 10, "{name} left {left} bytes");
        }
    });
}

/// Keeps nothing.
struct Quiet;

impl Host for Quiet {
    fn call(&self, _: HostFn, _: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }
}
