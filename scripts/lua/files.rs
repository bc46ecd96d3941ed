//! `require`: the other files of the module, by their paths.

use std::sync::Arc;

use mlua::{Function, Lua};

use super::convert::kind;
use super::{Files, load};
use crate::message::clip;
use crate::meter;

/// `resolve(name) -> file | nil, fault` and `load(file) -> function`, for `require`.
pub(super) fn file_functions(lua: &Lua, files: &Arc<Files>) -> mlua::Result<(Function, Function)> {
    let known = Arc::clone(files);
    let resolve = lua.create_function(move |_, name: mlua::Value| {
        Ok(match resolve(&known, &name) {
            Ok(file) => (Some(file), None),
            Err(fault) => (None, Some(fault)),
        })
    })?;
    let known = Arc::clone(files);
    let load = lua.create_function(move |lua, file: String| {
        let bytecode = known.bytecode.get(&file).map_or(&[][..], Vec::as_slice);
        load(lua, &file, bytecode).inspect_err(|error| {
            if matches!(error, mlua::Error::MemoryError(_)) {
                meter::out_of_memory();
            }
        })
    })?;
    Ok((resolve, load))
}

/// The file that `require(name)` means: a path from the module's folder, without the ending, its parts separated by `/` or,
/// as elsewhere, by dots; of a folder its `init`. What is not among the module's sources does not exist, so no name leads
/// outside.
fn resolve(files: &Files, name: &mlua::Value) -> Result<String, String> {
    let mlua::Value::String(name) = name else {
        return Err(format!("require: the name of a file must be a string, found {}", kind(name)));
    };
    let name = name.to_string_lossy();
    let file = format!("{name}.lua");
    if file == files.entry {
        return Err(format!("require: {file} is the entry script, which cannot be required"));
    }
    if files.bytecode.contains_key(&file) {
        return Ok(file);
    }
    // As libraries written for other hosts of Lua name their files.
    let path = name.replace('.', "/");
    for file in [format!("{path}.lua"), format!("{path}/init.lua")] {
        if files.bytecode.contains_key(&file) && file != files.entry {
            return Ok(file);
        }
    }
    let shown = clip(&name);
    Err(match files.bytecode.contains_key(&*name) {
        true => format!("require: leave out the ending: require({:?})", shown.trim_end_matches(".lua")),
        false => format!("require: the module has no file {shown}.lua; paths begin at the module's folder"),
    })
}
