//! Gates in front of native functions that could work long or allocate much without a safepoint: the work is charged
//! before it is done, and what is beyond the memory limit is refused.
//!
//! Fast built-ins (`string.sub`, `table.insert` with two arguments and the like) are compiled into instructions and pass
//! no gate; each does at most one pass over what fits the VM's memory, and the meter looks more often when ticks turn slow.

use std::ffi::{CStr, c_int};

use mlua::{Function, Lua, Table};

use super::interrupt::{self, Args, MAX_NUMBER, NO_NUMBER};
use super::numbers;
use super::pattern::pattern;
use crate::meter;

/// Bytes that `string.split` may compare.
const MAX_SPLIT_WORK: usize = 256 << 20;

/// Bytes of the formats of `os.date`, `string.pack` and its like: each field of two takes some 70 ns.
const MAX_FORMAT: usize = 64 << 10;

/// The fields that `os.time` reads.
const TIME: [&CStr; 6] = [c"year", c"month", c"day", c"hour", c"min", c"sec"];

/// Arguments of `string.format`: the longest number takes 9 us.
const MAX_FIELDS: c_int = 4096;
/// What one of them is charged in bytes.
const FIELD: usize = 256;

/// Bytes of the texts that are joined in one call.
const MAX_JOINED: usize = 64 << 20;

/// Bytes of a table's slot.
const SLOT: usize = 16;

