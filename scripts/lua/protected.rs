//! Protected calls that know why they failed, coroutines that look at the budget where they go on, and host functions that may suspend
//! theirs: the other half of the raw edge to Luau.
//!
//! mlua's protected calls tell nothing of memory and lose thrown tables. Luau's own catch errors and resume coroutines without a safepoint.
//!
//! # Safety
//! What stands at the head of [`super::interrupt`] holds here too. Beyond it:
//! - [`remember_trace`] holds Rust values, and calls nothing in Luau that raises.
//! - `BASE` is compared, never followed.
//! - `lua_yield` is reached only where `lua_isyieldable` said so in the same frame, and no Rust frame stands between it and
//!   the resume: the function that mlua made has returned before.
//! - The native `create` and `resume` of coroutines run in the frame of the function that has them as upvalues, with its arguments; they
//!   use no upvalues of their own.
#![allow(unsafe_code, reason = "the raw Luau calls; the safety argument stands above")]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};
use std::fmt::Write as _;
use std::ptr;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Thread};

use super::interrupt::{self, closure};
use crate::meter;

/// Arguments that a host function takes at most; none declares as many.
const MAX_ARGUMENTS: c_int = 16;

/// What Luau throws when memory runs out.
const OUT_OF_MEMORY: &CStr = c"not enough memory";

/// Frames that a stack trace shows at most.
const TRACE_FRAMES: c_int = 20;

thread_local! {
    /// The stack trace of the error that ended the last call on this thread.
    static TRACE: RefCell<String> = const { RefCell::new(String::new()) };
    /// The coroutine in which the call on this thread runs; null where it runs in none.
    static BASE: Cell<*mut lua_State> = const { Cell::new(ptr::null_mut()) };
    /// See [`may_wait`].
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// `enter(function, …) -> done, value`: runs a function of a script from outside. The value is its first result or, if it
/// was not done, what was thrown; then [`take_trace`] has the stack.
pub(super) fn enter_function(lua: &Lua) -> mlua::Result<Function> {
    closure(lua, c"enter", enter, None, (closure(lua, c"trace", remember_trace, None, (), 0)?,), 1)
}

unsafe extern "C-unwind" fn enter(state: *mut lua_State) -> c_int {
    interrupt::begin();
    // SAFETY: the stack is `function, arguments…`; it becomes `handler, function, arguments…`, then `handler, value`.
    unsafe {
        let count = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        let status = ffi::lua_pcall(state, count - 1, 1, 1);
        if status == ffi::LUA_ERRMEM {
            meter::out_of_memory();
        }
        ffi::lua_pushboolean(state, c_int::from(status == ffi::LUA_OK));
        ffi::lua_replace(state, 1);
        2
    }
}

/// The same for the body of a coroutine, which may be suspended by a host function meanwhile.
pub(super) fn suspendable_enter_function(lua: &Lua) -> mlua::Result<Function> {
    let trace = closure(lua, c"trace", remember_trace, None, (), 0)?;
    closure(lua, c"enter", enter_suspendable, Some(after_enter), (trace,), 1)
}

unsafe extern "C-unwind" fn enter_suspendable(state: *mut lua_State) -> c_int {
    interrupt::begin();
    // SAFETY: as in `enter`; this function has a continuation.
    unsafe {
        let count = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_pcallyieldable(state, count - 1, 1, 1)
    }
}

/// The result, or what was thrown, is on top.
unsafe extern "C-unwind" fn after_enter(state: *mut lua_State, status: c_int) -> c_int {
    if status == ffi::LUA_ERRMEM {
        meter::out_of_memory();
    }
    // SAFETY: room is asked for before the one value is pushed.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        ffi::lua_pushboolean(state, c_int::from(status == ffi::LUA_OK));
        ffi::lua_insert(state, -2);
        2
    }
}

/// Runs `resume`, which resumes `coroutine`: host functions that the coroutine itself calls may suspend it.
pub(super) fn resuming<R>(coroutine: &Thread, resume: impl FnOnce() -> R) -> R {
    /// Forgets the coroutine also when a panic passes.
    struct Leave(*mut lua_State);
    impl Drop for Leave {
        fn drop(&mut self) {
            BASE.set(self.0);
        }
    }
    let _leave = Leave(BASE.replace(coroutine.state()));
    resume()
}

