//! Readers of single values: strings, numbers, durations, sizes, versions, choices.

use std::ops::RangeInclusive;
use std::time::Duration;

use semver::{Version, VersionReq};
use serde_json::{Map, Number, Value};

use super::super::parse::{Kind, Node, Scalar, shown};
use super::Checker;
use super::fields::Item;

/// The longest version or range, in bytes.
const MAX_VERSION: usize = 128;

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
const SIZE_UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Stands for a version that could not be read.
pub(super) fn no_version() -> Version {
    Version::new(0, 0, 0)
}

impl Checker<'_, '_> {
    /// A string of at most `longest` characters.
    pub(super) fn text(&mut self, item: &Item<'_>, longest: usize) -> Option<String> {
        let text = self.string(item, "a string")?;
        let length = text.chars().count();
        if length > longest {
            self.fault(item, format!("{}: {length} characters, more than {longest}", item.path), None);
            return None;
        }
        Some(text.to_owned())
    }

    /// A string of one line that says something.
    pub(super) fn line(&mut self, item: &Item<'_>, longest: usize) -> Option<String> {
        let text = self.text(item, longest)?;
        if text.trim().is_empty() || text.contains('\n') {
            self.expected(item, if text.contains('\n') { "one line" } else { "a text that is not empty" });
            return None;
        }
        Some(text)
    }

    /// A string, for readers that look into it; `what` says what it should be.
    pub(super) fn string<'n>(&mut self, item: &Item<'n>, what: &str) -> Option<&'n str> {
        match item.node.scalar() {
            Some(Scalar::Str(text)) => Some(text),
            Some(Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_)) => {
                let help = format!("quote it: \"{}\"", shown(item.node.raw()));
                self.expected_with(item, what, Some(help));
                None
            }
            _ => {
                self.expected(item, what);
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn whole<T>(&mut self, item: &Item<'_>, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + std::fmt::Display,
    {
        if let Some(Scalar::Int(number)) = item.node.scalar()
            && let Ok(number) = T::try_from(number)
            && range.contains(&number)
        {
            return Some(number);
        }
        self.expected(item, &format!("a whole number from {} to {}", range.start(), range.end()));
        None
    }

    /// A finite number.
    pub(super) fn number(&mut self, item: &Item<'_>) -> Option<f64> {
        match item.node.scalar() {
            Some(Scalar::Int(number)) => Some(number as f64),
            Some(Scalar::Float(number)) if number.is_finite() => Some(number),
            _ => {
                self.expected(item, "a number");
                None
            }
        }
    }

    /// A number above 0, at most `most`.
    pub(super) fn share(&mut self, item: &Item<'_>, most: f64) -> Option<f64> {
        let number = self.number(item)?;
        if number > 0.0 && number <= most {
            return Some(number);
        }
        self.expected(item, &format!("a number above 0, at most {most}"));
        None
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, item: &Item<'_>) -> Option<bool> {
        match item.node.scalar() {
            Some(Scalar::Bool(value)) => Some(value),
            Some(Scalar::Str(text)) => {
                let help = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" => Some("write true, without quotes".to_owned()),
                    "no" | "off" | "false" => Some("write false, without quotes".to_owned()),
                    _ => None,
                };
                self.expected_with(item, "true or false", help);
                None
            }
            _ => {
                self.expected(item, "true or false");
                None
            }
        }
    }

    /// One of the words of `choices`.
    pub(super) fn choice<T: Copy>(&mut self, item: &Item<'_>, choices: &[(&'static str, T)]) -> Option<T> {
        let words = || choices.iter().map(|(word, _)| *word);
        if let Some((_, value)) = choices.iter().find(|(word, _)| item.node.scalar() == Some(Scalar::Str(word))) {
            return Some(*value);
        }
        let near = match item.node.scalar() {
            Some(Scalar::Str(text)) => self.report.suggest(text, words()),
            _ => None,
        };
        let all: Vec<&str> = words().collect();
        self.expected_with(item, &format!("one of {}", all.join(", ")), near);
        None
    }

    /// A number of milliseconds, or a number with a unit, within `range` in milliseconds.
    pub(super) fn duration(&mut self, item: &Item<'_>, range: RangeInclusive<u64>) -> Option<Duration> {
        let help = "write a number of milliseconds, or one such as 100ms, 5s, 2m, 1h";
        let millis = self.quantity(item, &DURATION_UNITS, "a duration", help)?;
        if range.contains(&millis) {
            return Some(Duration::from_millis(millis));
        }
        let (least, most) = (spelled(*range.start(), &DURATION_UNITS), spelled(*range.end(), &DURATION_UNITS));
        self.expected(item, &format!("a duration from {least} to {most}"));
        None
    }

    /// A number of bytes, or a number with a unit, within `range` in bytes.
    pub(super) fn size(&mut self, item: &Item<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let help = "write a number of bytes, or one such as 100KB, 16MiB, 1GiB";
        let bytes = self.quantity(item, &SIZE_UNITS, "a size", help)?;
        if range.contains(&bytes) {
            return Some(bytes);
        }
        let (least, most) = (spelled(*range.start(), &SIZE_UNITS[..3]), spelled(*range.end(), &SIZE_UNITS[..3]));
        self.expected(item, &format!("a size from {least} to {most}"));
        None
    }

    fn quantity(&mut self, item: &Item<'_>, units: &[(&str, u64)], what: &str, help: &str) -> Option<u64> {
        let quantity = match item.node.scalar() {
            Some(Scalar::Int(number)) => u64::try_from(number).ok(),
            Some(Scalar::Str(text)) => with_unit(text, units),
            _ => None,
        };
        if quantity.is_none() {
            self.expected_with(item, what, Some(help.to_owned()));
        }
        quantity
    }

    /// A full version such as 1.2.0.
    pub(super) fn version(&mut self, item: &Item<'_>) -> Option<Version> {
        let text = self.version_text(item, "a version such as 1.2.0", ".0")?;
        if text.len() <= MAX_VERSION {
            match Version::parse(text) {
                Ok(version) => return Some(version),
                Err(error) => {
                    let help = format!("versions have three numbers, as 1.2.0: {error}");
                    self.expected_with(item, "a version", Some(help));
                }
            }
        } else {
            self.expected(item, "a version such as 1.2.0");
        }
        None
    }

    /// A range of versions such as `>=1.0.0`, `^1` or `*`.
    pub(super) fn range(&mut self, item: &Item<'_>) -> Option<VersionReq> {
        let text = self.version_text(item, "a range of versions such as \">=1.0.0\"", "")?;
        match parse_range(text) {
            Ok(range) => Some(range),
            Err(error) => {
                let help = format!("write a range such as \">=1.0.0\", \"^1\", \">=1, <3\" or \"*\": {error}");
                self.expected_with(item, "a range of versions", Some(help));
                None
            }
        }
    }

    /// A version's text: a number without quotes has lost its end to YAML (1.10 is 1.1), so it is refused.
    fn version_text<'n>(&mut self, item: &Item<'n>, what: &str, rest: &str) -> Option<&'n str> {
        match item.node.scalar() {
            Some(Scalar::Str(text)) => Some(text),
            Some(Scalar::Int(_) | Scalar::Float(_)) => {
                let raw = shown(item.node.raw());
                let rest = if raw.contains('.') { rest.to_owned() } else { rest.repeat(2) };
                let help = format!("quote it, or YAML takes it for a number: \"{raw}{rest}\"");
                self.expected_with(item, what, Some(help));
                None
            }
            _ => {
                self.expected(item, what);
                None
            }
        }
    }

    /// Any value as JSON; numbers that JSON cannot hold are faults.
    pub(super) fn json(&mut self, item: &Item<'_>) -> Option<Value> {
        match to_json(item.node) {
            Ok(value) => Some(value),
            Err(node) => {
                let message = format!("{}: expected a finite number, found {}", item.path, node.found());
                self.report.fault(node.place, message, None);
                None
            }
        }
    }
}

