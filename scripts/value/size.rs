//! How much memory plain data takes.

use super::Value;

/// Bytes of a value itself, without what it points to.
const PART: usize = size_of::<Value>();
/// Bytes of one node of a map, which has room for eleven entries and is at least half full where there are several.
const NODE: usize = 11 * (size_of::<String>() + PART) + 16;
const LEAST_IN_NODE: usize = 5;

impl Value {
    /// About how many bytes of memory it takes: never less than its texts, bytes and keys together, with a constant for each
    /// part.
    #[must_use]
    pub fn size(&self) -> usize {
        PART + match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::Text(text) => text.capacity(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.iter().map(Self::size).sum::<usize>() + (items.capacity() - items.len()) * PART,
            Self::Map(entries) => {
                let inside: usize = entries.iter().map(|(key, value)| key.capacity() + value.size() - PART).sum();
                inside + entries.len().div_ceil(LEAST_IN_NODE) * NODE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_map(Value::Float),
            ".*".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Value::Bytes(Bytes::from(bytes))),
        ];
        leaf.prop_recursive(4, 64, 12, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Value::List),
                prop::collection::btree_map(".*", inner, 0..12).prop_map(Value::Map),
            ]
        })
    }

    /// Bytes of all texts, bytes and keys, and how many values there are.
    fn plain(value: &Value) -> (usize, usize) {
        let sum = |parts: &mut dyn Iterator<Item = (usize, usize)>| {
            parts.fold((0, 1), |sum, part| (sum.0 + part.0, sum.1 + part.1))
        };
        match value {
            Value::Text(text) => (text.len(), 1),
            Value::Bytes(bytes) => (bytes.len(), 1),
            Value::List(items) => sum(&mut items.iter().map(plain)),
            Value::Map(entries) => sum(&mut entries.iter().map(|(key, value)| {
                let (bytes, count) = plain(value);
                (bytes + key.len(), count)
            })),
            _ => (0, 1),
        }
    }

    proptest! {
        #[test]
        fn the_size_has_all_bytes_and_something_for_each_part(value in values()) {
            let (bytes, count) = plain(&value);
            prop_assert!(value.size() >= bytes + count * PART, "{} of {bytes} and {count}", value.size());
            // nor is it far from what a copy takes
            prop_assert!(value.clone().size() <= bytes + count * (PART + NODE));
        }
    }

    #[test]
    fn a_part_is_what_the_compiler_says_and_room_that_is_kept_free_counts() {
        assert_eq!(Value::Null.size(), PART);
        assert_eq!(Value::from("abc").size(), PART + 3);
        let mut list = Vec::with_capacity(10);
        list.push(Value::Int(1));
        assert_eq!(Value::List(list).size(), PART + 10 * PART);
        assert_eq!(Value::map([("ab", Value::Null)]).size(), PART + 2 + NODE);
    }
}
