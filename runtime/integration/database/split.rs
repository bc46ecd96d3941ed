//! Text → statements, read as SQLite reads it.
//!
//! SQLite itself gives only the end of the first statement, and each further one costs it a copy of all the rest; so a
//! long run of semicolons would keep a thread busy beyond any deadline. This reads the text once.

/// The most statements that one text may hold.
pub(super) const MAX_PIECES: usize = 10_000;

/// One statement, without its semicolon, the space around it and the comments before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// The line of its first word, from 1.
    pub(super) line: usize,
    /// Its words, quoted parts and signs.
    pub(super) tokens: usize,
}

/// The only statement of `sql`.
pub(super) fn single(sql: &str) -> Result<Piece<'_>, String> {
    let found = pieces(sql)?;
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err("there is no statement".to_owned()),
        several => {
            Err(format!("there are {} statements in one text; give them one by one to db.transaction", several.len()))
        }
    }
}

/// The statements of `sql`; empty ones are left out. Quotes and comments that are never closed reach to the end: SQLite
/// says what is wrong with them. The error says what is refused.
pub(super) fn pieces(sql: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut found = Vec::new();
    let mut statement = Begun::default();
    let mut line = Lines { sql, at: 0, line: 1 };
    for token in (Tokens { sql: sql.as_bytes(), at: 0 }) {
        let (kind, start, end) = token?;
        if statement.ends_with(kind, &sql[start..end]) {
            if let Some(first) = statement.first {
                if found.len() == MAX_PIECES {
                    return Err(format!("there are more than {MAX_PIECES} statements in one text"));
                }
                found.push(statement.piece(&sql[first..start], line.of(first)));
            }
            statement = Begun::default();
        } else {
            statement.first.get_or_insert(start);
            statement.tokens += 1;
        }
    }
    if let Some(first) = statement.first {
        found.push(statement.piece(&sql[first..], line.of(first)));
    }
    Ok(found)
}

/// What is known of the statement being read.
#[derive(Default)]
struct Begun {
    first: Option<usize>,
    tokens: usize,
    head: Head,
    tail: Tail,
}

/// Whether it is a trigger, the only statement with semicolons inside.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Head {
    #[default]
    Nothing,
    Create,
    Trigger,
    Other,
}

/// The last words, as far as they tell the end of a trigger: `; END ;`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Tail {
    #[default]
    Other,
    Semicolon,
    End,
}

impl Begun {
    /// The compiled statements are kept by their text without space around it, so that is what everyone is given.
    fn piece<'a>(&self, text: &'a str, line: usize) -> Piece<'a> {
        Piece { text: text.trim(), line, tokens: self.tokens }
    }

    /// Takes one more token; whether the statement ends with it.
    fn ends_with(&mut self, kind: Kind, text: &str) -> bool {
        if kind == Kind::Semicolon {
            let inside = self.head == Head::Trigger && self.tail != Tail::End;
            self.tail = Tail::Semicolon;
            return !inside;
        }
        let is = |word: &str| kind == Kind::Word && text.eq_ignore_ascii_case(word);
        self.head = match self.head {
            Head::Nothing if is("create") => Head::Create,
            Head::Create if is("temp") || is("temporary") => Head::Create,
            Head::Create if is("trigger") => Head::Trigger,
            Head::Trigger => Head::Trigger,
            _ => Head::Other,
        };
        self.tail = if self.tail == Tail::Semicolon && is("end") { Tail::End } else { Tail::Other };
        false
    }
}

/// Line numbers of offsets that only grow.
struct Lines<'a> {
    sql: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, offset: usize) -> usize {
        self.line += self.sql.as_bytes()[self.at..offset].iter().filter(|byte| **byte == b'\n').count();
        self.at = offset;
        self.line
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Semicolon,
    Word,
    Other,
}

/// The tokens, without space and comments.
struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
}

impl Tokens<'_> {
    /// Where the part that begins at `from` ends: behind the first `close`, or at the end of the text.
    fn past(&self, from: usize, close: &[u8]) -> usize {
        let rest = self.sql.get(from..).unwrap_or_default();
        rest.windows(close.len()).position(|part| part == close).map_or(self.sql.len(), |at| from + at + close.len())
    }

    /// Where a quoted part ends; a doubled quote is read as two parts side by side, which end at the same place.
    fn past_quote(&self, from: usize, quote: u8) -> usize {
        self.past(from, &[quote])
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or_default()
    }
}

