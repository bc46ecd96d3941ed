//! Which arguments of the native functions are numbers: a text in place of one is read as a number, up to the memory limit's worth
//! of digits for each. So a long one is refused before.

use std::ffi::{CStr, c_int};

use mlua::{Lua, Table};

use super::gates::{Gate, Plan, gate};
use super::interrupt::Args;

/// Declares gates for functions whose first arguments are numbers, by library and by how many those are.
macro_rules! of_numbers {
    ($($library:literal, $numbers:expr => $($gate:ident = $name:literal),+;)*) => {
        $($(
            struct $gate;
            impl Gate for $gate {
                const NAME: &'static CStr = $name;
                const NUMBERS: &'static [c_int] = &$numbers;
                fn plan(_: &Args<'_>) -> Plan {
                    Plan::Run(0)
                }
            }
        )+)*

        /// Puts the gates into the libraries.
        pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
            $(
                let library: Table = lua.globals().raw_get($library)?;
                $(gate::<$gate>(lua, &library)?;)+
            )*
            Ok(())
        }
    };
}

of_numbers! {
    "math", [1] => Abs = c"abs", Acos = c"acos", Asin = c"asin", Atan = c"atan", Ceil = c"ceil", Cosh = c"cosh", Cos = c"cos",
        Deg = c"deg", Exp = c"exp", Floor = c"floor", Frexp = c"frexp", Log10 = c"log10", Modf = c"modf", Rad = c"rad",
        RandomSeed = c"randomseed", Sinh = c"sinh", Sin = c"sin", Sqrt = c"sqrt", Tanh = c"tanh", Tan = c"tan",
        Sign = c"sign", Round = c"round", IsNan = c"isnan", IsInf = c"isinf", IsFinite = c"isfinite";
    "math", [1, 2] => Atan2 = c"atan2", Fmod = c"fmod", Ldexp = c"ldexp", Log = c"log", Pow = c"pow", Random = c"random";
    "math", [1, 2, 3] => Noise = c"noise", Clamp = c"clamp", Lerp = c"lerp";
    "bit32", [1] => Not = c"bnot", ZerosLeft = c"countlz", ZerosRight = c"countrz", SwapBytes = c"byteswap";
    "bit32", [1, 2] => RightShiftSigned = c"arshift", RotateLeft = c"lrotate", ShiftLeft = c"lshift",
        RotateRight = c"rrotate", ShiftRight = c"rshift";
    "bit32", [1, 2, 3] => Extract = c"extract";
    "buffer", [2] => ReadI8 = c"readi8", ReadU8 = c"readu8", ReadI16 = c"readi16", ReadU16 = c"readu16",
        ReadI32 = c"readi32", ReadU32 = c"readu32", ReadF32 = c"readf32", ReadF64 = c"readf64";
    "buffer", [2, 3] => ReadBits = c"readbits", WriteI8 = c"writei8", WriteU8 = c"writeu8", WriteI16 = c"writei16",
        WriteU16 = c"writeu16", WriteI32 = c"writei32", WriteU32 = c"writeu32", WriteF32 = c"writef32",
        WriteF64 = c"writef64";
    "buffer", [2, 3, 4] => WriteBits = c"writebits";
    "vector", [1, 2, 3, 4] => CreateVector = c"create";
    "vector", [3] => LerpVector = c"lerp";
    "os", [1, 2] => DiffTime = c"difftime";
}

/// The arguments of `string.format` that are numbers, by its format; none that were not passed.
pub(super) fn in_format(args: &Args<'_>) -> impl Iterator<Item = c_int> {
    let mut rest = args.bytes(1).unwrap_or_default();
    let (mut index, count) = (1, args.count());
    std::iter::from_fn(move || {
        loop {
            let at = rest.iter().position(|byte| *byte == b'%')?;
            rest = &rest[at + 1..];
            if let [b'%', after @ ..] = rest {
                rest = after;
                continue;
            }
            let letter =
                rest.iter().position(|byte| !matches!(byte, b'-' | b'+' | b' ' | b'#' | b'.' | b'0'..=b'9'))?;
            let kind = rest[letter];
            rest = &rest[letter + 1..];
            index += 1;
            if !matches!(kind, b's' | b'q' | b'*') {
                return (index <= count).then_some(index);
            }
        }
    })
}

/// The arguments of `string.pack` that are numbers, by its format; none that were not passed.
pub(super) fn in_pack(args: &Args<'_>) -> impl Iterator<Item = c_int> {
    let mut rest = args.bytes(1).unwrap_or_default();
    let (mut index, count) = (1, args.count());
    std::iter::from_fn(move || {
        loop {
            let (kind, after) = rest.split_first()?;
            rest = after;
            match kind {
                // what it aligns to takes no argument
                b'X' => rest = rest.split_first().map_or(rest, |(_, after)| after),
                b's' | b'z' | b'c' => index += 1,
                b'b' | b'B' | b'h' | b'H' | b'i' | b'I' | b'l' | b'L' | b'j' | b'J' | b'T' | b'f' | b'n' | b'd' => {
                    index += 1;
                    return (index <= count).then_some(index);
                }
                _ => {}
            }
        }
    })
}
