//! Luau bytecode as it is serialised, as far as it must be read to find the instructions of each function.
//!
//! The layout is that of the pinned Luau: version 9, types of version 3. Anything else is refused, never guessed.

use std::ops::Range;

mod begin;

pub(super) use begin::begin_with;

/// The versions of this layout.
const VERSION: u8 = 9;
const TYPES_VERSION: u8 = 3;

/// The bytecode is not of the layout that this file knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

/// Where a function stands, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// The number of its instructions.
    size: Range<usize>,
    /// The instructions; each has four bytes.
    pub(super) code: Range<usize>,
    /// The lines of them, if it has any.
    lines: Option<Lines>,
    /// Whether it has names of variables, which say where those begin and end.
    has_names: bool,
}

/// Where the lines of instructions stand: for each stretch of `1 << gap` instructions one, and for each instruction how far it is
/// from that.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
    gap: u8,
    /// The gap, then the distances and the stretches.
    bytes: Range<usize>,
}

/// The functions of a file, in the order in which they stand there.
pub(super) fn functions(bytecode: &[u8]) -> Result<Vec<Function>, Unknown> {
    let mut reader = Reader { bytes: bytecode, at: 0 };
    if reader.byte()? != VERSION || reader.byte()? != TYPES_VERSION {
        return Err(Unknown);
    }
    for _ in 0..reader.count()? {
        let length = reader.count()?;
        reader.skip(length)?;
    }
    while reader.byte()? != 0 {
        reader.count()?;
    }
    let mut functions = Vec::new();
    for _ in 0..reader.count()? {
        functions.push(reader.function()?);
    }
    reader.count()?;
    if reader.at == bytecode.len() { Ok(functions) } else { Err(Unknown) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Unknown> {
        let byte = *self.bytes.get(self.at).ok_or(Unknown)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), Unknown> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len()).ok_or(Unknown)?;
        Ok(())
    }

    /// A number in groups of seven bits, the lowest first.
    fn count(&mut self) -> Result<usize, Unknown> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return usize::try_from(number).map_err(|_| Unknown);
            }
        }
        Err(Unknown)
    }

    fn function(&mut self) -> Result<Function, Unknown> {
        // Stack size, parameters, upvalues, whether it takes more, flags.
        self.skip(5)?;
        let types = self.count()?;
        self.skip(types)?;
        let at = self.at;
        let size = self.count()?;
        let start = self.at;
        self.skip(size.checked_mul(4).ok_or(Unknown)?)?;
        let (code, number) = (start..self.at, at..start);
        for _ in 0..self.count()? {
            self.constant()?;
        }
        // Functions within, the line it stands on, its name.
        for _ in 0..self.count()? {
            self.count()?;
        }
        self.count()?;
        self.count()?;
        let mut lines = None;
        if self.byte()? != 0 {
            let at = self.at;
            let gap = self.byte()?;
            self.skip(size.saturating_add(stretches(size, gap)?.saturating_mul(4)))?;
            lines = Some(Lines { gap, bytes: at..self.at });
        }
        let has_names = self.byte()? != 0;
        if has_names {
            for _ in 0..self.count()? {
                // Name, first and last instruction, register.
                self.count()?;
                self.count()?;
                self.count()?;
                self.skip(1)?;
            }
            for _ in 0..self.count()? {
                self.count()?;
            }
        }
        Ok(Function { size: number, code, lines, has_names })
    }

    fn constant(&mut self) -> Result<(), Unknown> {
        match self.byte()? {
            // Nothing.
            0 => Ok(()),
            // A truth value.
            1 => self.skip(1),
            // A number.
            2 => self.skip(8),
            // A string, a function.
            3 | 6 => self.count().map(drop),
            // An import.
            4 => self.skip(4),
            // The shape of a table.
            5 => {
                for _ in 0..self.count()? {
                    self.count()?;
                }
                Ok(())
            }
            // A vector.
            7 => self.skip(16),
            // The shape of a table with its values.
            8 => {
                for _ in 0..self.count()? {
                    self.count()?;
                    self.skip(4)?;
                }
                Ok(())
            }
            // A 64-bit integer.
            9 => {
                self.skip(1)?;
                self.count().map(drop)
            }
            _ => Err(Unknown),
        }
    }
}

/// How many stretches the lines of so many instructions have.
fn stretches(size: usize, gap: u8) -> Result<usize, Unknown> {
    Ok(size.saturating_sub(1).checked_shr(u32::from(gap)).ok_or(Unknown)? + 1)
}
