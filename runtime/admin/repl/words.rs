//! A line as words, as a shell would split it.

/// A line up to the cursor: the words that are whole, and the one that is being typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// The whole words.
    pub(super) words: Vec<String>,
    /// Where in the line the last word starts, in bytes.
    pub(super) start: usize,
    /// The last word without its quotes; empty after a space.
    pub(super) word: String,
}

impl Typed {
    /// Reads what stands before the cursor.
    pub(super) fn new(line: &str) -> Self {
        let start = last_word(line);
        let (before, raw) = line.split_at(start);
        Self { words: shlex::split(before).unwrap_or_default(), start, word: unquoted(raw) }
    }
}

/// The words of a line; `None` when a quote is not closed. What follows a word that starts with `#` is a comment.
pub(super) fn words(line: &str) -> Option<Vec<String>> {
    shlex::split(line)
}

/// The word in the form in which [`words`] reads it back.
pub(super) fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

/// Where the word at the end of the line starts.
fn last_word(line: &str) -> usize {
    let (mut start, mut quote, mut escaped) = (0, None, false);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"') | None, '\\') => escaped = true,
            (Some(open), _) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ' | '\t' | '\n') => start = at + 1,
            _ => {}
        }
    }
    start
}

/// What the word means so far: its quote may still be open.
fn unquoted(raw: &str) -> String {
    let closings = ["", "\"", "'"];
    // what a last backslash stands before is not typed yet
    let slashes = raw.len() - raw.trim_end_matches('\\').len();
    let typed = if slashes % 2 == 1 && !raw.starts_with('\'') { &raw[..raw.len() - 1] } else { raw };
    let words = closings.iter().find_map(|closing| shlex::split(&format!("{typed}{closing}")));
    words.and_then(|words| words.into_iter().next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_split_as_by_a_shell() {
        let split = |line| words(line).map(|words| words.join("|"));
        assert_eq!(split("  activate   a@1.0.0\t--json "), Some("activate|a@1.0.0|--json".to_owned()));
        assert_eq!(split(r#"register "my module" 'it''s' a\ b"#), Some("register|my module|its|a b".to_owned()));
        assert_eq!(split("list # and no more"), Some("list".to_owned()));
        assert_eq!(split("# nothing"), Some(String::new()));
        assert_eq!(split("register 'my module"), None);
    }

    #[test]
    fn the_word_at_the_cursor_is_known_with_its_place_whether_its_quote_is_closed_or_not() {
        let typed = |line| {
            let Typed { words, start, word } = Typed::new(line);
            (words.join("|"), start, word)
        };
        assert_eq!(typed(""), (String::new(), 0, String::new()));
        assert_eq!(typed("act"), (String::new(), 0, "act".into()));
        assert_eq!(typed("activate "), ("activate".into(), 9, String::new()));
        assert_eq!(typed("register \"my mo"), ("register".into(), 9, "my mo".into()));
        assert_eq!(typed("register my\\ mo"), ("register".into(), 9, "my mo".into()));
        assert_eq!(typed("register my\\"), ("register".into(), 9, "my".into()));
        assert_eq!(typed("register 'a b' c"), ("register|a b".into(), 15, "c".into()));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back_as_one_word(word in "[^\0]{1,20}") {
            prop_assert_eq!(words(&quoted(&word)), Some(vec![word.clone()]));
            prop_assert_eq!(Typed::new(&format!("x {}", quoted(&word))).start, 2);
        }

        #[test]
        fn no_line_breaks_the_splitter(line in ".{0,40}") {
            prop_assert!(Typed::new(&line).start <= line.len());
        }
    }
}
