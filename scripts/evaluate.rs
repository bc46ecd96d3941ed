//! One piece of code, run beside a module's own files in a VM that nothing else uses.

use std::sync::Arc;

use crate::error::{ScriptError, SourceFault};
use crate::host::{CallContext, Host, Language, Sources};
use crate::limits::Limits;
use crate::value::Value;

/// Why there is no value.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The code, or a file of the module, does not compile.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Source(Vec<SourceFault>),
    /// The code failed, or its value is no plain data.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

/// The path of the code in messages.
#[must_use]
pub fn code_path(language: Language) -> String {
    format!("(eval).{}", language.ending())
}

/// Compiles `code`, an expression or statements, as one more file beside `files` (other files of that language by path), runs
/// it on the calling thread in a VM of its own, and gives its value: of statements what they `return`, in Rhai also what the last
/// one is.
///
/// # Errors
/// The code does not compile, fails, or meets a limit; its value is no plain data. Places in it are those of
/// [`code_path`].
#[cfg_attr(not(any(feature = "lua", feature = "rhai")), expect(unused_variables, reason = "no language takes them"))]
pub fn evaluate(
    language: Language,
    code: &str,
    files: &Sources,
    host: Arc<dyn Host>,
    limits: &Limits,
    call: &CallContext,
) -> Result<Value, EvaluateError> {
    let entry = code_path(language);
    let with = |text: String| {
        let mut sources = files.clone();
        sources.files.insert(entry.clone(), text.into());
        sources.entry.clone_from(&entry);
        sources
    };
    match language {
        #[cfg(feature = "lua")]
        Language::Lua => {
            use crate::lua::LuaProgram;
            // an expression first: as statements it would be a fault
            let program = LuaProgram::compile(&with(format!("return {code}")))
                .or_else(|_| LuaProgram::compile(&with(code.to_owned())))
                .map_err(EvaluateError::Source)?;
            Ok(program.value(host, limits, call)?)
        }
        #[cfg(feature = "rhai")]
        Language::Rhai => {
            let program = crate::rhai::RhaiProgram::compile(&with(code.to_owned())).map_err(EvaluateError::Source)?;
            Ok(program.value(host, limits, call)?)
        }
        #[allow(unreachable_patterns, reason = "reached when a language feature is off")]
        _ => {
            let message = format!("this build leaves out the language {}", language.ending());
            Err(EvaluateError::Source(vec![SourceFault { file: entry, line: 0, column: 0, message }]))
        }
    }
}
