use super::*;

fn qualified(source: &str) -> String {
    let functions = ["f", "g"].map(String::from).into();
    qualify(source, "a::b", &functions)
}

#[test]
fn calls_of_own_functions_get_their_namespace() {
    assert_eq!(qualified("fn f(x) { g(f (x)) }"), "fn f(x) { a::b::g(a::b::f (x)) }");
    assert_eq!(qualified("for i in 0..f(1) { -f(2) }"), "for i in 0..a::b::f(1) { -a::b::f(2) }");
    assert_eq!(qualified("return f(1);"), "return a::b::f(1);");
    assert_eq!(
        qualified("`x${ #{a: f(1)}.a }y${g(`${f(2)}`)} f(3)`+f(4)"),
        "`x${ #{a: a::b::f(1)}.a }y${a::b::g(`${a::b::f(2)}`)} f(3)`+a::b::f(4)"
    );
}

#[test]
fn paths_are_found_in_code_alone() {
    let source = "fn f() { a::b(1) + `x${c :: d::E}` + f(2) } // a::b()\nlet t = \"a::b()\"; a.b(x::y ())";
    let found: Vec<_> = paths(source).into_iter().map(|path| (path.parts.join("::"), path.is_call)).collect();
    let expected = [("a::b", true), ("c::d::E", false), ("x::y", true)];
    assert_eq!(found, expected.map(|(path, is_call)| (path.to_owned(), is_call)));
    assert_eq!(paths("  a::b()")[0].start, 2);
}

#[test]
fn the_property_module_is_read_by_its_name() {
    assert_eq!(prepare("ctx.module + c?.module").text, "ctx[\"module\"] + c?[\"module\"]");
    for source in ["module", "a.modules", "\".module\"", "a.module()", "a..module", "// .module ü\nü"] {
        assert_eq!(prepare(source).text, source);
    }
}

#[test]
fn a_value_that_the_engine_prints_or_hashes_is_looked_at_first() {
    for (source, prepared) in [
        ("`a${b}c${`${d}`}`", "`a${()-{b}}c${()-{`${()-{d}}`}}`"),
        ("`${ #{a: 1}.a }${}`", "`${()-{ #{a: 1}.a }}${()-{}}`"),
        ("switch(x) { _ => switch y {} }", "switch ()^ (x) { _ => switch ()^  y {} }"),
        ("a[1] = b; a [r]/* */= c", "a[1] = ()&  b; a [r]/* */= ()&  c"),
        ("((a[1])) =|| 1", "((a[1])) = ()& || 1"),
    ] {
        assert_eq!(prepare(source).text, prepared);
    }
    for source in [
        "a[1] == b",
        "a[1] += b",
        "this = b",
        "f(1) == b",
        "this.a = b",
        "let x = [1]; x = b",
        "switch_ = 1",
        "a.switch",
        "\"${a}\"",
        "`$ {a} switch a[1] = b`",
        "// switch a[1] = b",
    ] {
        assert_eq!(prepare(source).text, source);
    }
    assert_eq!(prepare("switch x { [1] => 2 }").text, "switch ()^  x { [1] => 2 }");
}

#[test]
fn tokens_are_counted_and_a_run_of_hashes_as_its_square() {
    for (source, count) in [
        ("", 0),
        ("let x = 1; // a b c\n", 5),
        ("/* a /* b */ c */ \"a b c\" + 'x'", 3),
        ("#{ a: 1 }", 1 + 1 + 5),
        ("`a b c ${x + 1} d e`", 1 + 3 + 1),
        ("##\"a b\"##", 1),
        ("let x=####", 3 + 1 + 16),
    ] {
        assert_eq!(tokens(source), count, "{source}");
    }
}

#[test]
fn broken_sources_are_passed_without_harm() {
    for source in ["\"", "\"\\", "'", "`${", "`${`", "`${}", "/*", "#\"", "}}}", "\"\\ü", "ü.module", "'\\", "a./*"] {
        prepare(source);
    }
}

#[test]
fn all_else_stays_as_it_is() {
    for source in [
        "x.f(1)",
        "x?.f(1)",
        "lib::f(1)",
        "let f = 1; f + f",
        "ff(1)",
        "f2(1)",
        "Fn(\"f\")",
        "\"f(1)\"",
        "\"\\\"f(1)\"",
        "'\\''",
        "// f(1)",
        "/* f(1) /* f(1) */ f(1) */ x",
        "#\"f(1)\"#",
        "##\"f(1) \"# f(1)\"##",
        "`f(1) `` f(2)`",
        "#{ f: 1 }",
        "fn f() { }",
    ] {
        assert_eq!(qualified(source), source);
    }
}

#[test]
fn columns_are_told_as_they_are_in_the_source() {
    let source = "let é = `${a}${b}`; c.module; a[1] = x; !\nswitch a { } !";
    let changed = prepare(source);
    for (line, text) in source.lines().enumerate() {
        let place = |text: &str| 1 + text.chars().position(|letter| letter == '!').unwrap();
        let changed_line = changed.text.lines().nth(line).unwrap();
        assert_eq!(changed.column(line + 1, place(changed_line)), place(text), "{changed_line}");
    }
    assert_eq!((changed.column(1, 1), changed.column(3, 1), changed.column(0, 0)), (1, 1, 1));
}

#[test]
fn a_function_without_a_statement_gets_one() {
    for (source, prepared) in [
        ("fn f() {}", "fn f() {();}"),
        ("private fn f(a, b) { /* } */ ; {{;}} // x\n }", "private fn f(a, b) {(); /* } */ ; {{;}} // x\n }"),
        ("fn f() { #{}; } fn g() { 1 }", "fn f() { #{}; } fn g() { 1 }"),
        ("let m = #{}; if x {} |y| #{}; a || b;", "let m = #{}; if x {} |y| #{}; a || b;"),
        ("a.each(|y| {}); || /* | */ { }", "a.each(|y| {();}); || /* | */ {(); }"),
        ("a.each(|y| ;); { || /**/ ; }", "a.each(|y| ()); { || /**/ () }"),
        ("const N = ||", "const N = ||()"),
        ("const N = |x| // no\n /* } */", "const N = |x|() // no\n /* } */"),
        ("switch 1 { 1|2 => {}, _ => |x| { x } }", "switch ()^  1 { 1|2 => {}, _ => |x| { x } }"),
    ] {
        assert_eq!(prepare(source).text, prepared);
    }
}