/// A range, `*` included; the error says what is wrong with it.
pub(super) fn parse_range(text: &str) -> Result<VersionReq, String> {
    if text.len() > MAX_VERSION || text.trim().is_empty() {
        return Err("it is empty or too long".to_owned());
    }
    VersionReq::parse(text).map_err(|error| error.to_string())
}

/// A number of bytes, or a number with a unit, in bytes; `None` for anything else.
pub(in crate::manifest) fn parse_size(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { with_unit(text, &SIZE_UNITS) }
}

/// Bytes in the largest unit of powers of 1024 that divides them, as [`parse_size`] reads them back.
pub(in crate::manifest) fn spelled_size(bytes: u64) -> String {
    spelled(bytes, &SIZE_UNITS[..3])
}

/// `12ms` in the smallest unit; `None` for anything else, too large ones included.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A quantity in the largest unit that divides it.
fn spelled(quantity: u64, units: &[(&str, u64)]) -> String {
    let dividing = units.iter().filter(|(_, factor)| quantity >= *factor && quantity.is_multiple_of(*factor));
    match dividing.max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) => format!("{}{unit}", quantity / factor),
        None => quantity.to_string(),
    }
}

/// The tree's depth is bounded by the parser, so recursion is too.
fn to_json(node: &Node) -> Result<Value, &Node> {
    match &node.kind {
        Kind::Seq(items) => items.iter().map(|item| to_json(item)).collect::<Result<_, _>>().map(Value::Array),
        Kind::Map(entries) => {
            let pairs = entries.iter().map(|entry| Ok((entry.key.clone(), to_json(&entry.value)?)));
            pairs.collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
        Kind::Scalar { .. } => match node.scalar() {
            None | Some(Scalar::Null) => Ok(Value::Null),
            Some(Scalar::Bool(value)) => Ok(Value::Bool(value)),
            Some(Scalar::Str(text)) => Ok(Value::String(text.to_owned())),
            Some(Scalar::Float(number)) => Number::from_f64(number).map(Value::Number).ok_or(node),
            Some(Scalar::Int(number)) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(number), _) => Ok(Value::from(number)),
                (_, Ok(number)) => Ok(Value::from(number)),
                _ => Number::from_f64(number as f64).map(Value::Number).ok_or(node),
            },
        },
    }
}
