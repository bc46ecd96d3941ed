//! A module's configuration.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// `config`: the schema of the module's settings, and the permissions of people that the module knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// The settings by key (`config.schema`, or `configSchema` and `defaultConfig` at the top). Default: none.
    pub schema: BTreeMap<String, ConfigKey>,
    /// The permissions that routes and apis may name. Default: none.
    pub permissions: Vec<String>,
}

impl Config {
    /// The settings that have a default, with it.
    pub fn defaults(&self) -> BTreeMap<String, Value> {
        let with_default = |(key, spec): (&String, &ConfigKey)| Some((key.clone(), spec.default.clone()?));
        self.schema.iter().filter_map(with_default).collect()
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigKey {
    /// The type of its value. Required.
    #[serde(rename = "type")]
    pub kind: ConfigKind,
    /// The value when nothing else is set; fits the type and bounds. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The least number, characters of a string or items of an array. Default: none.
    #[serde(serialize_with = "short", skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number, characters of a string or items of an array. Default: none.
    #[serde(serialize_with = "short", skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The only values allowed (`enum`). Default: empty, and then any that fits.
    #[serde(rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Value>,
    /// The type of an array's items. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<ConfigKind>,
    /// Whether the module cannot start without a value. Default: false.
    pub required: bool,
    /// Whether the value is a secret: never shown, set by reference, without a default. Default: false.
    pub secret: bool,
    /// Default: empty.
    pub description: String,
}

impl ConfigKey {
    /// Whether `value` fits this setting; the error says why not (`must be at least 60`).
    ///
    /// # Errors
    /// The rule that `value` breaks, without the key's name.
    pub fn admits(&self, value: &Value) -> Result<(), String> {
        if !self.kind.admits(value) {
            return Err(format!("must be {}, found {}", self.kind.article(), found(value)));
        }
        if let (Some(items), Some(values)) = (self.items, value.as_array())
            && let Some((index, item)) = values.iter().enumerate().find(|(_, item)| !items.admits(item))
        {
            return Err(format!("item {index} must be {}, found {}", items.article(), found(item)));
        }
        let (measure, unit) = match value {
            Value::Number(number) => (number.as_f64(), ""),
            Value::String(text) => (Some(text.chars().count() as f64), " characters long"),
            Value::Array(items) => (Some(items.len() as f64), " items long"),
            _ => (None, ""),
        };
        if let Some(measure) = measure {
            if let Some(min) = self.min.filter(|min| measure < *min) {
                return Err(format!("must be at least {min}{unit}, found {measure}"));
            }
            if let Some(max) = self.max.filter(|max| measure > *max) {
                return Err(format!("must be at most {max}{unit}, found {measure}"));
            }
        }
        if !self.options.is_empty() && !self.options.iter().any(|option| same(option, value)) {
            let options: Vec<String> = self.options.iter().map(Value::to_string).collect();
            return Err(format!("must be one of {}, found {}", options.join(", "), found(value)));
        }
        Ok(())
    }
}

/// The type of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ConfigKind {
    /// Any finite number.
    Number,
    /// A whole number.
    Integer,
    /// A string.
    String,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A map with string keys.
    Object,
}

impl ConfigKind {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Number => value.is_number(),
            Self::Integer => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn article(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Integer => "a whole number",
            Self::String => "a string",
            Self::Boolean => "true or false",
            Self::Array => "a list",
            Self::Object => "a map",
        }
    }
}

/// Equality that takes 1 and 1.0 for the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// A value in a message: short, and never the whole of a large one.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() <= 40 => format!("{text:?}"),
        Value::String(_) => "a long string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// Serializes a bound as people write it: 60, not 60.0.
fn short<S: Serializer>(bound: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    // Up to 2^53 every whole number is exact in both types.
    match *bound {
        Some(bound) if bound.fract() == 0.0 && bound.abs() <= 9_007_199_254_740_992.0 => {
            serializer.serialize_i64(bound as i64)
        }
        bound => bound.serialize(serializer),
    }
}
