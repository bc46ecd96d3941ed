//! The raw edge to Luau: the interrupt that makes limits hold, and the gate in front of native functions whose work the
//! interrupt does not see. With [`super::protected`] the only code that is unsafe.
//!
//! mlua's own interrupt costs about 2x on tight loops.
//!
//! # Safety
//! - Every function here that Luau calls gets a live `lua_State` from it and uses only the documented C API on it, on the
//!   thread that runs the VM. The VM never leaves its thread.
//! - An error is raised by `lua_error`, a C++ exception that unwinds through these frames (`extern "C-unwind"`). No frame
//!   that may raise holds a value with a destructor: they hold integers, pointers and `Copy` types only.
//! - No frame lets a Rust panic pass: they call only code without panics (cells, saturating arithmetic, checked slices, and
//!   the thread's [`Overseer`](crate::Overseer), which promises so). It raises nothing and runs no script.
//! - Stack room: C functions have 20 slots beyond their arguments; the interrupt, which is none, asks for its slot.
//! - Strings reached through [`Args`] stand in the stack of the running C function, so they live and stay in place as
//!   long as the borrow, which ends before the function does anything that changes the stack.
#![allow(unsafe_code, reason = "the raw Luau callbacks; the safety argument stands above")]

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use mlua::ffi::{self, lua_CFunction, lua_Continuation, lua_State};
use mlua::{Function, IntoLuaMulti, Lua};

use super::gates::{Gate, Plan};
use crate::{meter, observe};

/// Bytes of the texts that one call reads as numbers: 0.1 ms.
pub(super) const MAX_NUMBER: usize = 64 << 10;

/// What a longer one is told.
pub(super) const NO_NUMBER: &CStr = c"texts are too long for numbers";

/// Work in bytes from which a native function may have allocated much.
const LARGE: usize = 1 << 16;

/// Bytes that may be compared between two looks at the clocks: some 10 ms. It is the one operation of the VM that takes long and
/// allocates nothing.
const SEEN_BYTES: usize = 160 << 20;
/// Ticks between two looks: so few where the heap is large, as a text may be as large as it, and so many where it is small.
const STRIDES: (usize, usize) = (64, 512);

thread_local! {
    /// Bytes in use beyond which the heap of this call is crowded, see [`begin`] and [`collect`].
    static CROWDED_AT: Cell<usize> = const { Cell::new(usize::MAX) };
    /// The same for [`look`], which may come when a value still stands in a register that is about to be written: what it finds
    /// alive says nothing of how crowded the heap is before the next large allocation.
    static LOOKS_AT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Sets the callbacks of a VM; from here on its safepoints ask the meter of the thread.
pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: the callbacks of this state are written before any script runs in it; see the head of the file.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            (*ffi::lua_callbacks(state)).interrupt = Some(on_safepoint);
            (*ffi::lua_callbacks(state)).postresume = Some(after_resume);
        })
    }
}

/// Luau's safepoint. `gc` is negative when the script is at one; otherwise the collector is at work, nothing may be
/// raised, and much may have been allocated, so the next safepoint looks at the clocks.
unsafe extern "C-unwind" fn on_safepoint(state: *mut lua_State, gc: c_int) {
    if gc >= 0 {
        unsafe { after_collector_step(state) }
    } else if meter::step() {
        // SAFETY: the script is at a safepoint.
        unsafe { look(state) }
    }
}

/// The collector has done a step, and the script allocated before it.
#[cold]
unsafe fn after_collector_step(state: *mut lua_State) {
    meter::hurry();
    // SAFETY: reads a counter and writes a callback of a live state.
    unsafe {
        observe::holds(in_use(state));
        if is_crowded(state) {
            (*ffi::lua_callbacks(state)).interrupt = Some(collect_first);
        }
    }
}

/// Stands in for [`on_safepoint`] once after the heap became crowded.
unsafe extern "C-unwind" fn collect_first(state: *mut lua_State, gc: c_int) {
    if gc < 0 {
        // SAFETY: at a safepoint the collector may run, as it may in any function a script calls.
        unsafe {
            collect(state);
            on_safepoint(state, gc);
        }
    }
}

/// A stride of the meter ends at a safepoint, where the collector may run and, only there, an error may be raised. Looks at
/// the heap first: the collector's own steps are not enough, since one that has traversed a large table lets as much be
/// allocated before the next. Apart from [`on_safepoint`], which then needs no stack frame.
#[cold]
#[inline(never)]
unsafe extern "C-unwind" fn look(state: *mut lua_State) {
    // SAFETY: reads a counter; at a safepoint the collector may run, as it may in any function a script calls.
    unsafe {
        observe::holds(in_use(state));
        if in_use(state) > LOOKS_AT.get() {
            let crowded_at = CROWDED_AT.get();
            collect(state);
            CROWDED_AT.set(crowded_at);
        }
        let longest = (SEEN_BYTES / in_use(state).max(1)).clamp(STRIDES.0, STRIDES.1);
        if meter::look_within(longest as u64).is_some() {
            end(state);
        }
    }
}

