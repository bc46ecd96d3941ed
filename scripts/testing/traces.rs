//! Where errors say that they come from: each thrown in another way, each with the file and line of the module.

use super::{api, context, generous, request, vm_of};
use crate::error::ScriptError;

/// Sources, the first being the entry; a part of the message; what the innermost lines of the stack begin with.
pub(crate) type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

/// The handler of each row throws, and its error names these places.
pub(crate) fn assert_places(rows: &[Row<'_>]) {
    for (files, said, places) in rows {
        let error = vm_of(&generous(), files).0.respond(&api(), &request(), &context()).unwrap_err();
        let (message, trace) = match &error {
            ScriptError::Thrown { message, trace } => (message.clone(), trace),
            ScriptError::Host { error, trace } => (error.message.clone(), trace),
            other => panic!("{files:?}: {other:?}"),
        };
        assert!(message.contains(said), "{files:?}: {message}");
        let lines: Vec<&str> = trace.lines().collect();
        let matches =
            lines.len() >= places.len() && lines.iter().zip(*places).all(|(line, place)| line.starts_with(place));
        assert!(matches, "{files:?}: {message}\n{trace}");
    }
}
