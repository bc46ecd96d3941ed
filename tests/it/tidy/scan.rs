//! A source file as the rules see it: its place, its tokens and the paths it names.

use super::lexer::{Kind, Token, tokens};

/// A path in the code, resolved: `crate`, `super` and `self` become absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its segments; the first is `crate` for this crate, otherwise a crate's or a local name; the last may be `*`.
    pub(crate) segments: Vec<String>,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Whether only tests compile it.
    pub(crate) test: bool,
}

/// A scanned file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the top of the repository, with `/`.
    pub(crate) path: String,
    /// How many lines it has.
    pub(crate) lines: usize,
    /// Its tokens.
    pub(crate) tokens: Vec<Token>,
    /// The paths it names.
    pub(crate) paths: Vec<Named>,
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut tokens = tokens(text);
        mark_tests(&mut tokens, is_test_file(path));
        let paths = Paths { tokens: &tokens, module: module_of(path), inline: Vec::new(), out: Vec::new() }.run();
        Self { path: path.to_owned(), lines: text.lines().count(), tokens, paths }
    }

    /// The top folder and, for the two crates, the module under it: `("runtime", "engine")` for `runtime/engine/plan.rs`.
    pub(crate) fn place(&self) -> (&str, &str) {
        let (top, rest) = self.path.split_once('/').unwrap_or(("", &self.path));
        (top, rest.split(['/', '.']).next().unwrap_or(rest))
    }

    /// Whether the file is `stem.rs`, lies under `stem/`, or its name starts with `stem_`.
    pub(crate) fn within(&self, stem: &str) -> bool {
        self.path.strip_prefix(stem).is_some_and(|rest| rest.starts_with(['/', '.', '_']))
    }
}

/// Files that a `#[cfg(test)] mod tests;` brings in; that it stands there is a rule of its own.
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.split(['/', '.']).any(|part| part == "tests")
}

fn module_of(path: &str) -> Vec<String> {
    let inner = path.split_once('/').map_or(path, |(_, rest)| rest).trim_end_matches(".rs");
    if matches!(inner, "lib" | "main") { Vec::new() } else { inner.split('/').map(str::to_owned).collect() }
}

/// The index of the bracket that closes the one at `open`; the last index when none does.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Punct('(' | '[' | '{') => depth += 1,
            Kind::Punct(')' | ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

/// Marks what stands behind `#[cfg(test)]` or `#[cfg(all(test, …))]`; everything behind `#![cfg(test)]`.
fn mark_tests(tokens: &mut [Token], whole: bool) {
    if whole {
        tokens.iter_mut().for_each(|token| token.test = true);
        return;
    }
    let mut at = 0;
    while at < tokens.len() {
        let inner = at + 1 < tokens.len() && tokens[at + 1].punct('!');
        let open = at + 1 + usize::from(inner);
        if !tokens[at].punct('#') || !tokens.get(open).is_some_and(|t| t.punct('[')) {
            at += 1;
            continue;
        }
        let close = closing(tokens, open);
        if is_cfg_test(&tokens[open..=close]) {
            let end = if inner { tokens.len() - 1 } else { item_end(tokens, close + 1) };
            tokens[at..=end].iter_mut().for_each(|token| token.test = true);
            at = end;
        }
        at = at.max(close) + 1;
    }
}

fn is_cfg_test(attribute: &[Token]) -> bool {
    let has = |name: &str| attribute.iter().any(|token| token.is(name));
    attribute.get(1).is_some_and(|token| token.is("cfg")) && has("test") && !has("not") && !has("any")
}

/// The index at which the item that starts at `at`, attributes first, ends.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let last = tokens.len() - 1;
    while at < last && tokens[at].punct('#') {
        at = closing(tokens, at + 1) + 1;
    }
    let is_use = tokens[at.min(last)..].iter().take_while(|t| !t.punct(';') && !t.punct('{')).any(|t| t.is("use"));
    while at < last {
        match tokens[at].kind {
            Kind::Punct(';') => return at,
            Kind::Punct('{') if !is_use => return closing(tokens, at),
            Kind::Punct('(' | '[' | '{') => at = closing(tokens, at),
            Kind::Punct('}') => return at - 1,
            _ => {}
        }
        at += 1;
    }
    last
}

/// Reads the paths of a file.
struct Paths<'a> {
    tokens: &'a [Token],
    module: Vec<String>,
    /// Inline modules that are open: their name and the index at which they close.
    inline: Vec<(String, usize)>,
    out: Vec<Named>,
}

