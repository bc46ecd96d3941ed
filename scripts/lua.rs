//! The Lua host, on Luau.
//!
//! A [`LuaProgram`] holds the bytecode of a module's files; a VM loads the entry's and, by `require`, the others'. Only
//! bytecode that this process compiled is ever loaded.

mod bytecode;
mod calls;
mod convert;
mod coroutines;
mod exchange;
mod files;
mod gates;
mod interrupt;
mod library;
mod numbers;
mod pattern;
mod protected;
mod run;
mod safepoints;
mod suite;
mod thrown;
mod vm;

use std::collections::BTreeMap;
use std::sync::Arc;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua};

use crate::contract;
use crate::error::{ScriptError, SourceFault};
use crate::host::{CallContext, Host, Language, Program, Sources, Vm};
use crate::limits::Limits;
use crate::message::lower;
use crate::suite::Stage;
use crate::value::Value;

/// A module's compiled files.
pub(crate) struct LuaProgram {
    files: Arc<Files>,
}

/// Bytecode by path.
struct Files {
    entry: String,
    bytecode: BTreeMap<String, Vec<u8>>,
}

impl LuaProgram {
    /// Compiles every file of `sources`.
    ///
    /// # Errors
    /// The first fault of each file that does not compile or is larger than 1 MiB.
    pub(crate) fn compile(sources: &Sources) -> Result<Self, Vec<SourceFault>> {
        let compiler = compiler();
        let mut bytecode = BTreeMap::new();
        let mut faults = Vec::new();
        for (path, source) in &sources.files {
            match compile_file(&compiler, source) {
                Ok(code) => {
                    bytecode.insert(path.clone(), code);
                }
                Err((line, message)) => faults.push(SourceFault { file: path.clone(), line, column: 0, message }),
            }
        }
        if faults.is_empty() {
            Ok(Self { files: Arc::new(Files { entry: sources.entry.clone(), bytecode }) })
        } else {
            Err(faults)
        }
    }
}

impl LuaProgram {
    /// See [`crate::Suite::open`].
    pub(crate) fn open_suite(
        &self,
        host: Arc<dyn Host>,
        stage: Arc<dyn Stage>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Box<dyn Vm>, ScriptError> {
        Ok(Box::new(vm::LuaVm::suite(&self.files, host, &stage, limits, call)?))
    }

    /// Runs the entry in a VM of its own and gives what it returned.
    pub(crate) fn value(&self, host: Arc<dyn Host>, limits: &Limits, call: &CallContext) -> Result<Value, ScriptError> {
        vm::LuaVm::value(&self.files, host, limits, call)
    }
}

impl Program for LuaProgram {
    fn language(&self) -> Language {
        Language::Lua
    }

    fn instantiate(
        &self,
        host: Arc<dyn Host>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Box<dyn Vm>, ScriptError> {
        Ok(Box::new(vm::LuaVm::new(&self.files, host, limits, call)?))
    }
}

fn compile_file(compiler: &Compiler, source: &str) -> Result<Vec<u8>, (usize, String)> {
    contract::check_size(source).map_err(|message| (0, message))?;
    let compiled = safepoints::compile(compiler, source).map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => place(&message),
        other => (0, other.to_string()),
    })?;
    compiled.map_err(|fault| (0, fault.to_owned()))
}

/// Splits Luau's `LINE: Message`.
fn place(message: &str) -> (usize, String) {
    let split = message.trim_start_matches(':').split_once(": ");
    let (line, text) = split.and_then(|(line, text)| Some((line.parse().ok()?, text))).unwrap_or((0, message));
    // Identifiers and quoted tokens keep their case; Luau's messages begin with a plain word.
    (line, lower(text))
}

/// With line numbers and names of functions, and with what keeps them true. The built-in functions that are calls may work
/// long on a large text, so they pass a gate.
fn compiler() -> Compiler {
    Compiler::new().set_optimization_level(1).set_debug_level(1).set_disabled_builtins(["string.sub", "tonumber"])
}

/// The function of a file's bytecode; its messages begin with the path.
fn load(lua: &Lua, path: &str, bytecode: &[u8]) -> mlua::Result<Function> {
    lua.load(bytecode).set_mode(ChunkMode::Binary).set_name(format!("={path}")).into_function()
}

#[cfg(test)]
mod tests;
