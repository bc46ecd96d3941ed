//! The rules: each reads one source and gives what breaks it.

use std::fmt;

use super::lexer::Kind;
use super::scan::{Named, Source};
use super::table::{FOLDERS, IMPURE, IMPURE_NAMES, MAX_LINES, PURE, STATUS, UNSAFE, VENDORS};

/// A broken rule at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    /// The file.
    pub(crate) file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub(crate) line: usize,
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.message)
    }
}

/// A rule: adds what `source` breaks.
pub(crate) type Rule = fn(&Source, &mut Vec<Breach>);

/// All rules that look at one file.
pub(crate) const RULES: &[Rule] = &[imports, vendors, shape, unsafety, unfinished, purity, status];

fn breach(source: &Source, line: usize, rule: &'static str, message: impl Into<String>) -> Breach {
    Breach { file: source.path.clone(), line, rule, message: message.into() }
}

/// A path as the import table writes it: the folder, then what is named in it.
fn target(named: &Named) -> Option<(&str, &str)> {
    let part = |at: usize| named.segments.get(at).map_or("", String::as_str);
    match part(0) {
        "crate" => Some((part(1), part(2))),
        "replug_scripts" => Some(("scripts", part(1))),
        _ => None,
    }
}

/// The import table: a folder names only what stands below it. Tests may set up more than what they test.
fn imports(source: &Source, out: &mut Vec<Breach>) {
    const RULE: &str = "import table";
    let (top, own) = source.place();
    if top == "scripts" {
        for named in source.paths.iter().filter(|named| named.segments[0] == "replug") {
            out.push(breach(
                source,
                named.line,
                RULE,
                "scripts knows nothing of modules: take a trait or plain data instead",
            ));
        }
    }
    if top != "runtime" {
        return;
    }
    let Some(folder) = FOLDERS.iter().find(|folder| folder.name == own) else {
        out.push(breach(
            source,
            0,
            RULE,
            format!("`{own}` is not in the table: add it to tests/it/tidy/table.rs and to the book"),
        ));
        return;
    };
    if folder.may == ["*"] {
        return;
    }
    for named in source.paths.iter().filter(|named| !named.test) {
        let Some((to, item)) = target(named) else { continue };
        let one = format!("{to}::{item}");
        if to == own || to == "manifest" || folder.may.iter().any(|may| *may == to || *may == one) {
            continue;
        }
        let message = if matches!(to, "" | "*") {
            format!("{own} names the whole crate: name the one folder it needs")
        } else if !FOLDERS.iter().any(|folder| folder.name == to) && to != "scripts" {
            format!("{own} names crate::{to}, which is no folder: import from the folder that defines it")
        } else {
            let may = if folder.may.is_empty() { "nothing of ours".to_owned() } else { folder.may.join(", ") };
            format!(
                "{own} names {one}, but may name only {may}: take it as an argument or behind a trait of {own}, or send a monitor event"
            )
        };
        out.push(breach(source, named.line, RULE, message));
    }
}

/// Vendors stay home, in tests too.
fn vendors(source: &Source, out: &mut Vec<Breach>) {
    if !matches!(source.place().0, "runtime" | "scripts") {
        return;
    }
    for named in &source.paths {
        for vendor in VENDORS.iter().filter(|vendor| vendor.crates.contains(&named.segments[0].as_str())) {
            if !vendor.home.iter().any(|home| source.within(home)) {
                let message = format!(
                    "{} may be named only in {}: use what that folder offers",
                    named.segments[0],
                    vendor.home.join(", ")
                );
                out.push(breach(source, named.line, "vendors stay home", message));
            }
        }
    }
}

/// Small files, named for what they hold.
fn shape(source: &Source, out: &mut Vec<Breach>) {
    if source.lines > MAX_LINES {
        let message = format!("{} lines, at most {MAX_LINES} are allowed: split it by what its parts do", source.lines);
        out.push(breach(source, MAX_LINES + 1, "file size", message));
    }
    if source.path.ends_with("/mod.rs") {
        out.push(breach(source, 0, "file name", "no mod.rs: name the file after its folder, one level up"));
    }
}

