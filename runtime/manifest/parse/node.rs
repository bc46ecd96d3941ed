//! The tree of a manifest.

use std::rc::Rc;

use super::super::Place;
use super::shown;

/// A value and its place. Aliases share it.
#[derive(Debug)]
pub(in super::super) struct Node {
    /// Where it begins.
    pub(in super::super) place: Place,
    /// What it is.
    pub(in super::super) kind: Kind,
    /// How many values it has, itself and aliases written out included.
    pub(super) size: usize,
}

/// What a value is.
#[derive(Debug)]
pub(in super::super) enum Kind {
    /// A text; `plain` when it has no quotes, so that `1`, `true` and nothing have a type.
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// Whether it stands without quotes.
        plain: bool,
    },
    /// A list.
    Seq(Vec<Rc<Node>>),
    /// A map in the order of the text, without duplicates.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Debug)]
pub(in super::super) struct Entry {
    /// The key.
    pub(in super::super) key: String,
    /// Where the key begins.
    pub(in super::super) place: Place,
    /// The value.
    pub(in super::super) value: Rc<Node>,
}

/// What a text means by YAML 1.2's core schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Scalar<'n> {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A string.
    Str(&'n str),
}

impl Node {
    /// What stands after a key without a value.
    pub(super) fn nothing(place: Place) -> Self {
        Self { place, kind: Kind::Scalar { text: String::new(), plain: true }, size: 1 }
    }

    /// Whether nothing is written where this value would be.
    pub(super) fn is_empty_plain(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if text.is_empty())
    }

    /// The scalar, if it is one.
    pub(in super::super) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => Some(resolve(text)),
            Kind::Scalar { text, plain: false } => Some(Scalar::Str(text)),
            Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    /// The text of a scalar as it stands in the file.
    pub(in super::super) fn raw(&self) -> &str {
        match &self.kind {
            Kind::Scalar { text, .. } => text,
            Kind::Seq(_) | Kind::Map(_) => "",
        }
    }

    /// Whether it is nothing: for a list or a map the same as an empty one.
    pub(in super::super) fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// What it is, for "found …".
    pub(in super::super) fn found(&self) -> String {
        match (&self.kind, self.scalar()) {
            (Kind::Seq(_), _) => "a list".to_owned(),
            (Kind::Map(_), _) => "a map".to_owned(),
            (_, Some(Scalar::Str(""))) => "an empty string".to_owned(),
            (_, Some(Scalar::Str(text))) => format!("`{}`", shown(text)),
            (_, Some(Scalar::Null)) => "nothing".to_owned(),
            (_, Some(Scalar::Bool(value))) => format!("{value}"),
            (_, _) => format!("the number {}", shown(self.raw())),
        }
    }
}

/// Resolves a text without quotes.
fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        _ => {}
    }
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Scalar::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        let number = text.strip_prefix(prefix).filter(|rest| !rest.starts_with(['+', '-']));
        if let Some(number) = number.and_then(|rest| i128::from_str_radix(rest, radix).ok()) {
            return Scalar::Int(number);
        }
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !digits.contains(|c: char| c.is_ascii_digit()) {
        return Scalar::Str(text);
    }
    if digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(number) = text.parse::<i128>()
    {
        return Scalar::Int(number);
    }
    // Rust's floats are YAML's here: digits, a point, an exponent; words such as `inf` are gone already.
    match text.parse::<f64>() {
        Ok(number) => Scalar::Float(number),
        Err(_) => Scalar::Str(text),
    }
}
