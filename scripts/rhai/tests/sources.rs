//! Sources that would keep the compiler busy.

use crate::host::compile;
use crate::testing::child::{in_a_process, test_path};
use crate::testing::parse::assert_compiles_or_not;
use crate::testing::sources;

#[test]
fn no_source_keeps_the_compiler() {
    in_a_process(test_path!(no_source_keeps_the_compiler), || {
        assert_compiles_or_not(
            "main.rhai",
            &[
                ("parentheses", ["", "(", "1", ")", ""]),
                ("arrays in arrays", ["", "[", "", "]", ""]),
                ("maps in maps", ["", "#{a:", "1", "}", ""]),
                ("closures in closures", ["", "|| ", "1", "", ""]),
                ("closures with blocks", ["", "|x| {", "x", "}", ""]),
                ("calls in calls", ["", "f(", "1", ")", ""]),
                ("blocks in blocks", ["", "{", "", "}", ""]),
                ("loops in loops", ["", "while x {", "", "}", ""]),
                ("branches in branches", ["", "if x {", "", "}", ""]),
                ("branches after branches", ["if x { } ", "else if y { } ", "", "", ""]),
                ("switches in switches", ["", "switch x { 1 => ", "1", "}", ""]),
                ("cases", ["switch x { ", "1 => 2, ", "", "", "}"]),
                ("cases of many", ["switch x { 1", "|1", " => 2 }", "", ""]),
                ("tries in tries", ["", "try {", "", "} catch { }", ""]),
                ("negations", ["", "!", "true", "", ""]),
                ("minus signs", ["", "- ", "1", "", ""]),
                ("sums", ["1", "+1", "", "", ""]),
                ("sums of variables", ["x", "+x", "", "", ""]),
                ("powers", ["1", "**1", "", "", ""]),
                ("joins", ["\"a\"", "+\"a\"", "", "", ""]),
                ("conditions", ["a", " && a || b", "", "", ""]),
                ("defaults", ["a", " ?? a", "", "", ""]),
                ("comparisons", ["a", " < a", "", "", ""]),
                ("memberships", ["a", " in a", "", "", ""]),
                ("properties", ["a", ".b", "", "", ""]),
                ("safe properties", ["a", "?.b", "", "", ""]),
                ("brackets", ["a", "[0]", "", "", ""]),
                ("brackets in brackets", ["a", "[a", "", "]", ""]),
                ("methods", ["a", ".b()", "", "", ""]),
                ("ranges", ["1", "..1", "", "", ""]),
                ("interpolations in interpolations", ["", "`${", "1", "}`", ""]),
                ("interpolations", ["`", "${x}", "`", "", ""]),
                ("assignments in a row", ["", "x = ", "1", "", ""]),
                ("assignments", ["", "x = 1; ", "", "", ""]),
                ("variables", ["", "let a = 1; ", "", "", ""]),
                ("constants", ["", "const A = 1; ", "", "", ""]),
                ("empty statements", ["", ";", "", "", ""]),
                ("functions", ["", "fn f() { } ", "", "", ""]),
                ("functions in functions", ["", "fn f() { ", "", "}", ""]),
                ("parameters", ["fn f(a", ",a", ") { }", "", ""]),
                ("arguments", ["f(1", ",1", ")", "", ""]),
                ("items", ["[", "1,", "]", "", ""]),
                ("keys", ["#{", "a:1,", "}", "", ""]),
                ("comments", ["", "/*x*/", "", "", ""]),
                ("comments in comments", ["", "/*", "", "*/", ""]),
                ("one long text", ["\"", "x", "\"", "", ""]),
                ("one long raw text", ["", "#", "\"x\"", "#", ""]),
                ("one long name", ["", "x", "", "", ""]),
                ("one long number", ["", "9", "", "", ""]),
                ("namespaces", ["", "a::", "b()", "", ""]),
                ("unclosed", ["", "([{", "", "", ""]),
                ("lets in lets", ["", "let x = if true { ", "1", " };", ""]),
                ("returns", ["", "return ", "1", "", ""]),
                ("throws", ["", "throw ", "1", "", ""]),
                ("shifts", ["1", "<<1", "", "", ""]),
                ("own functions in calls", ["fn f(x) { x } ", "f(", "1", ")", ""]),
            ],
        );
    });
}

#[test]
fn sources_on_which_the_compiler_would_hang_are_refused() {
    let arms: String = (0..90_000).map(|n| format!("{n}=>1,")).collect();
    let keys: String = (0..30_000).map(|n| format!("k{n}:1,")).collect();
    let variables: String = (0..900).map(|n| format!("let v{n}=1;")).collect();
    for (name, source) in [
        ("hashes", format!("let x={}", "#".repeat(200_000))),
        ("hashes in lines", "####################\n".repeat(20_000)),
        ("arms", format!("switch a {{{arms}}}")),
        ("keys", format!("let m = #{{{keys}}};")),
        ("variables", format!("{variables}{}", "v0;".repeat(200_000))),
        ("a template", format!("`${{{}}}`", "1+".repeat(100_000))),
    ] {
        let Err(faults) = compile(&sources(&[("main.rhai", &source)])) else { panic!("{name} compiles") };
        assert!(faults[0].message.contains("tokens; at most 100000 are allowed"), "{name}: {}", faults[0].message);
    }
}

#[test]
fn long_texts_and_comments_are_no_tokens() {
    let text = "<p>words, and signs; of a page</p>\n".repeat(20_000);
    for source in
        [format!("`{text}`"), format!("/*{text}*/"), format!("let x = #\"{text}\"#;"), "//#\n".repeat(200_000)]
    {
        assert!(compile(&sources(&[("main.rhai", &source)])).is_ok());
    }
}

#[test]
fn what_surrounds_a_compilation_surrounds_it_on_its_thread() {
    let threads = std::sync::Mutex::new(Vec::new());
    let around = |work: &mut dyn FnMut()| {
        threads.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
        work();
    };
    assert!(crate::compile_within(&crate::testing::sources(&[("main.rhai", "#{}")]), &around).is_ok());
    assert_eq!(*threads.lock().unwrap(), [Some("rhai-compiler".to_owned())]);
    let never = |_: &mut dyn FnMut()| {};
    let faults = crate::compile_within(&crate::testing::sources(&[("main.rhai", "#{}")]), &never).err().unwrap();
    assert!(faults[0].message.contains("the Rhai compiler failed"), "{faults:?}");
}