/// What a gated native function may do.
#[derive(Clone, Copy)]
pub(super) enum Plan {
    /// Run, after this many bytes of work were charged.
    Run(usize),
    /// As `Run`, where only a part of the work is known: the next safepoint looks at the clocks.
    RunLong(usize),
    /// As `Run`, with a metered `<` as the second argument.
    RunSorting(usize),
    /// Return these two numbers, or nil.
    Return(Option<(f64, f64)>),
    /// Throw this.
    Refuse(&'static CStr),
    /// The call is over.
    End,
}

/// How a native function is gated: looks at the arguments and decides.
pub(super) trait Gate {
    /// The function's name in messages.
    const NAME: &'static CStr;
    /// The arguments that are read as numbers: a long text among them is refused before the plan is made.
    const NUMBERS: &'static [c_int] = &[];
    /// Whether it may plan [`Plan::RunSorting`].
    const SORTS: bool = false;
    /// Decides; must not panic.
    fn plan(args: &Args<'_>) -> Plan;
}

/// Puts the gates into the libraries, before the sandbox closes them.
pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    let globals = lua.globals();
    numbers::install(lua)?;
    gate::<ToNumber>(lua, &globals)?;
    gate::<Select>(lua, &globals)?;
    gate::<RaisedError>(lua, &globals)?;
    let string: Table = globals.raw_get("string")?;
    gate::<Rep>(lua, &string)?;
    gate::<Sub>(lua, &string)?;
    gate::<Byte>(lua, &string)?;
    gate::<Find>(lua, &string)?;
    gate::<Match>(lua, &string)?;
    gate::<Gmatch>(lua, &string)?;
    gate::<Gsub>(lua, &string)?;
    gate::<Split>(lua, &string)?;
    gate::<Format>(lua, &string)?;
    gate::<Lower>(lua, &string)?;
    gate::<Upper>(lua, &string)?;
    gate::<Reverse>(lua, &string)?;
    gate::<StringPack>(lua, &string)?;
    gate::<StringPackSize>(lua, &string)?;
    gate::<StringUnpack>(lua, &string)?;
    gate::<Char>(lua, &string)?;
    let utf8: Table = globals.raw_get("utf8")?;
    gate::<Utf8Len>(lua, &utf8)?;
    gate::<Utf8Offset>(lua, &utf8)?;
    gate::<Utf8CodePoint>(lua, &utf8)?;
    gate::<Utf8Char>(lua, &utf8)?;
    let math: Table = globals.raw_get("math")?;
    gate::<Max>(lua, &math)?;
    gate::<Min>(lua, &math)?;
    gate::<Map>(lua, &math)?;
    let bit32: Table = globals.raw_get("bit32")?;
    gate::<BitAnd>(lua, &bit32)?;
    gate::<BitOr>(lua, &bit32)?;
    gate::<BitXor>(lua, &bit32)?;
    gate::<BitTest>(lua, &bit32)?;
    gate::<BitReplace>(lua, &bit32)?;
    let table: Table = globals.raw_get("table")?;
    gate::<Insert>(lua, &table)?;
    gate::<Remove>(lua, &table)?;
    gate::<Move>(lua, &table)?;
    gate::<Sort>(lua, &table)?;
    gate::<Create>(lua, &table)?;
    gate::<Concat>(lua, &table)?;
    gate::<Clone>(lua, &table)?;
    gate::<Clear>(lua, &table)?;
    gate::<MaxN>(lua, &table)?;
    gate::<TableFind>(lua, &table)?;
    gate::<Unpack>(lua, &table)?;
    globals.raw_set("unpack", table.raw_get::<Function>("unpack")?)?;
    let buffer: Table = globals.raw_get("buffer")?;
    gate::<BufferCreate>(lua, &buffer)?;
    gate::<BufferFromString>(lua, &buffer)?;
    gate::<BufferToString>(lua, &buffer)?;
    gate::<BufferReadString>(lua, &buffer)?;
    gate::<BufferWriteString>(lua, &buffer)?;
    gate::<BufferFill>(lua, &buffer)?;
    gate::<BufferCopy>(lua, &buffer)?;
    let os: Table = globals.raw_get("os")?;
    gate::<Date>(lua, &os)?;
    gate::<Time>(lua, &os)?;
    let debug: Table = globals.raw_get("debug")?;
    gate::<Traceback>(lua, &debug)?;
    gate_iterator(lua, &globals)
}

/// `ipairs` keeps the function that it hands out to itself.
fn gate_iterator(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let ipairs: Function = globals.raw_get("ipairs")?;
    let (native, _, _): (Function, Table, f64) = ipairs.call(lua.create_table()?)?;
    interrupt::set_upvalue(lua, &ipairs, &interrupt::gated::<NextIndex>(lua, &native)?)
}

pub(super) fn gate<G: Gate>(lua: &Lua, library: &Table) -> mlua::Result<()> {
    let name = G::NAME.to_string_lossy();
    let native: Function = library.raw_get(name.as_ref())?;
    library.raw_set(name.as_ref(), interrupt::gated::<G>(lua, &native)?)
}

/// Declares gates: a type, the function's name, the arguments that are numbers, and the plan.
macro_rules! gates {
    ($($(#[doc = $doc:literal])* $gate:ident = $name:literal $([$($number:literal),+])?, |$args:ident| $plan:expr;)*) => {$(
        $(#[doc = $doc])*
        struct $gate;
        impl Gate for $gate {
            const NAME: &'static CStr = $name;
            $(const NUMBERS: &'static [c_int] = &[$($number),+];)?
            fn plan($args: &Args<'_>) -> Plan {
                $plan
            }
        }
    )*};
}

gates! {
    Rep = c"rep" [2], |args| {
        let size = args.length(1).saturating_mul(count(args, 2));
        if meter::refuses(size) { Plan::Refuse(c"resulting string too large") } else { Plan::Run(size) }
    };
    Find = c"find" [3], |args| pattern(args, true);
    Match = c"match" [3], |args| pattern(args, false);
    Gmatch = c"gmatch" [3], |args| pattern(args, false);
    Gsub = c"gsub" [4], |args| pattern(args, false);
    Split = c"split", |args| {
        let (subject, separator) = (args.length(1), args.length(2));
        if separator > 1 && subject.saturating_mul(separator) > MAX_SPLIT_WORK {
            Plan::Refuse(c"separator too long for a string of this length")
        } else {
            Plan::Run(subject.saturating_mul(8))
        }
    };
    Format = c"format", |args| match joined(args) {
        _ if args.count() > MAX_FIELDS => Plan::Refuse(c"too many arguments"),
        None => Plan::Refuse(c"the arguments are too large together"),
        Some(_) if numbers::in_format(args).any(|index| args.is_too_long(index)) => Plan::Refuse(NO_NUMBER),
        Some(size) => Plan::Run(size + numbers::in_format(args).count().saturating_mul(FIELD)),
    };
    /// A longer text is none.
    ToNumber = c"tonumber" [2], |args| if text(args, 1) > MAX_NUMBER { Plan::Return(None) } else { Plan::Run(text(args, 1)) };
    Select = c"select" [1], |args| Plan::Run(text(args, 1));
    RaisedError = c"error" [2], |args| Plan::Run(text(args, 2));
    Sub = c"sub" [2, 3], |args| part(args, args.number(3).unwrap_or(-1.0));
    Byte = c"byte" [2, 3], |args| part(args, args.number(3).or(args.number(2)).unwrap_or(1.0));
    /// A field may be as long as a text may be, or reach to the end of one.
    StringPack = c"pack", |args| format(args, |work| match joined(args) {
        None => Plan::Refuse(c"the arguments are too large together"),
        Some(_) if numbers::in_pack(args).any(|index| args.is_too_long(index)) => Plan::Refuse(NO_NUMBER),
        Some(size) => Plan::RunLong(size.saturating_add(work)),
    });
    StringPackSize = c"packsize", |args| format(args, Plan::RunLong);
    StringUnpack = c"unpack" [3], |args| format(args, Plan::RunLong);
    Char = c"char", |args| numbers(args);
    Utf8Char = c"char", |args| numbers(args);
    Max = c"max", |args| numbers(args);
    Min = c"min", |args| numbers(args);
    Map = c"map", |args| numbers(args);
    BitAnd = c"band", |args| numbers(args);
    BitOr = c"bor", |args| numbers(args);
    BitXor = c"bxor", |args| numbers(args);
    BitTest = c"btest", |args| numbers(args);
    BitReplace = c"replace", |args| numbers(args);
    Utf8Len = c"len" [2, 3], |args| Plan::Run(text(args, 1));
    /// A letter has at most four bytes.
    Utf8Offset = c"offset" [2, 3], |args| {
        Plan::Run(whole(args.number(2).unwrap_or(0.0).abs()).saturating_mul(4).min(args.length(1)))
    };
    Utf8CodePoint = c"codepoint" [2, 3], |args| part(args, args.number(3).or(args.number(2)).unwrap_or(1.0));
    Lower = c"lower", |args| Plan::Run(text(args, 1));
    Upper = c"upper", |args| Plan::Run(text(args, 1));
    Reverse = c"reverse", |args| Plan::Run(text(args, 1));
    /// Only with a position, which shifts what follows.
    Insert = c"insert", |args| match args.count() {
        3 if args.is_too_long(2) => Plan::Refuse(NO_NUMBER),
        3 => Plan::Run(shifted(args)),
        _ => Plan::Run(0),
    };
    Remove = c"remove" [2], |args| Plan::Run(if args.is_nil(2) { 0 } else { shifted(args) });
    /// The native one walks any range asked for, present or not.
    Move = c"move" [2, 3, 4], |args| match (args.number(2), args.number(3)) {
        (Some(from), Some(to)) => {
            let size = whole(to - from + 1.0).saturating_mul(SLOT);
            if meter::refuses(size) { Plan::Refuse(c"too many elements to move") } else { Plan::Run(size) }
        }
        _ => Plan::Run(0),
    };
    Create = c"create" [1], |args| {
        let size = count(args, 1).saturating_mul(SLOT);
        if meter::refuses(size) { Plan::Refuse(c"size out of range of the memory limit") } else { Plan::Run(size) }
    };
    Concat = c"concat" [3, 4], |args| Plan::RunLong(args.length(1).saturating_mul(64));
    Clone = c"clone", |args| elements(args);
    Clear = c"clear", |args| elements(args);
    MaxN = c"maxn", |args| elements(args);
    /// May call `__eq` for each element.
    TableFind = c"find" [3], |args| elements(args);
    Unpack = c"unpack" [2, 3], |args| match (args.number(2), args.number(3)) {
        (from, Some(to)) => Plan::Run(whole(to - from.unwrap_or(1.0) + 1.0).min(meter::memory()).saturating_mul(SLOT)),
        _ => Plan::Run(args.length(1).saturating_mul(SLOT)),
    };
    BufferCreate = c"create" [1], |args| {
        let size = count(args, 1);
        if meter::refuses(size) { Plan::Refuse(c"size out of range of the memory limit") } else { Plan::Run(size) }
    };
    BufferFromString = c"fromstring", |args| Plan::Run(text(args, 1));
    BufferToString = c"tostring", |args| Plan::Run(args.length(1));
    BufferReadString = c"readstring" [2, 3], |args| Plan::Run(count(args, 3).min(args.length(1)));
    BufferWriteString = c"writestring" [2, 4], |args| Plan::Run(args.length(3));
    BufferFill = c"fill" [2, 3, 4], |args| Plan::Run(args.number(4).map_or(usize::MAX, whole).min(args.length(1)));
    BufferCopy = c"copy" [2, 4, 5], |args| Plan::Run(args.number(5).map_or(usize::MAX, whole).min(args.length(3)));
    /// A field of two bytes may become two hundred.
    Date = c"date" [2], |args| if args.length(1) > MAX_FORMAT {
        Plan::Refuse(c"the format is too long")
    } else {
        Plan::Run(args.length(1).saturating_mul(100))
    };
    /// Reads the fields of a table as numbers.
    Time = c"time", |args| if args.longest_field(1, &TIME) > MAX_NUMBER { Plan::Refuse(NO_NUMBER) } else { Plan::Run(0) };
    /// As a metamethod it is given any text.
    NextIndex = c"inext" [2], |_args| Plan::Run(0);
    /// Walks the whole stack.
    Traceback = c"traceback" [3], |args| {
        // behind a thread the second is a message
        if args.is_too_long(2) && !args.is_thread(1) {
            return Plan::Refuse(NO_NUMBER);
        }
        Plan::RunLong(args.length(1).saturating_add(args.length(2)))
    };
}

/// Without a comparator the native one has no safepoint, nor with one that is native.
struct Sort;

impl Gate for Sort {
    const NAME: &'static CStr = c"sort";
    const SORTS: bool = true;

    fn plan(args: &Args<'_>) -> Plan {
        if args.is_nil(2) && args.length(1) > 0 {
            Plan::RunSorting(args.length(1).saturating_mul(SLOT))
        } else if args.is_native(2) {
            Plan::Refuse(c"the comparator must be a function of the script")
        } else {
            Plan::Run(0)
        }
    }
}

pub(super) fn whole(number: f64) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and NaN is 0")]
    let whole = number as usize;
    whole
}

fn count(args: &Args<'_>, index: c_int) -> usize {
    args.number(index).map_or(0, whole)
}

/// Bytes of a text, 0 for anything else.
fn text(args: &Args<'_>, index: c_int) -> usize {
    args.bytes(index).map_or(0, <[u8]>::len)
}

fn texts(args: &Args<'_>) -> impl Iterator<Item = usize> {
    (1..=args.count()).map(|index| text(args, index))
}

/// For functions that read as many numbers as they are given.
fn numbers(args: &Args<'_>) -> Plan {
    let (count, size) =
        texts(args).fold((0_usize, 0_usize), |(count, size), text| (count + 1, size.saturating_add(text)));
    if size > MAX_NUMBER { Plan::Refuse(NO_NUMBER) } else { Plan::Run(size + count.saturating_mul(SLOT)) }
}

/// The bytes of all arguments, for functions that put them into one text or read them as numbers; `None` if those are too many.
fn joined(args: &Args<'_>) -> Option<usize> {
    let size = texts(args).fold(0, usize::saturating_add);
    (size <= MAX_JOINED && !meter::refuses(size)).then_some(size)
}

/// For functions that walk a table, whose hash part has no known size.
fn elements(args: &Args<'_>) -> Plan {
    Plan::RunLong(args.length(1).saturating_mul(SLOT))
}

/// A format of values, which takes so much work.
fn format(args: &Args<'_>, plan: impl FnOnce(usize) -> Plan) -> Plan {
    if args.length(1) > MAX_FORMAT {
        return Plan::Refuse(c"the format is too long");
    }
    plan(args.length(1).saturating_mul(SLOT))
}

/// The part of a text from argument 2 to `to`, both counted from 1, or from the end if below zero.
fn part(args: &Args<'_>, to: f64) -> Plan {
    let length = args.length(1);
    let place = |at: f64| if at < 0.0 { (length + 1).saturating_sub(whole(-at)) } else { whole(at) };
    let from = place(args.number(2).unwrap_or(1.0)).max(1);
    Plan::Run((place(to).min(length) + 1).saturating_sub(from))
}

/// Bytes that inserting or removing at the position of argument 2 moves.
fn shifted(args: &Args<'_>) -> usize {
    args.length(1).saturating_sub(count(args, 2)).saturating_mul(SLOT)
}
