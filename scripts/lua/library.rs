//! The standard library as scripts see it: what is taken away and what is replaced.

use std::sync::OnceLock;

use mlua::{Function, Lua, StdLib, Table};

use super::{gates, protected};
use crate::host::WallClock;

/// The libraries that are loaded. `os` has only `clock`, `date`, `difftime` and `time` in Luau; `debug` keeps only `traceback`.
pub(super) fn loaded() -> StdLib {
    StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::BIT
        | StdLib::MATH
        | StdLib::OS
        | StdLib::BUFFER
        | StdLib::VECTOR
        | StdLib::DEBUG
}

/// Globals that scripts must not have: they load code, reach other environments, or steer the collector.
const REMOVED: [&str; 7] = ["loadstring", "getfenv", "setfenv", "newproxy", "collectgarbage", "gcinfo", "require"];

/// Removes, replaces and gates. Before the sandbox closes the libraries.
pub(super) fn restrict(lua: &Lua) -> mlua::Result<()> {
    let globals = lua.globals();
    for name in REMOVED {
        globals.raw_remove(name)?;
    }
    let debug: Table = globals.raw_get("debug")?;
    debug.raw_remove("info")?;
    let (pcall, xpcall) = protected::protected_calls(lua)?;
    globals.raw_set("pcall", pcall)?;
    globals.raw_set("xpcall", xpcall)?;
    let coroutine: Table = globals.raw_get("coroutine")?;
    let (create, native) = (coroutine.raw_get("create")?, coroutine.raw_get("resume")?);
    let (resume, wrap) = protected::resuming_calls(lua, create, native)?;
    coroutine.raw_set("resume", resume)?;
    coroutine.raw_set("wrap", wrap)?;
    gates::install(lua)
}

/// In Luau, because they run script code between their parts (`__tostring`, other files, callbacks): `print`, `require`,
/// `table.foreach` and `table.foreachi`.
const PRELUDE: &str = r##"
local info, resolve, load, call = ...
local loaded, loading = {}, {}

local function print(...)
    local parts = table.create(select("#", ...))
    for index = 1, select("#", ...) do
        parts[index] = tostring((select(index, ...)))
    end
    info(table.concat(parts, "\t"))
end

local function require(name)
    local file, fault = resolve(name)
    if fault then
        error(fault, 2)
    end
    local done = loaded[file]
    if done then
        return done.value
    end
    for index, other in loading do
        if other == file then
            error("files require each other: " .. table.concat(loading, " -> ", index) .. " -> " .. file, 2)
        end
    end
    table.insert(loading, file)
    local ok, value = call(load(file))
    table.remove(loading)
    if not ok then
        error(value, 0)
    end
    if value == nil then
        value = true
    end
    loaded[file] = { value = value }
    return value
end

local function foreach(t, f)
    for key, value in next, t do
        local result = f(key, value)
        if result ~= nil then
            return result
        end
    end
    return nil
end

local function foreachi(t, f)
    for index = 1, #t do
        local result = f(index, t[index])
        if result ~= nil then
            return result
        end
    end
    return nil
end

-- Libraries from elsewhere put functions of their own into these, also under names that only Luau has. What stock Lua has
-- stays as it is.
local function open(library, replaceable)
    local added = {}
    for _, name in replaceable do
        added[name], library[name] = library[name], nil
    end
    setmetatable(library, {
        __index = added,
        __newindex = function(_, name, value)
            added[name] = value
        end,
        __metatable = "library",
    })
end
open(string, { "split" })
open(table, { "clear", "clone", "find" })
open(math, {})

return print, require, foreach, foreachi
"##;

/// Puts what is written in Luau among the globals and into `table`.
///
/// `info` logs; `resolve(name) -> file | nil, fault` finds a file of the module; `load(file)` makes its function.
pub(super) fn add_prelude(lua: &Lua, info: &Function, resolve: &Function, load: &Function) -> mlua::Result<()> {
    static BYTECODE: OnceLock<Vec<u8>> = OnceLock::new();
    let bytecode = match BYTECODE.get() {
        Some(bytecode) => bytecode,
        None => {
            let compiled = super::compiler().compile(PRELUDE)?;
            BYTECODE.get_or_init(|| compiled)
        }
    };
    let (call, _) = protected::protected_calls(lua)?;
    let chunk = super::load(lua, "[require]", bytecode)?;
    let (print, require, foreach, foreachi): (Function, Function, Function, Function) =
        chunk.call((info, resolve, load, call))?;
    let globals = lua.globals();
    let table: Table = globals.raw_get("table")?;
    table.raw_set("foreach", foreach)?;
    table.raw_set("foreachi", foreachi)?;
    globals.raw_set("print", print)?;
    globals.raw_set("require", require)
}

/// `os.time()` and `os.date(format)` without a moment mean the clock's.
const CLOCK: &str = r#"
local now, os = ...
local time, date = os.time, os.date
os.time = function(at)
    if at == nil then
        return now()
    end
    return time(at)
end
os.date = function(format, at)
    return date(format, if at == nil then now() else at)
end
"#;

/// Has `os` follow this clock. Before the sandbox closes the libraries.
pub(super) fn follow(lua: &Lua, clock: WallClock) -> mlua::Result<()> {
    let now = lua.create_function(move |_, ()| Ok(clock() / 1000))?;
    let chunk = super::load(lua, "[os]", &super::compiler().compile(CLOCK)?)?;
    chunk.call((now, lua.globals().raw_get::<Table>("os")?))
}
