//! What is changed in a source before it is compiled; lines stay what they were.
//!
//! Rhai 1.27 remembers which function an unqualified call means by name and number of arguments alone, for the whole call
//! from outside: once `is_name(x)` meant that of `lib/users.rhai`, it means the same in `lib/permissions.rhai`. A qualified
//! call is looked up each time. So every call of a file's own function is compiled as `lib::users::is_name(x)`.
//!
//! `module` is a reserved word, but `ctx.module` is in the contract: it is compiled as `ctx["module"]`.
//!
//! Three things print or hash a whole value inside the engine, where no gate stands: `${…}`, `switch`, and an assignment to an
//! element, which may be a part of a text. Their value is compiled as `() ^ value` or the like, operators of [`super::shown`]
//! that look at it first. A function without a statement is called without a step of the engine, also a million times by
//! `retain`: it gets one. `^` binds as weakly as any operator does, and `&` as weakly as any but those that give a number or a
//! truth; the hole of a text is a block.

use std::collections::BTreeSet;

/// `source` with `namespace::` before each call of one of its `functions`. The source is known to compile.
pub(super) fn qualify(source: &str, namespace: &str, functions: &BTreeSet<String>) -> String {
    walk(source, |walk, seen| {
        if let Seen::Name(start, Before::Element | Before::Other) = seen
            && functions.contains(&walk.source[start..walk.at])
            && walk.next_is_call()
        {
            walk.replace(start, start, &format!("{namespace}::"));
        }
    })
    .text
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
    walk(source, |walk, seen| {
        let Seen::Name(start, before) = seen else { return };
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
    walk(source, |_, _| {}).tokens
}

/// `source` with `["module"]` for each `.module`, and with a look at each value that the engine prints or hashes by itself.
pub(super) fn prepare(source: &str) -> Changed {
    walk(source, |walk, seen| match seen {
        Seen::Name(start, Before::Dot) if &walk.source[start..walk.at] == "module" && !walk.next_is_call() => {
            let dot = walk.source[..start].rfind('.').unwrap_or(start);
            let (space, end) = (walk.source[dot + 1..start].to_owned(), walk.at);
            walk.replace(dot, end, &format!("[{space}\"module\"]"));
        }
        Seen::Name(start, Before::Element | Before::Other) if &walk.source[start..walk.at] == "switch" => {
            walk.insert(" ()^ ")
        }
        Seen::Name(..) => {}
        Seen::HoleBegins => walk.insert("()-{"),
        Seen::HoleEnds => walk.insert("}"),
        Seen::Assignment => walk.insert(" ()& "),
        Seen::FunctionBegins if walk.is_hollow() => walk.insert("();"),
        Seen::FunctionBegins => {}
        Seen::NoBody if walk.peek(0) == Some(b';') => walk.replace(walk.at, walk.at + 1, "()"),
        Seen::NoBody => walk.insert("()"),
    })
}

/// A source that was changed.
pub(super) struct Changed {
    pub(super) text: String,
    /// About how many tokens there were.
    tokens: usize,
    edits: Vec<Edit>,
}

/// Bytes that were put in the place of others.
struct Edit {
    /// Where they are in the result.
    at: usize,
    inserted: usize,
    removed: usize,
}

impl Changed {
    /// The column in the source of one in the result. Both count letters from 1.
    pub(super) fn column(&self, line: usize, column: usize) -> usize {
        let lines = self.text.split_inclusive('\n');
        let start = lines.clone().take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        let letters = self.text[start..].chars().take(column.saturating_sub(1));
        let at = start + letters.map(char::len_utf8).sum::<usize>();
        let before = self.edits.iter().filter(|edit| (start..at).contains(&edit.at));
        before
            .fold(column, |column, edit| (column + edit.removed).saturating_sub(edit.inserted.min(at - edit.at)))
            .max(1)
    }
}

/// Shows what a source consists of, outside texts and comments, to `see`, which may replace what was passed.
fn walk(source: &str, mut see: impl FnMut(&mut Walk<'_>, Seen)) -> Changed {
    let out = String::with_capacity(source.len() + source.len() / 8);
    let mut walk = Walk { source, at: 0, copied: 0, out, edits: Vec::new() };
    let mut before = Before::Other;
    let mut tokens = 0_usize;
    // Whether the `{` of a function is still to come.
    let mut head = false;
    // Whether the parameters of a closure, or a `|` of another kind, stand just before.
    let mut bar = false;
    // Where the last `|` ended.
    let mut behind = 0;
    // Braces that are open in each `${…}` around this place.
    let mut holes: Vec<usize> = Vec::new();
    while let Some(byte) = walk.peek(0) {
        if byte.is_ascii_whitespace() {
            walk.at += 1;
            continue;
        }
        tokens += 1;
        let behind_bar = std::mem::replace(&mut bar, byte == b'|');
        if bar {
            behind = walk.at + 1;
        }
        match byte {
            b'/' if matches!(walk.peek(1), Some(b'/' | b'*')) => {
                walk.comment();
                tokens -= 1;
                bar = behind_bar;
                continue;
            }
            b';' if behind_bar => {
                see(&mut walk, Seen::NoBody);
                walk.at += 1;
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
                    see(&mut walk, Seen::HoleBegins);
                }
            }
            b'{' => {
                if let Some(open) = holes.last_mut() {
                    *open += 1;
                }
                walk.at += 1;
                if std::mem::take(&mut head) || behind_bar {
                    see(&mut walk, Seen::FunctionBegins);
                }
            }
            b'}' if holes.last() == Some(&0) => {
                see(&mut walk, Seen::HoleEnds);
                walk.at += 1;
                if walk.template() {
                    see(&mut walk, Seen::HoleBegins);
                } else {
                    holes.pop();
                }
            }
            b'}' => {
                walk.at += 1;
                if let Some(open) = holes.last_mut() {
                    *open -= 1;
                }
            }
            b']' | b')' => {
                walk.at += 1;
                before = Before::Element;
                continue;
            }
            b'=' => {
                let run = walk.run(b'=');
                if run == 1 && walk.peek(0) != Some(b'>') && before == Before::Element {
                    see(&mut walk, Seen::Assignment);
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
                see(&mut walk, Seen::Name(start, before));
                let is_fn = &source[start..walk.at] == "fn";
                head |= is_fn;
                before = if is_fn { Before::Part } else { Before::Other };
                continue;
            }
            _ if byte.is_ascii_digit() => walk.word(),
            _ => walk.at += 1,
        }
        before = Before::Other;
    }
    if bar {
        walk.at = behind;
        see(&mut walk, Seen::NoBody);
    }
    walk.out.push_str(&source[walk.copied.min(source.len())..]);
    Changed { text: walk.out, tokens, edits: walk.edits }
}

/// A part of a source that may have to be changed; the walk stands behind it, and before the end of a hole.
enum Seen {
    /// A name that begins there.
    Name(usize, Before),
    /// The `${` of a text.
    HoleBegins,
    /// Its `}`.
    HoleEnds,
    /// A `=` behind an element.
    Assignment,
    /// The `{` of a function, or one behind a `|`, where a step more changes nothing.
    FunctionBegins,
    /// The `;`, or the end of the file, that is the body of a closure.
    NoBody,
}

/// What stands before a name or a `=`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// `.`: the name is a property or method.
    Dot,
    /// `::` or `fn`: the name is no call of a function by its own name either.
    Part,
    /// `]`, or `)`, which may stand around one.
    Element,
    Other,
}

struct Walk<'a> {
    source: &'a str,
    at: usize,
    copied: usize,
    out: String,
    edits: Vec<Edit>,
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
        self.edits.push(Edit { at: self.out.len(), inserted: with.len(), removed: to - from });
        self.out.push_str(with);
        self.copied = to;
    }

    fn insert(&mut self, text: &str) {
        self.replace(self.at, self.at, text);
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

    /// No statement stands between here and the end of the block.
    fn is_hollow(&self) -> bool {
        let mut rest = Walk { source: self.source, at: self.at, copied: 0, out: String::new(), edits: Vec::new() };
        let mut open = 1;
        while open > 0 {
            match (rest.peek(0), rest.peek(1)) {
                (Some(b'/'), Some(b'/' | b'*')) => {
                    rest.comment();
                    continue;
                }
                (Some(b'{'), _) => open += 1,
                (Some(b'}'), _) => open -= 1,
                (Some(byte), _) if byte == b';' || byte.is_ascii_whitespace() => {}
                _ => return false,
            }
            rest.at += 1;
        }
        true
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
#[path = "qualify/tests.rs"]
mod tests;
