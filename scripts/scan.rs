//! Which host functions a source names, and where: without running it, so for hints only.

use crate::api::{FUNCTIONS, Function};
use crate::host::Language;

/// A place where a source names a host function.
#[derive(Clone, Debug)]
pub struct Named {
    /// The function.
    pub function: &'static Function,
    /// Line from 1.
    pub line: usize,
    /// Column from 1, in characters.
    pub column: usize,
    /// The arguments of the call, as far as the text tells them; none where it is not called.
    pub arguments: Vec<Argument>,
}

/// An argument, as the text of a call tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// This text.
    Text(String),
    /// A text that begins so, put together with something else.
    Start(String),
    /// Anything else.
    Other,
}

/// Arguments of a call that are looked at.
const MOST_ARGUMENTS: usize = 4;

/// Tokens of a call that are looked at.
const MOST_TOKENS: usize = 200;

/// Every `group.name` of the table that stands in `source` outside texts and comments, in order. A local variable of a
/// group's name is taken for the group.
#[must_use]
pub fn host_functions(language: Language, source: &str) -> Vec<Named> {
    let mut scan = Scan { language, source, at: 0 };
    let mut found = Vec::new();
    let mut after_dot = false;
    while let Some(token) = scan.next() {
        let Token::Name(start) = token else {
            after_dot = matches!(token, Token::Sign(b'.' | b':'));
            continue;
        };
        if std::mem::take(&mut after_dot) {
            continue;
        }
        let group = &source[start..scan.at];
        let Some(name) = scan.member() else { continue };
        let Some(function) = FUNCTIONS.iter().find(|one| one.group == group && one.name == name) else { continue };
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        found.push(Named {
            function,
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
            arguments: scan.arguments(),
        });
    }
    found
}

/// A piece of a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    /// A name, from here to where the scan stands.
    Name(usize),
    /// A text, from here to where the scan stands.
    Text(usize),
    Sign(u8),
}

struct Scan<'a> {
    language: Language,
    source: &'a str,
    at: usize,
}

