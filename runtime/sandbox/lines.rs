//! Lines of a log, cut to size: what a script writes costs no more than what is kept of it.

use replug_scripts::Value;
use replug_scripts::json::{self, Length};

/// Lines that are kept of one piece of work, such as a test.
pub const LINES: usize = 200;

/// Bytes that are kept of each.
pub const LINE: usize = 2 << 10;

/// A string as it is, anything else as JSON, of `most` bytes at most; a `…` stands for the rest.
pub fn text(value: &Value, most: usize) -> String {
    let (json, length) = match value {
        Value::Text(text) => return cut(text, most),
        other => match json::encode_first(other, most) {
            Ok(encoded) => encoded,
            Err(error) => return format!("({error})"),
        },
    };
    // it may have been cut in the middle of a letter
    let whole = json.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    if length == Length::Cut { format!("{whole}…") } else { whole.to_owned() }
}

/// A call of a function of `log`: `level message {fields}`, each cut.
pub fn said(level: &str, args: &[Value]) -> String {
    let message = args.first().map(|message| text(message, LINE)).unwrap_or_default();
    match args.get(1).filter(|fields| **fields != Value::Null) {
        Some(fields) => format!("{level} {message} {}", text(fields, LINE)),
        None => format!("{level} {message}"),
    }
}

/// As much of a text as `most` bytes hold; a `…` stands for the rest.
pub fn cut(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// The first lines of a log.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    lines: Vec<String>,
    /// Lines beyond those.
    further: usize,
}

impl Lines {
    /// Keeps a line, cut, or counts it.
    pub fn push(&mut self, line: &str) {
        if self.lines.len() < LINES {
            self.lines.push(cut(line, LINE));
        } else {
            self.further += 1;
        }
    }

    /// The lines that are kept; the last one says how many are not.
    #[must_use]
    pub fn into_lines(mut self) -> Vec<String> {
        if self.further > 0 {
            self.lines.push(format!("… ({} further lines; {LINES} are kept)", self.further));
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(text(&Value::from("aé"), 3), "aé");
        assert_eq!(text(&Value::from("aéb"), 2), "a…");
        for start in ["", "x"] {
            let long = Value::List(vec![Value::from(format!("{start}{}", "ä".repeat(100_000)))]);
            let text = text(&long, 100);
            assert!((100..=103).contains(&text.len()) && text.starts_with("[\"") && text.ends_with("ä…"), "{text}");
        }
        assert_eq!(text(&Value::List(vec![Value::Null]), 6), "[null]");
        assert_eq!(text(&Value::Bytes(bytes::Bytes::from_static(b"\xff")), 6).chars().next(), Some('('));
    }

    #[test]
    fn a_line_has_its_level_and_its_fields() {
        assert_eq!(said("info", &["one".into()]), "info one");
        assert_eq!(
            said("warn", &[Value::List(Vec::new()), Value::map([("id", Value::from("x"))])]),
            "warn [] {\"id\":\"x\"}"
        );
        assert_eq!(said("error", &[]), "error ");
    }

    #[test]
    fn lines_beyond_the_bound_are_counted() {
        let mut lines = Lines::default();
        for n in 0..LINES {
            lines.push(&n.to_string());
        }
        lines.push("more");
        lines.push("and more");
        let lines = lines.into_lines();
        assert_eq!((lines.len(), lines[LINES - 1].as_str()), (LINES + 1, "199"));
        assert_eq!(lines[LINES], "… (2 further lines; 200 are kept)");
        let mut long = Lines::default();
        long.push(&"é".repeat(LINE));
        assert_eq!(long.into_lines(), [format!("{}…", "é".repeat(LINE / 2))]);
    }
}
