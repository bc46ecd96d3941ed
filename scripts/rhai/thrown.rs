//! From what a script threw to an error.

use std::fmt::Write;

use rhai::{Dynamic, EvalAltResult, Map, Position};

use super::convert::kind;
use super::files::is_closure;
use crate::error::{HostError, HostErrorKind, ScriptError};
use crate::host::Language;
use crate::message::{clip, cut, lower};
use crate::response::problem_from;

/// The error of a script whose entry is `entry`: a thrown map with a status of 400 to 599 is a problem, one with the kind
/// and message of a host error is that, everything else a message with its place.
pub(super) fn error(error: &EvalAltResult, entry: &str) -> ScriptError {
    let Found { inner, file, trace } = unwrap(error, entry);
    let place = inner.position().line().map_or_else(|| format!("{file}: "), |line| format!("{file}:{line}: "));
    let message = match inner {
        EvalAltResult::ErrorRuntime(value, _) => match value.read_lock::<Map>() {
            Some(map) => {
                if let Some(error) = problem(&map) {
                    return error;
                }
                if let Some(error) = host_error(&map) {
                    return ScriptError::Host { error, trace };
                }
                text(&map, "message").unwrap_or_else(|| "a map without status or message was thrown".into())
            }
            None => thrown_text(value),
        },
        other => engine_text(other),
    };
    ScriptError::Thrown { message: format!("{place}{}", cut(message)), trace }
}

struct Found<'a> {
    /// What was thrown first.
    inner: &'a EvalAltResult,
    /// Where.
    file: &'a str,
    /// `FILE:LINE` lines, innermost first.
    trace: String,
}

/// Follows the functions that an error passed on its way out.
fn unwrap<'a>(error: &'a EvalAltResult, entry: &'a str) -> Found<'a> {
    // functions of Rust belong to no file, whatever module they were found in: they ran for the file that called them
    let named = |source: &'a str, caller: &'a str| match source {
        "" => entry,
        source if Language::of(source).is_none() => caller,
        source => source,
    };
    let mut places = Vec::new();
    let (mut at, mut file, mut function) = (error, entry, "");
    loop {
        match at {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, place) => {
                places.push((file, *place, function));
                (at, file, function) = (inner, named(source, file), name);
            }
            EvalAltResult::ErrorInModule(source, inner, place) => {
                places.push((file, *place, function));
                (at, file) = (inner, named(source, file));
            }
            inner => {
                places.push((file, inner.position(), function));
                return Found { inner, file, trace: trace(&places) };
            }
        }
    }
}

/// Frames that a stack trace shows at most: calls nest deeper where the stack is large, and names may be long.
const TRACE_FRAMES: usize = 20;

fn trace(places: &[(&str, Position, &str)]) -> String {
    let mut trace = String::new();
    let frames = places.iter().rev().filter_map(|(file, place, function)| Some((file, place.line()?, function)));
    for (file, line, function) in frames.take(TRACE_FRAMES) {
        if !trace.is_empty() {
            trace.push('\n');
        }
        let _ = write!(trace, "{file}:{line}");
        if !function.is_empty() && !is_closure(function) {
            let _ = write!(trace, " in {}", clip(function));
        }
    }
    trace
}

fn thrown_text(value: &Dynamic) -> String {
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return text.as_str().to_owned();
    }
    if value.is_int() || value.is_float() || value.is_char() || value.is_bool() {
        return value.to_string();
    }
    format!("a {} value was thrown", kind(value))
}

/// What the engine says, without the place, which stands in front.
fn engine_text(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => format!("function not found: {signature}"),
        EvalAltResult::ErrorVariableNotFound(name, _) => format!("variable not found: {name}"),
        EvalAltResult::ErrorModuleNotFound(name, _) => format!("module not found: {name}"),
        EvalAltResult::ErrorStackOverflow(_) => "calls nest too deep".into(),
        EvalAltResult::ErrorDataTooLarge(what, _) => format!("{} is too large", lower(what)),
        EvalAltResult::ErrorTerminated(..) => "a limit was reached".into(),
        // The other variants hold names and numbers only, so their text is short. It ends in the place.
        other => {
            let text = other.to_string();
            let end = text.rfind(" (line ").filter(|_| !other.position().is_none()).unwrap_or(text.len());
            lower(&text[..end])
        }
    }
}

/// A host error as scripts see it: `#{kind, message}`.
pub(super) fn host_error_map(error: &HostError) -> Dynamic {
    let mut map = Map::new();
    map.insert("kind".into(), error.kind.name().into());
    map.insert("message".into(), error.message.as_str().into());
    Dynamic::from_map(map)
}

fn problem(map: &Map) -> Option<ScriptError> {
    let status = map.get("status")?.as_int().ok()?;
    problem_from(status, text(map, "title"), text(map, "detail"))
}

fn host_error(map: &Map) -> Option<HostError> {
    let kind = HostErrorKind::parse(&text(map, "kind")?)?;
    Some(HostError::new(kind, text(map, "message")?))
}

fn text(map: &Map, key: &str) -> Option<String> {
    let value = map.get(key)?;
    value.as_immutable_string_ref().ok().map(|text| cut(text.as_str().to_owned()))
}