/// Whether the host function that runs now may suspend its coroutine: no coroutine of the script's own stands between, nor
/// a native function, such as a sort that calls its comparer.
pub(super) fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// The message handler of [`enter`]: notes the stack and passes the error on. It allocates nothing in Luau, so it works
/// in a full heap too.
unsafe extern "C-unwind" fn remember_trace(state: *mut lua_State) -> c_int {
    // SAFETY: called with the error.
    unsafe { notice_memory(state) };
    TRACE.with_borrow_mut(|trace| {
        trace.clear();
        // SAFETY: plain integers and pointers, for which zero is a value.
        let mut frame: ffi::lua_Debug = unsafe { std::mem::zeroed() };
        for level in 1..=TRACE_FRAMES {
            // SAFETY: `lua_getinfo` with `s`, `l`, `n` pushes nothing, raises nothing, and says by 0 that the stack ends.
            if unsafe { ffi::lua_getinfo(state, level, c"sln".as_ptr(), &raw mut frame) } == 0 {
                break;
            }
            if frame.currentline < 1 || frame.short_src.is_null() {
                continue;
            }
            // SAFETY: strings that Luau ended with NUL and that live as long as the frame's function.
            let (source, name) = unsafe {
                let name = (!frame.name.is_null()).then(|| CStr::from_ptr(frame.name).to_bytes());
                (CStr::from_ptr(frame.short_src).to_string_lossy(), name)
            };
            let _ = write!(trace, "{source}:{}", frame.currentline);
            if let Some(name) = name {
                let _ = write!(trace, " in {}", String::from_utf8_lossy(&name[..name.len().min(64)]));
            }
            trace.push('\n');
        }
    });
    1
}

/// Takes the stack trace of the last error on this thread: `FILE:LINE in NAME` lines, innermost first.
pub(super) fn take_trace() -> String {
    // the host's own parts in Luau, such as `require`, are no files of the module
    TRACE.take().split_inclusive('\n').filter(|line| !line.starts_with('[')).collect()
}

/// `pcall` and `xpcall` as Luau has them, save that no error is caught once the call has a verdict, and that running out
/// of memory is one.
pub(super) fn protected_calls(lua: &Lua) -> mlua::Result<(Function, Function)> {
    Ok((
        closure(lua, c"pcall", pcall, Some(after_call::<false>), (), 0)?,
        closure(lua, c"xpcall", xpcall, Some(after_call::<true>), (), 0)?,
    ))
}

unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: as Luau's own `pcall`; this function has a continuation.
    unsafe {
        ffi::luaL_checkany(state, 1);
        ffi::lua_pcallyieldable(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET, 0)
    }
}

unsafe extern "C-unwind" fn xpcall(state: *mut lua_State) -> c_int {
    // SAFETY: as Luau's own `xpcall`: `function, handler, …` becomes `handler, function, …`.
    unsafe {
        ffi::luaL_checktype(state, 2, ffi::LUA_TFUNCTION);
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_pushcclosurek(state, handle, c"handler".as_ptr(), 1, None);
        ffi::lua_replace(state, 1);
        ffi::lua_replace(state, 2);
        ffi::lua_pcallyieldable(state, ffi::lua_gettop(state) - 2, ffi::LUA_MULTRET, 1)
    }
}

/// The handler of [`xpcall`], around the script's own, which is its upvalue: where a coroutine goes on after it was
/// suspended, Luau forgets that memory ran out once a handler has returned.
unsafe extern "C-unwind" fn handle(state: *mut lua_State) -> c_int {
    // SAFETY: called with the error, and room for what is pushed.
    unsafe {
        notice_memory(state);
        if meter::tick(1).is_some() {
            return 1;
        }
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, 1, 1);
        1
    }
}

/// Whether the error at the bottom of the stack is Luau's own for memory. A script that throws the same text ends its own
/// call.
unsafe fn notice_memory(state: *mut lua_State) {
    // SAFETY: the value is a string, so it is not converted and stays in its slot.
    unsafe {
        if ffi::lua_type(state, 1) == ffi::LUA_TSTRING {
            let mut length = 0;
            let text = ffi::lua_tolstring(state, 1, &raw mut length);
            if !text.is_null() && CStr::from_ptr(text) == OUT_OF_MEMORY {
                meter::out_of_memory();
            }
        }
    }
}