/// `unsafe` only where its argument is written down.
fn unsafety(source: &Source, out: &mut Vec<Breach>) {
    let code = |name: &str| source.tokens.iter().find(|token| token.is(name));
    if UNSAFE.contains(&source.path.as_str()) {
        return;
    }
    for token in ["unsafe", "unsafe_code"].iter().filter_map(|name| code(name)) {
        let message = format!("unsafe code lives in {} alone: find a safe way", UNSAFE.join(", "));
        out.push(breach(source, token.line, "unsafe", message));
    }
}

/// Nothing is put off or hidden: `todo!`, `#[ignore]`, `allow(dead_code)`; `mod tests` is test code.
fn unfinished(source: &Source, out: &mut Vec<Breach>) {
    let tokens = &source.tokens;
    let after = |at: usize, c: char| tokens.get(at + 1).is_some_and(|token| token.punct(c));
    let mut attribute = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Punct('[') if attribute > 0 || at > 0 && (tokens[at - 1].punct('#') || tokens[at - 1].punct('!')) => {
                let opens = tokens[at - 1].punct('#') || at > 1 && tokens[at - 2].punct('#');
                attribute += usize::from(attribute > 0 || opens);
            }
            Kind::Punct(']') => attribute = attribute.saturating_sub(1),
            Kind::Ident(name) => {
                let message = match name.as_str() {
                    "todo" | "unimplemented" if after(at, '!') => "write it now, or leave the feature out",
                    "ignore" if attribute > 0 => "a test runs or does not exist",
                    "dead_code" | "unused" if attribute > 0 => "remove the code that nothing uses",
                    "tests" if at > 0 && tokens[at - 1].is("mod") && !token.test => {
                        "put #[cfg(test)] before `mod tests`"
                    }
                    _ => continue,
                };
                out.push(breach(source, token.line, "unfinished", format!("`{name}`: {message}")));
            }
            _ => {}
        }
    }
}

/// Pure files: no clock, no input or output, nothing async. Their tests may read fixtures.
fn purity(source: &Source, out: &mut Vec<Breach>) {
    if !PURE.iter().any(|pure| source.within(pure)) {
        return;
    }
    let mut at = |line: usize, name: &str| {
        let message = format!("this file is pure and names {name}: take the value as an argument");
        out.push(breach(source, line, "purity", message));
    };
    for named in source.paths.iter().filter(|named| !named.test) {
        let path = named.segments.join("::");
        let begins =
            |bad: &&&str| path.strip_prefix(**bad).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        if let Some(bad) = IMPURE.iter().find(begins) {
            at(named.line, bad);
        }
    }
    for (index, token) in source.tokens.iter().enumerate().filter(|(_, token)| !token.test) {
        let Kind::Ident(name) = &token.kind else { continue };
        // A field, variable or parameter may be called `now`; a call or a path may not.
        let before = index.checked_sub(1).map(|i| &source.tokens[i]);
        let called = before.is_some_and(|t| t.kind == Kind::PathSep)
            || before.is_some_and(|t| t.punct('.')) && source.tokens.get(index + 1).is_some_and(|t| t.punct('('));
        let keyword = matches!(name.as_str(), "async" | "await" | "SystemTime" | "File");
        if IMPURE_NAMES.contains(&name.as_str()) && (keyword || called) {
            at(token.line, name);
        }
    }
}

/// HTTP status is the affair of the edges.
fn status(source: &Source, out: &mut Vec<Breach>) {
    if !matches!(source.place().0, "runtime" | "scripts") || STATUS.iter().any(|stem| source.within(stem)) {
        return;
    }
    for token in source.tokens.iter().filter(|token| !token.test && token.is("StatusCode")) {
        let message = format!(
            "StatusCode is named only in {}: return an error of this folder and map it there",
            STATUS.join(", ")
        );
        out.push(breach(source, token.line, "http status", message));
    }
}