/// Whether the heap has grown past five eighths of its limit: the collector lets a heap grow to twice what lives, and
/// what is only garbage must not end a call.
unsafe fn is_crowded(state: *mut lua_State) -> bool {
    // SAFETY: reads a counter.
    unsafe { in_use(state) > CROWDED_AT.get() }
}

/// A full collection. After it the heap must first grow by a sixteenth of the limit, so a script at the brim spends its CPU
/// time, not the host's.
unsafe fn collect(state: *mut lua_State) {
    // SAFETY: the caller stands where the collector may run; callbacks are those of a live state.
    unsafe {
        ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
        let limit = meter::heap();
        let crowded_at = (limit / 8 * 5).max(in_use(state).saturating_add(limit / 16));
        CROWDED_AT.set(crowded_at);
        LOOKS_AT.set(crowded_at);
        (*ffi::lua_callbacks(state)).interrupt = Some(on_safepoint);
    }
}

/// Bytes of the heap in use, in steps of 1 KiB.
unsafe fn in_use(state: *mut lua_State) -> usize {
    // SAFETY: reads a counter.
    usize::try_from(unsafe { ffi::lua_gc(state, ffi::LUA_GCCOUNT, 0) }).unwrap_or(0) << 10
}

/// A call begins: nothing was collected for it yet.
pub(super) fn begin() {
    let crowded_at = meter::heap() / 8 * 5;
    CROWDED_AT.set(crowded_at);
    LOOKS_AT.set(crowded_at);
}

/// Raises what ends a call. A script may catch it and meets it again at its next safepoint.
#[cold]
#[inline(never)]
pub(super) unsafe fn end(state: *mut lua_State) -> ! {
    // SAFETY: room is asked for; a constant string is pushed; `lua_error` does not return.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        ffi::lua_pushliteral(state, c"a limit was reached");
        ffi::lua_error(state)
    }
}

/// A coroutine that ran out of memory ends the call, whoever resumed it.
unsafe extern "C-unwind" fn after_resume(state: *mut lua_State) {
    // SAFETY: reads the status of a live state.
    if unsafe { ffi::lua_status(state) } == ffi::LUA_ERRMEM {
        meter::out_of_memory();
    }
}

/// `native` behind the gate `G`.
pub(super) fn gated<G: Gate>(lua: &Lua, native: &Function) -> mlua::Result<Function> {
    if !G::SORTS {
        return closure(lua, G::NAME, call_gated::<G>, None, native, 1);
    }
    let less = closure(lua, c"less", less, None, (), 0)?;
    closure(lua, G::NAME, call_gated::<G>, None, (native, less), 2)
}

/// Gives the native `function` another value as its first upvalue.
pub(super) fn set_upvalue(lua: &Lua, function: &Function, value: &Function) -> mlua::Result<()> {
    // SAFETY: mlua pushes both and runs this protected, and takes the truth value.
    let is_set: bool = unsafe {
        lua.exec_raw((function, value), |state| {
            let name = ffi::lua_setupvalue(state, -2, 1);
            ffi::lua_settop(state, 0);
            ffi::lua_pushboolean(state, c_int::from(!name.is_null()));
        })
    }?;
    if is_set { Ok(()) } else { Err(mlua::Error::runtime("internal error: a native function has no upvalue")) }
}

unsafe extern "C-unwind" fn call_gated<G: Gate>(state: *mut lua_State) -> c_int {
    // SAFETY: upvalues are `native`, and `less` of a gate that sorts. The native C function runs in this frame, with its own arguments and
    // without upvalues of its own, as if it had been called directly; so its messages name the script's line.
    unsafe {
        let args = Args { state, frame: PhantomData };
        if G::NUMBERS.iter().any(|index| args.is_too_long(*index)) {
            ffi::luaL_error(state, c"%s".as_ptr(), NO_NUMBER.as_ptr());
        }
        let (work, large) = match G::plan(&args) {
            Plan::Run(work) => (work, work > LARGE),
            Plan::RunLong(work) => (work, true),
            // without the upvalue it would sort without a safepoint
            Plan::RunSorting(_) if !G::SORTS => end(state),
            Plan::RunSorting(work) => {
                ffi::lua_settop(state, 1);
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
                (work, true)
            }
            Plan::Return(found) => {
                let Some((first, second)) = found else {
                    ffi::lua_pushnil(state);
                    return 1;
                };
                ffi::lua_pushnumber(state, first);
                ffi::lua_pushnumber(state, second);
                return 2;
            }
            Plan::Refuse(message) => ffi::luaL_error(state, c"%s".as_ptr(), message.as_ptr()),
            Plan::End => end(state),
        };
        if meter::charge_bytes(work).is_some() {
            end(state);
        }
        if large {
            // Some large allocations pass no check of the collector.
            meter::hurry();
            observe::holds(in_use(state));
            if is_crowded(state) {
                collect(state);
            }
        }
        ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1)).map_or(0, |native| native(state))
    }
}

