//! JSON documents as YAML, their members in the order in which they were sent.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value that keeps the order of its members. Displays as YAML.
#[derive(Debug)]
pub(super) enum Node {
    /// As it is written in YAML.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(Vec<(String, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar("null".to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        // With a point or an exponent, so that it stays what it is.
        Ok(Node::Scalar(format!("{value:?}")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(string(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Node>()? {
            members.push((string(&name), value));
        }
        Ok(Node::Map(members))
    }
}

/// A string plain where nobody could take it for anything else, quoted as JSON otherwise, which YAML reads too.
fn string(value: &str) -> String {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _-./@".contains(&byte))
        && value.starts_with(|first: char| first.is_ascii_alphabetic())
        && !value.ends_with(' ')
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&value.to_ascii_lowercase().as_str());
    if plain {
        return value.to_owned();
    }
    let mut quoted = String::new();
    for c in serde_json::Value::from(value).to_string().chars() {
        // JSON leaves some of them as they are, YAML takes none.
        if c.is_control() {
            quoted.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            quoted.push(c);
        }
    }
    quoted
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        self.lines(0, &mut lines);
        f.write_str(&lines.join("\n"))
    }
}

impl Node {
    /// What fits behind a name on its line.
    fn short(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => Some(text),
            Self::List(items) if items.is_empty() => Some("[]"),
            Self::Map(members) if members.is_empty() => Some("{}"),
            _ => None,
        }
    }

    fn lines(&self, depth: usize, out: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        match self {
            _ if self.short().is_some() => out.push(format!("{indent}{}", self.short().unwrap_or_default())),
            Self::Map(members) => {
                for (name, value) in members {
                    if let Some(short) = value.short() {
                        out.push(format!("{indent}{name}: {short}"));
                    } else {
                        out.push(format!("{indent}{name}:"));
                        value.lines(depth + 1, out);
                    }
                }
            }
            Self::List(items) => {
                for item in items {
                    let start = out.len();
                    item.lines(depth + 1, out);
                    if let Some(first) = out.get_mut(start) {
                        // The dash stands in the indentation of the item's first line.
                        first.replace_range(indent.len()..indent.len() + 2, "- ");
                    }
                }
            }
            Self::Scalar(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let text = prop_oneof![".*", "[a-zA-Z0-9 _./@:#-]{0,8}", "true|Null|yes|0x1|1e3|~|- a|\u{7f}|\u{85}"];
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            // Eighths: serde_json's own reading of long fractions is off by the last digit.
            (-1_000_000..1_000_000).prop_map(|number: i32| (f64::from(number) / 8.0).into()),
            text.clone().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_means_the_same_as_yaml(json in any_json()) {
            let node: Node = serde_json::from_str(&json.to_string()).unwrap();
            let read: Result<serde_json::Value, _> = serde_saphyr::from_str(&node.to_string());
            prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(json), "{}", node);
        }
    }

    #[test]
    fn a_document_keeps_its_order_and_its_meaning() {
        let json = r#"{"z":1,"a":"x y","v":"1.0.0","t":"true","e":[],"m":{},"l":[{"p":"/a/{b}","q":[1,[2]]},"s"],"o":{"k":null}}"#;
        let node: Node = serde_json::from_str(json).unwrap();
        let yaml = "z: 1\na: x y\nv: \"1.0.0\"\nt: \"true\"\ne: []\nm: {}\nl:\n  - p: \"/a/{b}\"\n    q:\n      - 1\n      - - 2\n  - s\no:\n  k: null";
        assert_eq!(node.to_string(), yaml);
        let read: serde_json::Value = serde_saphyr::from_str(&node.to_string()).unwrap();
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(json).unwrap());
    }
}
