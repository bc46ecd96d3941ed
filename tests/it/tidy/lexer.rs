//! Rust text as tokens: enough to read paths, attributes and keywords; comments and the insides of literals are left out.

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or keyword; `r#name` is `name`.
    Ident(String),
    /// `::`.
    PathSep,
    /// Any other character.
    Punct(char),
    /// A string, character or number.
    Literal,
}

/// A token with its place.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its line, from 1.
    pub(crate) line: usize,
    /// Whether it stands in code that only tests compile; filled by [`super::scan`].
    pub(crate) test: bool,
}

impl Token {
    /// Whether it is the name `name`.
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Ident(own) if own == name)
    }

    /// Whether it is the character `c`.
    pub(crate) fn punct(&self, c: char) -> bool {
        self.kind == Kind::Punct(c)
    }
}

/// Splits `text` into tokens. Text that is not Rust gives some tokens, never a panic.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    Lexer { chars: text.chars().collect(), at: 0, line: 1, out: Vec::new() }.run()
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Token>,
}

impl Lexer {
    fn run(mut self) -> Vec<Token> {
        while let Some(c) = self.peek(0) {
            match c {
                '/' if self.peek(1) == Some('/') => self.skip_while(|c| c != '\n'),
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                '"' => self.string(),
                '\'' => self.quote(),
                ':' if self.peek(1) == Some(':') => {
                    self.push(Kind::PathSep);
                    self.skip(2);
                }
                c if c.is_ascii_digit() => {
                    self.push(Kind::Literal);
                    self.skip_while(|c| c.is_alphanumeric() || c == '_');
                }
                c if c.is_alphabetic() || c == '_' => self.word(),
                c => {
                    if !c.is_whitespace() {
                        self.push(Kind::Punct(c));
                    }
                    self.skip(1);
                }
            }
        }
        self.out
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn push(&mut self, kind: Kind) {
        self.out.push(Token { kind, line: self.line, test: false });
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == Some('\n') {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.skip(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                    if depth == 0 {
                        return;
                    }
                }
                (Some(_), _) => self.skip(1),
                (None, _) => return,
            }
        }
    }

    fn string(&mut self) {
        self.push(Kind::Literal);
        self.skip(1);
        while let Some(c) = self.peek(0) {
            match c {
                '\\' => self.skip(2),
                '"' => return self.skip(1),
                _ => self.skip(1),
            }
        }
    }

    fn raw_string(&mut self, hashes: usize) {
        self.push(Kind::Literal);
        self.skip(hashes + 1);
        while let Some(c) = self.peek(0) {
            self.skip(1);
            if c == '"' && (0..hashes).all(|i| self.peek(i) == Some('#')) {
                return self.skip(hashes);
            }
        }
    }

    /// A character literal, or a lifetime, of which nothing is kept.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.push(Kind::Literal);
            self.skip(3);
            self.skip_while(|c| c != '\'');
            self.skip(1);
        } else if self.peek(2) == Some('\'') {
            self.push(Kind::Literal);
            self.skip(3);
        } else {
            self.skip(1);
            self.skip_while(|c| c.is_alphanumeric() || c == '_');
        }
    }

    fn word(&mut self) {
        let start = self.at;
        let line = self.line;
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        let word: String = self.chars[start..self.at].iter().collect();
        let prefix = matches!(word.as_str(), "r" | "b" | "br" | "c" | "cr");
        let raw = prefix && word.contains('r');
        let hashes = (0..).take_while(|i| self.peek(*i) == Some('#')).count();
        if raw && self.peek(hashes) == Some('"') {
            self.raw_string(hashes);
        } else if prefix && self.peek(0) == Some('"') {
            self.string();
        } else if word == "b" && self.peek(0) == Some('\'') {
            self.quote();
        } else if word == "r" && hashes == 1 {
            self.skip(1);
        } else {
            self.out.push(Token { kind: Kind::Ident(word), line, test: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let ident = |token: Token| match token.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        };
        tokens(text).into_iter().filter_map(ident).collect()
    }

    #[test]
    fn comments_and_literals_hide_what_is_in_them() {
        let text = r##"a // b
            /* c /* d */ e */ f "g \" h" r#"i " j"# b"k" 'l' '\'' b'm' br"n" 0x1f o r#p"##;
        assert_eq!(names(text), ["a", "f", "o", "p"]);
    }

    #[test]
    fn lifetimes_are_not_the_start_of_a_character() {
        assert_eq!(names("fn f<'a>(x: &'a str) -> &'static str { x }"), ["fn", "f", "x", "str", "str", "x"]);
    }

    #[test]
    fn lines_are_counted_through_strings_and_comments() {
        let all = tokens("\"1\n2\"\n/* 3\n4 */ five r\"\n\" six");
        let lines: Vec<_> = all.iter().filter(|t| t.kind != Kind::Literal).map(|t| t.line).collect();
        assert_eq!(lines, [4, 5]);
    }
}
