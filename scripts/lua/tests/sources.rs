//! Sources that would keep the compiler busy.

use crate::testing::child::{in_a_process, test_path};
use crate::testing::parse::assert_compiles_or_not;

#[test]
fn no_source_keeps_the_compiler() {
    in_a_process(test_path!(no_source_keeps_the_compiler), || {
        assert_compiles_or_not(
            "main.lua",
            &[
                ("parentheses", ["return ", "(", "1", ")", ""]),
                ("tables in tables", ["return ", "{", "", "}", ""]),
                ("functions in functions", ["", "return function() ", "", " end", ""]),
                ("calls in calls", ["return ", "f(", "", ")", ""]),
                ("blocks in blocks", ["", "do ", "", " end", ""]),
                ("loops in loops", ["", "while x do ", "", " end", ""]),
                ("branches in branches", ["", "if x then ", "", " end", ""]),
                ("branches after branches", ["if x then ", "elseif y then ", "", "", "end"]),
                ("else within else", ["", "if x then else ", "", " end", ""]),
                ("negations", ["return ", "not ", "1", "", ""]),
                ("minus signs", ["return ", "- ", "1", "", ""]),
                ("sums", ["return 1", "+1", "", "", ""]),
                ("powers", ["return 1", "^1", "", "", ""]),
                ("joins", ["return 'a'", "..'a'", "", "", ""]),
                ("joins of variables", ["return a", "..a", "", "", ""]),
                ("conditions", ["return a", " and a or b", "", "", ""]),
                ("comparisons", ["return a", " and a<b", "", "", ""]),
                ("indices", ["return a", ".b", "", "", ""]),
                ("brackets", ["return a", "[a", "", "]", ""]),
                ("methods", ["return a", ":b()", "", "", ""]),
                ("interpolations in interpolations", ["return ", "`{", "1", "}`", ""]),
                ("if expressions", ["return ", "if a then b else ", "c", "", ""]),
                ("types", ["local x: ", "{", "number", "}", " = nil"]),
                ("function types", ["local x: ", "(", "number", ") -> ()", " = nil"]),
                ("unions", ["local x: number", " | string", "", "", " = nil"]),
                ("type casts", ["return 1", " :: number", "", "", ""]),
                ("locals", ["", "local a = 1 ", "", "", ""]),
                ("locals in functions", ["", "do local a = 1 end ", "", "", ""]),
                ("assignments", ["", "x = 1 ", "", "", ""]),
                ("functions", ["", "function f() end ", "", "", ""]),
                ("closures that capture", ["local a = 1 ", "do local f = function() return a end end ", "", "", ""]),
                ("table items", ["return { ", "1,", "", "", "}"]),
                ("table keys", ["return { ", "[a]=a,", "", "", "}"]),
                ("arguments", ["f(1", ",1", "", "", ")"]),
                ("names in an assignment", ["a", ",a", " = 1", "", ""]),
                ("comments", ["", "--[[x]]", "", "", ""]),
                ("long brackets", ["return [", "=", "[x]", "=", "]"]),
                ("texts", ["return ", "'x' ..", "'x'", "", ""]),
                ("one long text", ["return '", "x", "'", "", ""]),
                ("one long name", ["return ", "x", "", "", ""]),
                ("one long number", ["return ", "9", "", "", ""]),
                ("escapes", ["return '", "\\u{10ffff}", "'", "", ""]),
                ("unclosed", ["return ", "({[", "", "", ""]),
                ("labels of continue", ["while x do ", "if y then continue end ", "", "", " end"]),
                ("repeats", ["", "repeat ", "", " until x", ""]),
                ("varargs", ["return ", "(function(...) return ", "...", " end)(...)", ""]),
            ],
        );
    });
}