impl Scan<'_> {
    fn rest(&self) -> &[u8] {
        &self.source.as_bytes()[self.at.min(self.source.len())..]
    }

    fn next(&mut self) -> Option<Token> {
        self.space();
        let start = self.at;
        let first = *self.rest().first()?;
        if first.is_ascii_alphabetic() || first == b'_' {
            let length = self.rest().iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            self.at += length;
            return Some(Token::Name(start));
        }
        let long = if self.language == Language::Lua { self.long_bracket() } else { None };
        if let Some(end) = long {
            self.at = end;
            return Some(Token::Text(start));
        }
        // what a template holds is code, so only its quotes are passed
        if matches!(first, b'"' | b'\'') {
            self.quoted(first);
            return Some(Token::Text(start));
        }
        self.at += self.source[start..].chars().next().map_or(1, char::len_utf8);
        Some(Token::Sign(first))
    }

    /// Passes space and comments.
    fn space(&mut self) {
        loop {
            let rest = self.rest();
            match (self.language, rest) {
                (_, [byte, ..]) if byte.is_ascii_whitespace() => self.at += 1,
                (Language::Lua, [b'-', b'-', ..]) => {
                    self.at += 2;
                    match self.long_bracket() {
                        Some(end) => self.at = end,
                        None => self.line(),
                    }
                }
                (Language::Rhai, [b'/', b'/', ..]) => self.line(),
                (Language::Rhai, [b'/', b'*', ..]) => self.block(),
                _ => return,
            }
        }
    }

    fn line(&mut self) {
        self.at += self.rest().iter().take_while(|byte| **byte != b'\n').count();
    }

    /// Rhai's block comments nest.
    fn block(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.rest() {
                [b'/', b'*', ..] => (depth, self.at) = (depth + 1, self.at + 2),
                [b'*', b'/', ..] => {
                    (depth, self.at) = (depth - 1, self.at + 2);
                    if depth == 0 {
                        return;
                    }
                }
                [_, ..] => self.at += 1,
                [] => return,
            }
        }
    }

    /// The end of a `[[…]]` or `[=[…]=]` that begins here.
    fn long_bracket(&self) -> Option<usize> {
        let rest = self.rest();
        let level = rest.strip_prefix(b"[")?.iter().take_while(|byte| **byte == b'=').count();
        if rest.get(level + 1) != Some(&b'[') {
            return None;
        }
        let end = format!("]{}]", "=".repeat(level));
        let body = self.at + level + 2;
        Some(self.source[body..].find(&end).map_or(self.source.len(), |at| body + at + end.len()))
    }

    fn quoted(&mut self, quote: u8) {
        self.at += 1;
        while let Some(byte) = self.rest().first().copied() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == quote || byte == b'\n' {
                break;
            }
        }
        // an escape may have led into the middle of a character
        self.at = self.source.len().min(self.at);
        while !self.source.is_char_boundary(self.at) {
            self.at += 1;
        }
    }

    /// The name after a dot; nothing is passed if there is none.
    fn member(&mut self) -> Option<String> {
        let start = self.at;
        self.space();
        if self.next() == Some(Token::Sign(b'.'))
            && let Some(Token::Name(name)) = self.next()
        {
            return Some(self.source[name..self.at].to_owned());
        }
        self.at = start;
        None
    }

    /// The arguments of a call from here; nothing is passed.
    fn arguments(&mut self) -> Vec<Argument> {
        let start = self.at;
        let mut found = Vec::new();
        match self.next() {
            Some(Token::Text(from)) if self.language == Language::Lua => found.extend(self.plain(from)),
            Some(Token::Sign(b'{')) if self.language == Language::Lua => found.push(Argument::Other),
            Some(Token::Sign(b'(')) => {
                let mut left = MOST_TOKENS;
                while found.len() < MOST_ARGUMENTS {
                    let Some((argument, is_last)) = self.argument(&mut left) else { break };
                    found.push(argument);
                    if is_last {
                        break;
                    }
                }
            }
            _ => {}
        }
        self.at = start;
        found
    }

    /// Passes one argument and what ends it, and says whether that ended the call; nothing for a call without arguments.
    fn argument(&mut self, left: &mut usize) -> Option<(Argument, bool)> {
        self.space();
        let mut argument = self.template();
        let (mut depth, mut tokens) = (0_usize, usize::from(argument.is_some()));
        loop {
            *left = left.checked_sub(1)?;
            let token = self.next()?;
            let is_end = depth == 0 && matches!(token, Token::Sign(b')' | b','));
            if is_end && tokens == 0 {
                return None;
            }
            if is_end {
                return Some((argument.unwrap_or(Argument::Other), token == Token::Sign(b')')));
            }
            tokens += 1;
            match token {
                Token::Sign(b'(' | b'[' | b'{') => depth += 1,
                Token::Sign(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
                Token::Text(from) if tokens == 1 => argument = self.plain(from),
                // what a text is put together with
                Token::Sign(sign) if tokens == 2 && self.puts_together(sign) => {
                    argument = argument.map(|argument| match argument {
                        Argument::Text(text) => Argument::Start(text),
                        other => other,
                    });
                }
                _ if tokens == 2 && !matches!(argument, Some(Argument::Start(_))) => argument = None,
                _ => {}
            }
        }
    }

    /// Whether the sign that was passed puts texts together: `..` of Lua, `+` of Rhai.
    fn puts_together(&self, sign: u8) -> bool {
        match self.language {
            Language::Lua => sign == b'.' && self.rest().first() == Some(&b'.'),
            Language::Rhai => sign == b'+',
        }
    }

    /// The text that was passed from `from` on, if it means what it looks like.
    fn plain(&self, from: usize) -> Option<Argument> {
        let text = &self.source[from..self.at];
        let inner = text.get(1..text.len().checked_sub(1)?)?;
        let is_plain = text.starts_with(['"', '\'']) && !inner.contains(['\\', '\n']);
        Some(if is_plain { Argument::Text(inner.to_owned()) } else { Argument::Other })
    }

    /// A text in back-ticks: as a whole it is passed, otherwise its first tick is.
    fn template(&mut self) -> Option<Argument> {
        let inner = std::str::from_utf8(self.rest()).ok()?.strip_prefix('`')?;
        let hole = if self.language == Language::Lua { "{" } else { "${" };
        let end = inner.find('`').unwrap_or(inner.len());
        let text = &inner[..inner.find(hole).map_or(end, |hole| hole.min(end))];
        let (is_whole, is_plain) = (text.len() == end, !text.contains(['\\', '\n']));
        let argument = match (is_plain, is_whole) {
            (true, true) => Argument::Text(text.to_owned()),
            (true, false) => Argument::Start(text.to_owned()),
            (false, _) => Argument::Other,
        };
        self.at += if is_whole { (end + 2).min(inner.len() + 1) } else { 1 };
        Some(argument)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(language: Language, source: &str) -> Vec<(String, usize, usize, Option<String>)> {
        let found = host_functions(language, source).into_iter();
        let first = |one: &Named| match one.arguments.first() {
            Some(Argument::Text(text)) => Some(text.clone()),
            _ => None,
        };
        found.map(|one| (one.function.id.path(), one.line, one.column, first(&one))).collect()
    }

    #[test]
    fn arguments_are_told_as_far_as_the_text_tells_them() {
        use Argument::Other;
        let text = |text: &str| Argument::Text(text.to_owned());
        let start = |text: &str| Argument::Start(text.to_owned());
        for (language, call, arguments) in [
            (Language::Lua, "kv.get('a', \"b\")", vec![text("a"), text("b")]),
            (Language::Lua, "kv.get('a' .. b, c)", vec![start("a"), Other]),
            (Language::Lua, "kv.get(f('x', { 1, 2 }), 'b')", vec![Other, text("b")]),
            (Language::Lua, "kv.get{ 'a' }", vec![Other]),
            (Language::Lua, "kv.get(`a{b}c`, 1)", vec![start("a"), Other]),
            (Language::Lua, "kv.get('a', [[b]])", vec![text("a"), Other]),
            (Language::Lua, "kv.get('a\\n')", vec![Other]),
            (Language::Lua, "kv.get('a':rep(2))", vec![Other]),
            (Language::Lua, "kv.get(`a`..b, `c`.d)", vec![start("a"), Other]),
            (Language::Lua, "kv.get('1' + b, 'c'.d)", vec![Other, Other]),
            (Language::Lua, "kv.get() 'a'", vec![]),
            (Language::Lua, "local get = kv.get", vec![]),
            (Language::Rhai, "kv.get(`a`, \"b\" + c)", vec![text("a"), start("b")]),
            (Language::Rhai, "kv.get(`a/${b}`)", vec![start("a/")]),
            (Language::Rhai, "kv.get(\"a\".to_upper(), `b`.c())", vec![Other, Other]),
            (Language::Rhai, "kv.get(`a` + b.c(), \"a\" .. b)", vec![start("a"), Other]),
            (Language::Rhai, "kv.get(1, #{ a: 1, b: 2 }, `c`)", vec![Other, Other, text("c")]),
            (Language::Rhai, "kv.get(\"a\", ", vec![text("a")]),
        ] {
            let found = host_functions(language, call);
            assert_eq!(found[0].arguments, arguments, "{call}");
        }
    }

    #[test]
    fn functions_are_found_with_place_and_plain_argument() {
        let row = |path: &str, line, column, argument: Option<&str>| {
            (path.to_owned(), line, column, argument.map(str::to_owned))
        };
        assert_eq!(
            named(Language::Lua, "local a = kv.get(\"k\")\n  db . query( sql )\nkv.get 'x'"),
            [row("kv.get", 1, 11, Some("k")), row("db.query", 2, 3, None), row("kv.get", 3, 1, Some("x"))]
        );
        assert_eq!(
            named(Language::Rhai, "let a = `${kv.get(\"k\")}`;\n\nlog.info(1);"),
            [row("kv.get", 1, 12, Some("k")), row("log.info", 3, 1, None)]
        );
    }

    #[test]
    fn texts_comments_and_other_names_are_passed() {
        for source in [
            "-- kv.get()",
            "--[[ kv.get()\n]] x",
            "'kv.get()'",
            "[[kv.get()]]",
            "[==[ ]] kv.get ]==]",
            "a.kv.get()",
            "a:kv.get()",
            "kv2.get()",
            "kv.gets()",
            "\"\\\"kv.get\"",
        ] {
            assert!(named(Language::Lua, source).is_empty(), "{source}");
        }
        for source in
            ["// kv.get()", "/* /* */ kv.get() */", "\"kv.get()\"", "a.kv.get()", "lib::kv.get()", "kv.nothing()"]
        {
            assert!(named(Language::Rhai, source).is_empty(), "{source}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_passed_without_harm(source in "[a-z\"'`\\\\/*\\[\\]=.:(){}\\-\\n äkv]{0,80}") {
            for language in [Language::Lua, Language::Rhai] {
                let _ = host_functions(language, &source);
            }
        }
    }
}
