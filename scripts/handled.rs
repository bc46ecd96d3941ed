//! What `actors[name].handle` may return. Pure.

use crate::value::Value;

/// What a message came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Handled {
    /// The new state; nothing: it stays.
    pub state: Option<Value>,
    /// What the sender gets, if it waits.
    pub reply: Value,
    /// Whether the actor is to end.
    pub stop: bool,
}

/// Reads `{state?, reply?, stop?}` or nothing. A key that it does not know is refused: who returns the bare state would
/// lose it unnoticed.
///
/// # Errors
/// What it must look like.
pub fn read(answer: Value) -> Result<Handled, String> {
    let mut handled = Handled { state: None, reply: Value::Null, stop: false };
    let entries = match answer {
        Value::Null => return Ok(handled),
        Value::Map(entries) => entries,
        // in Lua an empty list may be an empty map
        Value::List(items) if items.is_empty() => return Ok(handled),
        other => return Err(format!("it must return {{ state, reply, stop }} or nothing, found {}", other.kind())),
    };
    for (key, value) in entries {
        match (&*key, value) {
            ("state", Value::Null) => {}
            ("state", state) => handled.state = Some(state),
            ("reply", reply) => handled.reply = reply,
            ("stop", Value::Bool(stop)) => handled.stop = stop,
            ("stop", Value::Null) => {}
            ("stop", other) => return Err(format!("`stop` must be a boolean, found {}", other.kind())),
            _ => return Err(format!("it must return {{ state, reply, stop }} or nothing; `{key}` is none of them")),
        }
    }
    Ok(handled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_as_it_is() {
        let map = |pairs: &[(&str, Value)]| Value::map(pairs.iter().cloned());
        let handled = |state, reply, stop| Ok(Handled { state, reply, stop });
        let table = [
            (Value::Null, handled(None, Value::Null, false)),
            (map(&[]), handled(None, Value::Null, false)),
            (map(&[("reply", Value::Int(1))]), handled(None, Value::Int(1), false)),
            (map(&[("state", Value::Int(2))]), handled(Some(Value::Int(2)), Value::Null, false)),
            (map(&[("state", Value::Null), ("stop", true.into())]), handled(None, Value::Null, true)),
        ];
        for (answer, expected) in table {
            assert_eq!(read(answer.clone()), expected, "{answer:?}");
        }
        for (answer, part) in [
            (Value::Int(1), "found number"),
            (map(&[("count", Value::Int(1))]), "`count` is none of them"),
            (map(&[("stop", Value::Int(1))]), "`stop` must be a boolean"),
        ] {
            assert!(read(answer.clone()).is_err_and(|message| message.contains(part)), "{answer:?}");
        }
    }
}