impl Iterator for Tokens<'_> {
    type Item = Result<(Kind, usize, usize), String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let byte = *self.sql.get(start)?;
            let (kind, end) = match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => {
                    self.at += 1;
                    continue;
                }
                b'-' if self.peek(1) == b'-' => {
                    self.at = self.past(start, b"\n");
                    continue;
                }
                b'/' if self.peek(1) == b'*' => {
                    self.at = self.past(start + 2, b"*/");
                    continue;
                }
                0 => return Some(Err("the statement holds a NUL character".to_owned())),
                // SQLite takes nearly anything in brackets behind a named parameter as part of its name.
                b'$' | b'@' | b'#' | b':' => {
                    return Some(Err(format!("parameters are written as `?`, found `{}`", char::from(byte))));
                }
                b';' => (Kind::Semicolon, start + 1),
                b'\'' | b'"' | b'`' => (Kind::Other, self.past_quote(start + 1, byte)),
                b'[' => (Kind::Other, self.past(start + 1, b"]")),
                _ if in_word(byte) => {
                    let length = self.sql[start..].iter().take_while(|byte| in_word(**byte)).count();
                    (Kind::Word, start + length)
                }
                _ => (Kind::Other, start + 1),
            };
            self.at = end;
            return Some(Ok((kind, start, end)));
        }
    }
}

/// SQLite's characters of names and numbers; a `$` only continues one, and one that begins is seen before.
const fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        pieces(sql).unwrap().into_iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn semicolons_in_quotes_comments_and_brackets_do_not_split() {
        assert_eq!(
            texts("select ';', \";\", `;`, [;] -- ;\n, /* ; */ 'it''s;'; select 2;"),
            ["select ';', \";\", `;`, [;] -- ;\n, /* ; */ 'it''s;'", "select 2"]
        );
    }

    #[test]
    fn a_trigger_is_one_statement_and_what_follows_another() {
        let trigger = "create temp trigger t after insert on a begin update a set n = case when 1 then 2 end; end";
        assert_eq!(texts(&format!("{trigger} ; select 1")), [trigger, "select 1"]);
    }

    #[test]
    fn a_column_called_end_or_trigger_changes_nothing() {
        assert_eq!(
            texts("create table trigger(a); select 1; end; x"),
            ["create table trigger(a)", "select 1", "end", "x"]
        );
    }

    #[test]
    fn lines_are_those_of_the_first_word() {
        let lines: Vec<usize> =
            pieces("\n-- first\nselect\n1;\n\n/* two\n */ select 2").unwrap().iter().map(|piece| piece.line).collect();
        assert_eq!(lines, [3, 7]);
    }

    #[test]
    fn named_parameters_and_nul_are_refused() {
        for sql in ["select $a(';)", "select @a", "select :a", "select #1", "select 1\0"] {
            pieces(sql).unwrap_err();
        }
        assert_eq!(texts("select a$b from t"), ["select a$b from t"]);
    }

    #[test]
    fn none_and_several_are_refused_where_one_is_meant() {
        assert_eq!(single(" ;; -- x\n ;").unwrap_err(), "there is no statement");
        assert!(single("select 1; select 2").unwrap_err().starts_with("there are 2 statements"));
        let piece = single("select '1 2', a.b ; -- done").unwrap();
        assert_eq!((piece.text, piece.tokens), ("select '1 2', a.b", 6));
    }

    #[test]
    fn too_many_statements_are_refused() {
        let sql = "x;".repeat(MAX_PIECES + 1);
        assert!(pieces(&sql).unwrap_err().contains("more than"));
        assert_eq!(pieces(&";".repeat(1 << 20)).unwrap(), []);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(sql in r#"(?s)[-;'"`\[\]/*a-zéA\n ?0-9$:]{0,80}"#) {
            if let Ok(found) = pieces(&sql) {
                for piece in found {
                    prop_assert!(sql.contains(piece.text));
                    prop_assert!(piece.line <= sql.lines().count());
                }
            }
        }

        #[test]
        fn joined_statements_come_apart_again(parts in prop::collection::vec(r#"[a-z]{1,5}( '[^'\x00]{0,5}'| "[^"\x00]{0,5}")?"#, 0..9)) {
            let sql = parts.join(";\n");
            prop_assert_eq!(texts(&sql), parts);
        }
    }
}