impl Paths<'_> {
    fn run(mut self) -> Vec<Named> {
        let mut at = 0;
        while at < self.tokens.len() {
            self.inline.retain(|(_, end)| at <= *end);
            let next = |ahead: usize| self.tokens.get(at + ahead);
            if self.tokens[at].is("use") && !next(1).is_some_and(|t| t.punct('<')) {
                at = self.tree(at + 1, &[]);
            } else if self.tokens[at].is("mod") && next(2).is_some_and(|t| t.punct('{')) {
                if let Some(Kind::Ident(name)) = next(1).map(|t| &t.kind) {
                    self.inline.push((name.clone(), closing(self.tokens, at + 2)));
                }
                at += 3;
            } else if self.tokens[at].is("extern") && next(1).is_some_and(|t| t.is("crate")) {
                at = self.tree(at + 2, &[]);
            } else {
                at = self.path(at);
            }
        }
        self.out
    }

    /// A path outside `use`, or one token that is none; gives the next index. Single names are left out.
    fn path(&mut self, start: usize) -> usize {
        let mut at = start;
        if self.tokens[at].kind == Kind::PathSep {
            at += 1;
        }
        let mut segments = Vec::new();
        while let Some(Kind::Ident(name)) = self.tokens.get(at).map(|token| &token.kind) {
            segments.push(name.clone());
            at += 1;
            let more = self.tokens.get(at).is_some_and(|t| t.kind == Kind::PathSep)
                && self.tokens.get(at + 1).is_some_and(|t| matches!(t.kind, Kind::Ident(_)));
            if !more {
                break;
            }
            at += 1;
        }
        let continues = start > 0
            && self.tokens[start].kind == Kind::PathSep
            && matches!(self.tokens[start - 1].kind, Kind::Punct('>') | Kind::Ident(_));
        // `name::<…>` and `name::{…}` name a crate too, so a single segment counts where `::` follows.
        let rooted = segments.len() > 1 || self.tokens.get(at).is_some_and(|t| t.kind == Kind::PathSep);
        if !segments.is_empty() && rooted && !continues {
            self.keep(segments, start);
        }
        at.max(start + 1)
    }

    /// A tree of a `use` whose path so far is `prefix`; gives the index after it.
    fn tree(&mut self, mut at: usize, prefix: &[String]) -> usize {
        let start = at;
        let mut segments = prefix.to_vec();
        while let Some(token) = self.tokens.get(at) {
            match &token.kind {
                Kind::Ident(name) if name == "as" => at += 2,
                Kind::Ident(name) => {
                    segments.push(name.clone());
                    at += 1;
                }
                Kind::Punct('*') => {
                    segments.push("*".into());
                    at += 1;
                }
                Kind::PathSep => at += 1,
                Kind::Punct('{') => {
                    let end = closing(self.tokens, at);
                    at += 1;
                    while at < end {
                        at = self.tree(at, &segments).max(at + 1);
                    }
                    let after = end + 1;
                    return if self.tokens.get(after).is_some_and(|t| t.punct(',') || t.punct(';')) {
                        after + 1
                    } else {
                        after
                    };
                }
                Kind::Punct(',' | ';') => {
                    at += 1;
                    break;
                }
                _ => break,
            }
        }
        if segments.len() > prefix.len() {
            self.keep(segments, start);
        }
        at
    }

    fn keep(&mut self, mut segments: Vec<String>, at: usize) {
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let mut here = self.module.clone();
        here.extend(self.inline.iter().map(|(name, _)| name.clone()));
        match segments[0].as_str() {
            "crate" => here.clear(),
            "self" => {}
            "super" => {
                while segments.first().is_some_and(|first| first == "super") {
                    here.pop();
                    segments.remove(0);
                }
                segments.insert(0, "super".into());
            }
            _ => here = Vec::new(),
        }
        if matches!(segments[0].as_str(), "crate" | "self" | "super") {
            segments.remove(0);
            here.insert(0, "crate".into());
        }
        here.append(&mut segments);
        self.out.push(Named { segments: here, line: self.tokens[at].line, test: self.tokens[at].test });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expected: &[&str]) {
        let found: Vec<_> = Source::new(path, text).paths.iter().map(|p| p.segments.join("::")).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn use_trees_are_read_leaf_by_leaf() {
        check(
            "runtime/a.rs",
            "use crate::{b::{C, d::*}, e as f, self}; pub use ::g::h;",
            &["crate::b::C", "crate::b::d::*", "crate::e", "crate", "g::h"],
        );
        check("runtime/a.rs", "use a::{b, c}; fn f() -> impl Fn() + use<'a, T> { d::e() }", &["a::b", "a::c", "d::e"]);
    }

    #[test]
    fn super_and_self_count_from_the_file_and_its_inline_modules() {
        check(
            "runtime/a/b.rs",
            "use super::c; mod m { use super::super::d; use self::e; } use super::super::f::G;",
            &["crate::a::c", "crate::a::d", "crate::a::b::m::e", "crate::f::G"],
        );
        check("runtime/a.rs", "fn f(x: super::b::C) {}", &["crate::b::C"]);
    }

    #[test]
    fn paths_in_code_are_read_and_single_names_are_not() {
        check(
            "runtime/a.rs",
            "let x = sled::open(y)?; Vec::<mlua::Lua>::new(); <T as u::V>::w::x();",
            &["sled::open", "Vec", "mlua::Lua", "u::V"],
        );
    }

    #[test]
    fn only_what_stands_behind_cfg_test_is_test_code() {
        let text = "use a::b; #[cfg(test)] use c::{d}; #[cfg(test)] #[x] mod tests { use e::f; } use g::h;
            #[cfg(not(test))] use i::j; #[cfg(any(test, x))] use k::l; #[cfg(all(test, x))] fn f() { m::n } use o::p;";
        let source = Source::new("runtime/a.rs", text);
        let tests: Vec<_> = source.paths.iter().filter(|p| p.test).map(|p| p.segments.join("::")).collect();
        assert_eq!(tests, ["c::d", "e::f", "m::n"]);
        assert!(Source::new("runtime/a/tests.rs", "use b::c;").paths[0].test);
        assert!(Source::new("runtime/a.rs", "#![cfg(test)] use b::c;").paths[0].test);
        assert!(!Source::new("runtime/a/contests.rs", "use b::c;").paths[0].test);
    }

    #[test]
    fn broken_text_is_read_without_a_panic() {
        for text in
            ["use {", "use a::{b", "#[cfg(test)]", "#[", "mod x {", "use super::super::super::a;", "'", "r#\"", "}"]
        {
            Source::new("runtime/a.rs", text);
        }
    }
}
