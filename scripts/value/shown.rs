//! Values for people and for programs that read JSON, also those that JSON cannot say.

use std::fmt::Write as _;

use super::Value;

/// What a level of lists and maps is moved in by.
const INDENT: &str = "  ";

impl Value {
    /// Whether JSON says all of it: it has no nothing in it, which scripts and JSON do not mean alike, no number that is none or
    /// infinite, and no bytes that are not text.
    #[must_use]
    pub fn is_json(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Float(number) => number.is_finite(),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).is_ok(),
            Self::List(items) => items.iter().all(Self::is_json),
            Self::Map(entries) => entries.values().all(Self::is_json),
            Self::Bool(_) | Self::Int(_) | Self::Text(_) => true,
        }
    }

    /// The value as JSON; what JSON cannot say is null in it.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(truth) => (*truth).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok().into(),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.json())).collect(),
        }
    }

    /// The value as indented JSON in which nothing is called `nothing`, numbers that JSON has not are `nan`, `inf` and `-inf`, and
    /// bytes that are not text are `b"…"`.
    #[must_use]
    pub fn shown(&self, nothing: &str) -> String {
        let mut text = String::new();
        self.show(&mut text, nothing, 1);
        text
    }

    fn show(&self, text: &mut String, nothing: &str, depth: usize) {
        let _ = match self {
            Self::Null => write!(text, "{nothing}"),
            Self::Float(number) if !number.is_finite() => write!(text, "{}", number.to_string().to_lowercase()),
            Self::Bytes(bytes) if std::str::from_utf8(bytes).is_err() => write!(text, "b\"{}\"", bytes.escape_ascii()),
            Self::List(items) if !items.is_empty() => {
                let line = |text: &mut String, item: &Self| item.show(text, nothing, depth + 1);
                lines(text, ('[', ']'), depth, items.iter(), line);
                Ok(())
            }
            Self::Map(entries) if !entries.is_empty() => {
                let line = |text: &mut String, (key, value): (&String, &Self)| {
                    let _ = write!(text, "{}: ", serde_json::Value::from(key.as_str()));
                    value.show(text, nothing, depth + 1);
                };
                lines(text, ('{', '}'), depth, entries.iter(), line);
                Ok(())
            }
            other => write!(text, "{}", other.json()),
        };
    }
}

/// What is in brackets, each on a line of its own.
fn lines<T>(
    text: &mut String,
    (open, close): (char, char),
    depth: usize,
    items: impl Iterator<Item = T>,
    line: impl Fn(&mut String, T),
) {
    text.push(open);
    for (index, item) in items.enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&INDENT.repeat(depth));
        line(text, item);
    }
    text.push('\n');
    text.push_str(&INDENT.repeat(depth - 1));
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: &'static [u8]) -> Value {
        Value::Bytes(bytes.into())
    }

    #[test]
    fn what_json_can_say_is_said_as_json_says_it() {
        let value = Value::map([
            ("list", Value::List(vec![Value::Int(-1), Value::Float(2.5), Value::Float(2.0), true.into()])),
            ("empty", Value::List(Vec::new())),
            ("deep \"er\"", Value::map([("map", Value::map([("", Value::from("line\nbreak"))]))])),
            ("none", Value::Map(std::collections::BTreeMap::new())),
            ("bytes", bytes(b"text")),
        ]);
        assert!(value.is_json());
        assert_eq!(value.json(), serde_json::to_value(&value).unwrap());
        assert_eq!(value.shown("nil"), serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn what_json_cannot_say_is_told_apart_and_null_where_json_is_wanted() {
        let cases = [
            (Value::Null, "nil"),
            (Value::Float(f64::NAN), "nan"),
            (Value::Float(-f64::NAN), "nan"),
            (Value::Float(f64::INFINITY), "inf"),
            (Value::Float(f64::NEG_INFINITY), "-inf"),
            (bytes(b"a\xff\"\0"), "b\"a\\xff\\\"\\x00\""),
        ];
        for (value, shown) in cases {
            assert_eq!(value.shown("nil"), shown);
            assert!(!value.is_json() && value.json().is_null(), "{shown}");
            let inside = Value::List(vec![Value::map([("x", value)])]);
            assert_eq!(inside.shown("nil"), format!("[\n  {{\n    \"x\": {shown}\n  }}\n]"));
            assert!(!inside.is_json());
            assert_eq!(inside.json(), serde_json::json!([{ "x": null }]));
        }
        assert_eq!(Value::from("nil").shown("nil"), "\"nil\"");
        assert!(Value::from("nil").is_json());
    }
}
