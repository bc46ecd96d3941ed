//! What the contract asks of a module's files, said alike in both languages.

use crate::error::ScriptError;
use crate::host::Handler;
use crate::message::clip;

/// Bytes that a source file may have.
const MAX_SOURCE: usize = 1 << 20;

/// Bytes that all source files of a module may have.
const MAX_SOURCES: usize = 4 << 20;

/// Handlers that an entry script may return.
const MAX_HANDLERS: usize = 10_000;

/// Whether a file is small enough to be compiled.
///
/// # Errors
/// The message of its fault.
pub(crate) fn check_size(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("the file has {} bytes; at most {MAX_SOURCE} are allowed", source.len()));
    }
    Ok(())
}

/// Whether all files together are small enough to be compiled.
///
/// # Errors
/// The message of the fault.
pub(crate) fn check_sizes<'a>(sources: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let size: usize = sources.map(str::len).sum();
    if size > MAX_SOURCES {
        return Err(format!("the module's files have {size} bytes; at most {MAX_SOURCES} are allowed"));
    }
    Ok(())
}

/// Whether an entry that has returned `handlers` may return one more.
///
/// # Errors
/// [`ScriptError::Contract`]: it may not.
pub(crate) fn check_count(handlers: usize) -> Result<(), ScriptError> {
    if handlers == MAX_HANDLERS {
        return Err(ScriptError::Contract(format!("the entry script has more than {MAX_HANDLERS} handlers")));
    }
    Ok(())
}

/// What is said of an entry at `place` that is no function but a `found`.
pub(crate) fn not_a_function(place: &str, found: &str) -> ScriptError {
    ScriptError::Contract(format!("the entry script's {} must be a function, found {found}", clip(place)))
}

/// What is said of an actor that is no table but a `found`.
pub(crate) fn not_an_actor(name: &str, found: &str) -> ScriptError {
    let name = clip(name);
    ScriptError::Contract(format!(
        "the entry script's actors[\"{name}\"] must have the functions `init` and `handle`, found {found}"
    ))
}

/// What is said when the entry returned no such handler.
pub(crate) fn no_handler(handler: &Handler) -> ScriptError {
    ScriptError::Contract(format!("the entry script has no handler {handler}"))
}
