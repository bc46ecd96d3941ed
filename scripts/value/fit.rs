//! What does not fit between a Rust type and plain data, and where.

use std::fmt;

/// Why a Rust value cannot be plain data, or plain data not the Rust type that was asked for.
///
/// It displays with the place in front: `orders[2].price: invalid type: string "x", expected f64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The way to the place, innermost first.
    way: Vec<Part>,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
}

impl Misfit {
    pub(super) fn new(message: impl fmt::Display) -> Self {
        Self { way: Vec::new(), message: message.to_string() }
    }

    /// The same, in the entry `key` of a map.
    pub(super) fn in_entry(mut self, key: &str) -> Self {
        self.way.push(Part::Key(key.to_owned()));
        self
    }

    /// The same, in an item of a list, counted from 0.
    pub(super) fn in_item(mut self, index: usize) -> Self {
        self.way.push(Part::Index(index));
        self
    }

    /// The place, such as `orders[2].price`; empty for the value as a whole. Items are counted from 0.
    #[must_use]
    pub fn place(&self) -> String {
        let mut place = String::new();
        for part in self.way.iter().rev() {
            match part {
                Part::Index(index) => place.push_str(&format!("[{index}]")),
                Part::Key(key) => {
                    if !place.is_empty() {
                        place.push('.');
                    }
                    place.push_str(key);
                }
            }
        }
        place
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.way.is_empty() {
            write!(f, "{}: ", self.place())?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misfit {}

impl serde::ser::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}
