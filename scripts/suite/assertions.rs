//! What `assert` decides, the same in both languages.

use super::SuiteFn;
use crate::error::{HostError, HostErrorKind};
use crate::message::cut;
use crate::value::Value;

/// Characters of a value that a message shows.
const SHOWN: usize = 400;

/// Decides an assertion on plain data.
///
/// # Errors
/// It does not hold; the message shows what was compared.
pub(crate) fn check(function: SuiteFn, args: Vec<Value>) -> Result<Value, HostError> {
    let mut args = args.into_iter();
    let first = args.next().unwrap_or_default();
    let second = args.next().unwrap_or_default();
    match function {
        SuiteFn::AssertEqual if same(&first, &second) => Ok(Value::Null),
        SuiteFn::AssertEqual => Err(failure(unequal(&first, &second))),
        SuiteFn::AssertContains => match (&first, &second) {
            (Value::Text(text), Value::Text(part)) if text.contains(part.as_str()) => Ok(Value::Null),
            (Value::Text(_), Value::Text(_)) => {
                Err(failure(format!("expected a text with {} in it, found {}", shown(&second), shown(&first))))
            }
            _ => Err(failure(format!(
                "expected a text and a part of it, found {} and {}",
                shown(&first),
                shown(&second)
            ))),
        },
        _ if !matches!(first, Value::Null | Value::Bool(false)) => Ok(first),
        _ => Err(failure(match second {
            Value::Text(message) => message,
            _ => format!("expected something, found {}", shown(&first)),
        })),
    }
}

/// Decides `assert.fails`: what `f` threw, if it did, and the part that the message is to have in it.
///
/// # Errors
/// It threw nothing, or something else.
pub(crate) fn failed(thrown: Option<&str>, part: Option<&str>) -> Result<Value, HostError> {
    match (thrown, part) {
        (None, _) => Err(failure("expected an error, but nothing was thrown".into())),
        (Some(message), Some(part)) if !message.contains(part) => {
            let (part, message) = (shown(&part.into()), shown(&message.into()));
            Err(failure(format!("expected an error with {part} in its message, found {message}")))
        }
        (Some(message), _) => Ok(message.into()),
    }
}

/// The host error of a value that a script threw.
pub(crate) fn thrown(value: &Value) -> HostError {
    let text = |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("kind").and_then(HostErrorKind::parse).unwrap_or(HostErrorKind::Failed);
    let message = match (value, text("message"), text("title"), text("detail")) {
        (Value::Text(message), ..) => message.clone(),
        (_, Some(message), ..) => message.to_owned(),
        (_, None, Some(title), Some(detail)) => format!("{title}: {detail}"),
        (_, None, Some(said), None) | (_, None, None, Some(said)) => said.to_owned(),
        (other, None, None, None) => shown(other),
    };
    HostError::new(kind, cut(message))
}

fn failure(message: String) -> HostError {
    HostError::new(HostErrorKind::Failed, cut(message))
}

/// Whether two values are the same to a script: 1 and 1.0 are, and so are an empty list and an empty map, which Lua cannot
/// tell apart.
fn same(a: &Value, b: &Value) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "a float is compared as the float that a script would see")]
    match (a, b) {
        (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
        (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Value::List(list), Value::Map(map)) | (Value::Map(map), Value::List(list)) => {
            list.is_empty() && map.is_empty()
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            let held = |map: &std::collections::BTreeMap<String, Value>| {
                map.iter().filter(|(_, value)| **value != Value::Null).map(|(k, v)| (k.clone(), v.clone())).collect()
            };
            let (a, b): (Vec<_>, Vec<_>) = (held(a), held(b));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1))
        }
        _ => a == b,
    }
}

/// Both values, and for lists and maps where they part.
fn unequal(found: &Value, expected: &Value) -> String {
    let mut at = String::new();
    let (mut a, mut b) = (found, expected);
    loop {
        let next = match (a, b) {
            (Value::Map(one), Value::Map(other)) => {
                let differs = |key: &&String| {
                    !same(one.get(*key).unwrap_or(&Value::Null), other.get(*key).unwrap_or(&Value::Null))
                };
                one.keys()
                    .chain(other.keys())
                    .find(differs)
                    .map(|key| (format!(".{key}"), one.get(key), other.get(key)))
            }
            (Value::List(one), Value::List(other)) => {
                let index = (0..one.len().min(other.len())).find(|index| !same(&one[*index], &other[*index]));
                index.map(|index| (format!("[{}]", index + 1), one.get(index), other.get(index)))
            }
            _ => None,
        };
        let Some((step, one, other)) = next else { break };
        at.push_str(&step);
        (a, b) = (one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null));
    }
    let whole = format!("expected {}, found {}", shown(expected), shown(found));
    if at.is_empty() {
        return whole;
    }
    format!("{whole}; they differ at {}: expected {}, found {}", at.trim_start_matches('.'), shown(b), shown(a))
}

/// A value as a message shows it: JSON, cut.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::Bytes(bytes) => format!("{} bytes that are no text", bytes.len()),
        value => serde_json::to_string(value).unwrap_or_else(|_| value.kind().to_owned()),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(found: Value, expected: Value) -> String {
        check(SuiteFn::AssertEqual, vec![found, expected]).unwrap_err().message
    }

    #[test]
    fn numbers_and_empty_tables_are_compared_as_scripts_see_them() {
        for (a, b) in [
            (Value::Int(1), Value::Float(1.0)),
            (Value::List(Vec::new()), Value::map::<String>([])),
            (Value::map([("a", Value::Null)]), Value::map::<String>([])),
            (Value::Float(f64::NAN), Value::Float(f64::NAN)),
        ] {
            assert!(same(&a, &b) && same(&b, &a), "{a:?} {b:?}");
        }
        assert!(!same(&Value::Int(1), &Value::from("1")) && !same(&Value::Bool(false), &Value::Null));
    }

    #[test]
    fn an_inequality_shows_both_values_and_where_they_part() {
        assert_eq!(message(Value::Int(2), Value::Int(3)), "expected 3, found 2");
        let list = |n| Value::map([("a", Value::List(vec![Value::Int(1), Value::Int(n)]))]);
        assert_eq!(
            message(list(2), list(3)),
            r#"expected {"a":[1,3]}, found {"a":[1,2]}; they differ at a[2]: expected 3, found 2"#
        );
        assert_eq!(message(Value::Null, "x".into()), "expected \"x\", found nothing");
        assert!(message("x".repeat(100_000).into(), "y".into()).chars().count() < 500);
    }

    #[test]
    fn an_error_is_expected_with_a_part_of_its_message() {
        assert_eq!(failed(Some("a: no"), Some("no")).unwrap(), Value::from("a: no"));
        assert!(failed(Some("a: no"), None).is_ok());
        assert!(failed(Some("a: no"), Some("yes")).unwrap_err().message.contains("a: no"));
        assert!(failed(None, None).unwrap_err().message.contains("nothing was thrown"));
    }

    proptest! {
        #[test]
        fn every_value_is_the_same_as_itself_and_is_shown_in_bounds(text in "\\PC{0,600}", number in any::<f64>()) {
            let value = Value::map([("t", Value::from(text)), ("n", Value::Float(number))]);
            prop_assert!(same(&value, &value));
            prop_assert!(shown(&value).chars().count() <= SHOWN + 1);
        }
    }
}
