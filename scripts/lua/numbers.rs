//! Which arguments of the native functions are numbers: a text in place of one is read as a number, up to the memory limit's worth
//! of digits for each. So a long one is refused before.

use std::ffi::{CStr, c_int};

use mlua::{Lua, Table};

use super::gates::{Gate, Plan, gate};
use super::interrupt::Args;

/// Declares gates for functions of which any argument may be a number, by library.
macro_rules! of_numbers {
    ($($library:literal: $($gate:ident = $name:literal),+;)*) => {
        $($(
            struct $gate;
            impl Gate for $gate {
                const NAME: &'static CStr = $name;
                const NUMBERS: &'static [c_int] = &[1, 2, 3, 4, 5, 6];
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
    "math": Abs = c"abs", Acos = c"acos", Asin = c"asin", Atan2 = c"atan2", Atan = c"atan", Ceil = c"ceil", Cosh = c"cosh",
        Cos = c"cos", Deg = c"deg", Exp = c"exp", Floor = c"floor", Fmod = c"fmod", Frexp = c"frexp", Ldexp = c"ldexp",
        Log10 = c"log10", Log = c"log", Modf = c"modf", Pow = c"pow", Rad = c"rad", Random = c"random",
        RandomSeed = c"randomseed", Sinh = c"sinh", Sin = c"sin", Sqrt = c"sqrt", Tanh = c"tanh", Tan = c"tan",
        Noise = c"noise", Clamp = c"clamp", Sign = c"sign", Round = c"round", Lerp = c"lerp", IsNan = c"isnan",
        IsInf = c"isinf", IsFinite = c"isfinite";
    "bit32": RightShiftSigned = c"arshift", Not = c"bnot", Extract = c"extract", RotateLeft = c"lrotate",
        ShiftLeft = c"lshift", RotateRight = c"rrotate", ShiftRight = c"rshift", ZerosLeft = c"countlz",
        ZerosRight = c"countrz", SwapBytes = c"byteswap";
    "buffer": ReadI8 = c"readi8", ReadU8 = c"readu8", ReadI16 = c"readi16", ReadU16 = c"readu16", ReadI32 = c"readi32",
        ReadU32 = c"readu32", ReadF32 = c"readf32", ReadF64 = c"readf64", ReadBits = c"readbits", WriteI8 = c"writei8",
        WriteU8 = c"writeu8", WriteI16 = c"writei16", WriteU16 = c"writeu16", WriteI32 = c"writei32",
        WriteU32 = c"writeu32", WriteF32 = c"writef32", WriteF64 = c"writef64", WriteBits = c"writebits";
    "vector": CreateVector = c"create", ClampVector = c"clamp", LerpVector = c"lerp";
    "os": DiffTime = c"difftime";
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