/// The continuation of both. On success the stack holds the results, below them the handler where there is one; otherwise
/// the error is on top.
unsafe extern "C-unwind" fn after_call<const HANDLER: bool>(state: *mut lua_State, status: c_int) -> c_int {
    if status == ffi::LUA_ERRMEM {
        meter::out_of_memory();
    }
    // SAFETY: room is asked for before the one value is pushed.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        if status != ffi::LUA_OK {
            // an error passes no safepoint on its way, however much was done since the last one
            if meter::tick(1).is_some() {
                interrupt::end(state);
            }
            ffi::lua_pushboolean(state, 0);
            ffi::lua_insert(state, -2);
            return 2;
        }
        ffi::lua_pushboolean(state, 1);
        if HANDLER {
            ffi::lua_replace(state, 1);
        } else {
            ffi::lua_insert(state, 1);
        }
        ffi::lua_gettop(state)
    }
}

/// Wraps a function that returns `failed, value` into one that throws the value or returns it, tables unchanged; where
/// `failed` is nil, it suspends its coroutine, and what that is resumed with is thrown or returned. It takes at most
/// [`MAX_ARGUMENTS`]: mlua panics when it runs out of room for references.
pub(super) fn throwing(lua: &Lua, function: &Function) -> mlua::Result<Function> {
    closure(lua, c"host function", call_throwing, None, (function,), 1)
}

unsafe extern "C-unwind" fn call_throwing(state: *mut lua_State) -> c_int {
    // SAFETY: the stack is `arguments…`; after the call it ends in `failed, value`.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count > MAX_ARGUMENTS {
            ffi::luaL_error(state, c"too many arguments to a host function".as_ptr());
        }
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        MAY_WAIT.set(BASE.get() == state && ffi::lua_isyieldable(state) != 0);
        ffi::lua_call(state, count, 2);
        if ffi::lua_type(state, -2) == ffi::LUA_TNIL {
            return ffi::lua_yield(state, 0);
        }
        if ffi::lua_toboolean(state, -2) != 0 {
            ffi::lua_error(state);
        }
        1
    }
}

/// `coroutine.resume` and `coroutine.wrap` as Luau has them, given the native `create` and `resume`, save that both look at the call's
/// budget: a coroutine goes on where it was suspended, past the safepoint at the beginning of its function, and who resumed one
/// that failed goes on too.
pub(super) fn resuming_calls(lua: &Lua, create: Function, native: Function) -> mlua::Result<(Function, Function)> {
    Ok((closure(lua, c"resume", resume, None, &native, 1)?, closure(lua, c"wrap", wrap, None, (create, native), 2)?))
}

unsafe extern "C-unwind" fn resume(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalue is the native function, which runs in this frame with its arguments.
    unsafe { resumed(state, 1) }
}

/// Resumes the coroutine at the bottom of the stack by the native function, which is this upvalue. As there, the results begin with whether
/// it went well. That a debugger breaks it, for which the native one can go on later, does not happen here.
unsafe fn resumed(state: *mut lua_State, native: c_int) -> c_int {
    // SAFETY: as the callers say; what the native function returns is on the stack, and is at least one value.
    unsafe {
        look(state);
        let count = ffi::lua_tocfunction(state, ffi::lua_upvalueindex(native)).map_or(0, |native| native(state));
        if ffi::lua_toboolean(state, -count) == 0 {
            look(state);
        }
        count
    }
}

/// A safepoint.
unsafe fn look(state: *mut lua_State) {
    if meter::tick(1).is_some() {
        // SAFETY: raises from the function that was called.
        unsafe { interrupt::end(state) }
    }
}

unsafe extern "C-unwind" fn wrap(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalues are the native `create` and `resume`; the first runs in this frame, and leaves the coroutine on top.
    unsafe {
        if let Some(create) = ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1)) {
            create(state);
        }
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
        ffi::lua_pushcclosurek(state, call_wrapped, c"wrapped".as_ptr(), 2, None);
        1
    }
}

unsafe extern "C-unwind" fn call_wrapped(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalues are the coroutine and the native `resume`; a function that is called has room for a value more.
    unsafe {
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        let count = resumed(state, 2);
        if ffi::lua_toboolean(state, -count) != 0 {
            return count - 1;
        }
        if ffi::lua_isstring(state, -1) != 0 {
            ffi::luaL_where(state, 1);
            ffi::lua_insert(state, -2);
            ffi::lua_concat(state, 2);
        }
        ffi::lua_error(state)
    }
}
