//! What `streams[name]` may return: the next piece of an answer. Pure.
//!
//! An api answers `{status, headers, stream, state}` instead of a body. Whoever sends the answer then calls
//! `streams[name](state, ctx)` again and again, in whichever VM of the same instance is free: a stream lives in its state, not
//! in a VM.

use std::time::Duration;

use bytes::Bytes;

use crate::value::Value;

/// Bytes that the state of a stream may take, by [`Value::size`].
pub const MAX_STATE: usize = 64 << 10;

/// Bytes of one piece.
pub const MAX_PIECE: usize = 1 << 20;

/// The longest time between two calls.
pub const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// What one call gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// What is sent; may be empty.
    pub body: Bytes,
    /// What the next call gets; nothing: the same as this one.
    pub state: Option<Value>,
    /// How long the next call waits.
    pub after: Duration,
}

/// Reads `{body?, state?, after?}`, or nothing at the end of the stream. A key that it does not know is refused: who returns the
/// bare state would never get on.
///
/// # Errors
/// What it must look like.
pub fn read(answer: Value) -> Result<Option<Piece>, String> {
    let mut piece = Piece { body: Bytes::new(), state: None, after: Duration::ZERO };
    let entries = match answer {
        Value::Null => return Ok(None),
        Value::Map(entries) => entries,
        // in Lua an empty list may be an empty map
        Value::List(items) if items.is_empty() => return Ok(Some(piece)),
        other => {
            return Err(format!(
                "it must return {{ body, state, after }}, or nothing at the end, found {}",
                other.kind()
            ));
        }
    };
    for (key, value) in entries {
        match (&*key, value) {
            ("body" | "state" | "after", Value::Null) => {}
            ("body", Value::Text(text)) => piece.body = text.into(),
            ("body", Value::Bytes(bytes)) => piece.body = bytes,
            ("body", other) => return Err(format!("`body` must be a string, found {}", other.kind())),
            ("state", state) => piece.state = Some(state),
            ("after", value) => piece.after = pause(&value)?,
            _ => {
                return Err(format!(
                    "it must return {{ body, state, after }}, or nothing at the end; `{key}` is none of them"
                ));
            }
        }
    }
    if piece.body.len() > MAX_PIECE {
        return Err(format!("`body` has {} bytes; at most {MAX_PIECE} are allowed at once", piece.body.len()));
    }
    match &piece.state {
        Some(state) if state.size() > MAX_STATE => {
            Err(format!("`state` takes {} bytes; at most {MAX_STATE} are allowed", state.size()))
        }
        _ => Ok(Some(piece)),
    }
}

fn pause(value: &Value) -> Result<Duration, String> {
    let most = MAX_PAUSE.as_millis();
    let millis = match value {
        #[allow(clippy::cast_precision_loss, reason = "what is too large to be exact is refused")]
        Value::Int(millis) => *millis as f64,
        Value::Float(millis) => *millis,
        other => return Err(format!("`after` must be a number of milliseconds, found {}", other.kind())),
    };
    let pause = Duration::try_from_secs_f64(millis / 1000.0).ok().filter(|pause| *pause <= MAX_PAUSE);
    pause.ok_or_else(|| format!("`after` must be from 0 to {most} milliseconds, found {millis}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::map(pairs.iter().cloned())
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let none = || Piece { body: Bytes::new(), state: None, after: Duration::ZERO };
        let table = [
            (Value::Null, None),
            (map(&[]), Some(none())),
            (Value::List(Vec::new()), Some(none())),
            (map(&[("body", "hé".into())]), Some(Piece { body: Bytes::from("hé"), ..none() })),
            (
                map(&[("state", Value::Int(2)), ("body", Value::Null)]),
                Some(Piece { state: Some(Value::Int(2)), ..none() }),
            ),
            (map(&[("after", Value::Float(1.5))]), Some(Piece { after: Duration::from_micros(1500), ..none() })),
            (map(&[("after", Value::Int(3_600_000))]), Some(Piece { after: MAX_PAUSE, ..none() })),
        ];
        for (answer, expected) in table {
            assert_eq!(read(answer.clone()), Ok(expected), "{answer:?}");
        }
    }

    #[test]
    fn what_is_no_piece_is_refused_with_what_it_must_be() {
        let large = |bytes: usize| Value::from("x".repeat(bytes));
        for (answer, part) in [
            (Value::Int(1), "found number"),
            (Value::from("x"), "found string"),
            (map(&[("count", Value::Int(1))]), "`count` is none of them"),
            (map(&[("body", map(&[]))]), "`body` must be a string, found map"),
            (map(&[("body", large(MAX_PIECE + 1))]), "at most 1048576"),
            (map(&[("state", large(MAX_STATE))]), "at most 65536"),
            (map(&[("after", "1s".into())]), "`after` must be a number"),
            (map(&[("after", Value::Int(-1))]), "from 0 to 3600000"),
            (map(&[("after", Value::Int(3_600_001))]), "from 0 to 3600000"),
            (map(&[("after", Value::Int(i64::MAX))]), "from 0 to 3600000"),
            (map(&[("after", Value::Float(f64::NAN))]), "from 0 to 3600000"),
        ] {
            assert!(read(answer).is_err_and(|message| message.contains(part)), "{part}");
        }
    }
}