/// `a < b` that ticks, for sorting without a comparator.
unsafe extern "C-unwind" fn less(state: *mut lua_State) -> c_int {
    // SAFETY: called with two arguments; comparing may raise, and nothing is held.
    unsafe {
        if meter::tick(1).is_some() {
            end(state);
        }
        ffi::lua_pushboolean(state, ffi::lua_lessthan(state, 1, 2));
        1
    }
}

/// The arguments of a gated function, counted from 1. No method converts anything or calls a
/// metamethod, and each leaves the stack as it was.
pub(super) struct Args<'frame> {
    state: *mut lua_State,
    frame: PhantomData<&'frame [u8]>,
}

impl Args<'_> {
    /// How many were passed.
    pub(super) fn count(&self) -> c_int {
        unsafe { ffi::lua_gettop(self.state) }
    }

    /// Whether it is a text that is too long to be read as a number.
    pub(super) fn is_too_long(&self, index: c_int) -> bool {
        unsafe {
            ffi::lua_type(self.state, index) == ffi::LUA_TSTRING && ffi::lua_objlen(self.state, index) > MAX_NUMBER
        }
    }

    /// A number, or a string that reads as one; `None` where it is neither, or too long to be read.
    pub(super) fn number(&self, index: c_int) -> Option<f64> {
        if self.is_too_long(index) {
            return None;
        }
        let mut is = 0;
        let number = unsafe { ffi::lua_tonumberx(self.state, index, &raw mut is) };
        (is != 0).then_some(number)
    }

    /// The bytes of a string; `None` for anything else.
    pub(super) fn bytes(&self, index: c_int) -> Option<&[u8]> {
        // SAFETY: the value is a string, so it stays as it is and in its stack slot as long as the borrow.
        unsafe {
            if ffi::lua_type(self.state, index) != ffi::LUA_TSTRING {
                return None;
            }
            let mut length = 0;
            let start = ffi::lua_tolstring(self.state, index, &raw mut length);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), length))
        }
    }

    /// The length of a string or buffer in bytes or of a table in elements, else 0. A border search, no walk.
    pub(super) fn length(&self, index: c_int) -> usize {
        unsafe {
            match ffi::lua_type(self.state, index) {
                ffi::LUA_TSTRING | ffi::LUA_TTABLE | ffi::LUA_TBUFFER => ffi::lua_objlen(self.state, index),
                _ => 0,
            }
        }
    }

    /// The bytes of the longest text among these fields of a table, past its metatable; the most there are where the stack is
    /// full. May raise the error of a full heap, as the function behind the gate may.
    pub(super) fn longest_field(&self, index: c_int, names: &[&CStr]) -> usize {
        let longest = |name: &&CStr| unsafe {
            if ffi::lua_type(self.state, index) != ffi::LUA_TTABLE {
                return 0;
            }
            if ffi::lua_checkstack(self.state, 1) == 0 {
                return usize::MAX;
            }
            let is_text = ffi::lua_rawgetfield(self.state, index, name.as_ptr()) == ffi::LUA_TSTRING;
            let length = if is_text { ffi::lua_objlen(self.state, -1) } else { 0 };
            ffi::lua_pop(self.state, 1);
            length
        };
        names.iter().map(longest).max().unwrap_or(0)
    }

    /// Whether it counts as true.
    pub(super) fn truth(&self, index: c_int) -> bool {
        unsafe { ffi::lua_toboolean(self.state, index) != 0 }
    }

    /// Whether it is a native function.
    pub(super) fn is_native(&self, index: c_int) -> bool {
        unsafe { ffi::lua_iscfunction(self.state, index) != 0 }
    }

    /// Whether it is a coroutine.
    pub(super) fn is_thread(&self, index: c_int) -> bool {
        unsafe { ffi::lua_type(self.state, index) == ffi::LUA_TTHREAD }
    }

    /// Whether it is missing or nil.
    pub(super) fn is_nil(&self, index: c_int) -> bool {
        unsafe { ffi::lua_type(self.state, index) <= ffi::LUA_TNIL }
    }
}

/// A closure over the first `count` values of `upvalues`.
pub(super) fn closure(
    lua: &Lua,
    name: &'static CStr,
    function: lua_CFunction,
    continuation: Option<lua_Continuation>,
    upvalues: impl IntoLuaMulti,
    count: c_int,
) -> mlua::Result<Function> {
    // SAFETY: mlua pushes the upvalues, which the closure takes from the stack, and runs this protected.
    unsafe {
        lua.exec_raw(upvalues, |state| {
            ffi::lua_pushcclosurek(state, function, name.as_ptr(), count, continuation);
        })
    }
}
