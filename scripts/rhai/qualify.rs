//! What is changed in a source before it is compiled; lines stay what they were.
//!
//! Rhai 1.27 remembers which function an unqualified call means by name and number of arguments alone, for the whole call
//! from outside: once `is_name(x)` meant that of `lib/users.rhai`, it means the same in `lib/permissions.rhai`. A qualified
//! call is looked up each time. So every call of a file's own function is compiled as `lib::users::is_name(x)`.
//!
//! `module` is a reserved word, but `ctx.module` is in the contract: it is compiled as `ctx["module"]`.

use std::collections::BTreeSet;

/// `source` with `namespace::` before each call of one of its `functions`. The source is known to compile.
pub(super) fn qualify(source: &str, namespace: &str, functions: &BTreeSet<String>) -> String {
    names(source, |walk, start, before| {
        let name = &walk.source[start..walk.at];
        if before == Before::Other && functions.contains(name) && walk.next_is_call() {
            walk.replace(start, start, &format!("{namespace}::"));
        }
    })
    .0
}

/// A name with others before it, as `lib::util::twice`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Its parts, two at least.
    pub(super) parts: Vec<String>,
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Whether it is called.
    pub(super) is_call: bool,
}

/// Every path in `source` outside texts and comments, in order. The source is known to compile.
pub(super) fn paths(source: &str) -> Vec<Path> {
    let (mut found, mut parts, mut first) = (Vec::new(), Vec::new(), 0);
    names(source, |walk, start, before| {
        if before != Before::Part {
            parts.clear();
            first = start;
        }
        parts.push(walk.source[start..walk.at].to_owned());
        if !walk.next_is("::") {
            let parts = std::mem::take(&mut parts);
            if parts.len() > 1 {
                found.push(Path { parts, start: first, is_call: walk.next_is_call() });
            }
        }
    });
    found
}

/// About how many tokens the compiler meets in `source`. A run of `#` counts as its square: that is what it costs.
pub(super) fn tokens(source: &str) -> usize {
    names(source, |_, _, _| {}).1
}

/// `source` with `["module"]` for each `.module`.
pub(super) fn allow_module(source: &str) -> String {
    names(source, |walk, start, before| {
        if before == Before::Dot && &walk.source[start..walk.at] == "module" && !walk.next_is_call() {
            let dot = walk.source[..start].rfind('.').unwrap_or(start);
            let (space, end) = (walk.source[dot + 1..start].to_owned(), walk.at);
            walk.replace(dot, end, &format!("[{space}\"module\"]"));
        }
    })
    .0
}

/// Shows every name outside texts and comments to `see`, which may replace what was passed. Gives the result, and about how
/// many tokens there were.
fn names(source: &str, mut see: impl FnMut(&mut Walk<'_>, usize, Before)) -> (String, usize) {
    let mut walk = Walk { source, at: 0, copied: 0, out: String::with_capacity(source.len() + source.len() / 8) };
    let mut before = Before::Other;
    let mut tokens = 0_usize;
    // Braces that are open in each `${…}` around this place.
    let mut holes: Vec<usize> = Vec::new();
    while let Some(byte) = walk.peek(0) {
        if byte.is_ascii_whitespace() {
            walk.at += 1;
            continue;
        }
        tokens += 1;
        match byte {
            b'/' if matches!(walk.peek(1), Some(b'/' | b'*')) => {
                walk.comment();
                tokens -= 1;
                continue;
            }
            b'"' | b'\'' => walk.string(byte),
            b'#' if walk.raw_string() => {}
            b'#' => {
                let run = walk.run(b'#');
                tokens = tokens.saturating_add(run.saturating_mul(run));
            }
            b'`' => {
                walk.at += 1;
                if walk.template() {
                    holes.push(0);
                }
            }
            b'{' => {
                if let Some(open) = holes.last_mut() {
                    *open += 1;
                }
                walk.at += 1;
            }
            b'}' => {
                walk.at += 1;
                if holes.last() == Some(&0) {
                    if !walk.template() {
                        holes.pop();
                    }
                } else if let Some(open) = holes.last_mut() {
                    *open -= 1;
                }
            }
            b'.' | b':' => {
                // `..` and `...` stand before operands, a single dot and `::` before names of something else.
                before = match (byte, walk.run(byte)) {
                    (b'.', 1) => Before::Dot,
                    (b':', 2) => Before::Part,
                    _ => Before::Other,
                };
                continue;
            }
            _ if byte.is_ascii_alphabetic() || byte == b'_' => {
                let start = walk.at;
                walk.word();
                see(&mut walk, start, before);
                before = if &source[start..walk.at] == "fn" { Before::Part } else { Before::Other };
                continue;
            }
            _ if byte.is_ascii_digit() => walk.word(),
            _ => walk.at += 1,
        }
        before = Before::Other;
    }
    walk.out.push_str(&source[walk.copied.min(source.len())..]);
    (walk.out, tokens)
}

/// What stands before a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// `.`: the name is a property or method.
    Dot,
    /// `::` or `fn`: the name is no call of a function by its own name either.
    Part,
    Other,
}

struct Walk<'a> {
    source: &'a str,
    at: usize,
    copied: usize,
    out: String,
}

impl Walk<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + ahead).copied()
    }

    fn run(&mut self, byte: u8) -> usize {
        let start = self.at;
        while self.peek(0) == Some(byte) {
            self.at += 1;
        }
        self.at - start
    }

    fn replace(&mut self, from: usize, to: usize, with: &str) {
        self.out.push_str(&self.source[self.copied..from]);
        self.out.push_str(with);
        self.copied = to;
    }

    fn word(&mut self) {
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
    }

    /// A parenthesis comes next, perhaps after space.
    fn next_is_call(&self) -> bool {
        self.next_is("(")
    }

    /// This comes next, perhaps after space.
    fn next_is(&self, text: &str) -> bool {
        self.source.get(self.at..).is_some_and(|rest| rest.trim_start().starts_with(text))
    }

    fn comment(&mut self) {
        if self.peek(1) == Some(b'/') {
            while self.peek(0).is_some_and(|byte| byte != b'\n') {
                self.at += 1;
            }
            return;
        }
        let mut depth = 0;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A text or a character with escapes.
    fn string(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == quote {
                return;
            }
        }
    }

    /// `#"…"#` with any number of `#`; false, and nothing passed, for anything else.
    fn raw_string(&mut self) -> bool {
        let rest = &self.source[self.at..];
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if !rest[hashes..].starts_with('"') {
            return false;
        }
        let end = format!("\"{}", &rest[..hashes]);
        let body = &rest[hashes + 1..];
        self.at += body.find(&end).map_or(rest.len(), |length| hashes + 1 + length + end.len());
        true
    }

    /// The text of a back-tick string from here on; true when it ends in `${`.
    fn template(&mut self) -> bool {
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'`', Some(b'`')) => self.at += 2,
                (b'`', _) => {
                    self.at += 1;
                    return false;
                }
                (b'$', Some(b'{')) => {
                    self.at += 2;
                    return true;
                }
                _ => self.at += 1,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(allow_module("ctx.module + `${c?.module}`"), "ctx[\"module\"] + `${c?[\"module\"]}`");
        for source in ["module", "a.modules", "\".module\"", "a.module()", "a..module", "// .module ü\nü"] {
            assert_eq!(allow_module(source), source);
        }
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
        for source in ["\"", "\"\\", "'", "`${", "`${`", "`${}", "/*", "#\"", "}}}", "\"\\ü", "ü.module", "'\\", "a./*"]
        {
            allow_module(source);
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
}
