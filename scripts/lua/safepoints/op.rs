//! Instructions by what matters of them.

/// What matters of an instruction.
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) jump: Jump,
    /// In words.
    pub(super) length: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// May work on values of any size.
    Works,
    /// The same, and makes a value of that size.
    Joins,
    /// May also read these as numbers.
    Reads(Sources),
    Safepoint,
    /// Of coverage.
    Mark,
}

/// Where an instruction has what it calculates with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sources {
    /// In registers B and C.
    BandC,
    /// In B, and a constant.
    B,
    /// In C, and a constant.
    C,
    /// In B, which is read twice.
    TwiceB,
    /// The bounds of a loop, in A and the two behind it.
    Bounds,
}

impl Sources {
    /// The registers, each as often as it is read.
    pub(super) fn iter(self, word: &[u8]) -> impl Iterator<Item = u8> + use<> {
        let (a, b, c) = (word[1], word[2], word[3]);
        let registers = match self {
            Self::BandC => [Some(b), Some(c), None],
            Self::B => [Some(b), None, None],
            Self::C => [Some(c), None, None],
            Self::TwiceB => [Some(b), Some(b), None],
            Self::Bounds => [Some(a), Some(a.wrapping_add(1)), Some(a.wrapping_add(2))],
        };
        registers.into_iter().flatten()
    }
}

/// Where an instruction may go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Jump {
    Never,
    /// Nowhere: the function returns.
    Ends,
    /// Or by the signed upper half.
    Perhaps,
    Always,
    /// By the signed upper three bytes.
    AlwaysFar,
    /// Or over as many as the highest byte says.
    Over,
    /// Or over the call that follows, which a built-in function made needless.
    OverCall,
}

impl Jump {
    pub(super) fn target(self, at: usize, instruction: u32) -> Option<usize> {
        let by = match self {
            Self::Never | Self::Ends => return None,
            Self::Perhaps | Self::Always => instruction.cast_signed() >> 16,
            Self::AlwaysFar => instruction.cast_signed() >> 8,
            Self::Over => (instruction >> 24).cast_signed(),
            Self::OverCall => (instruction >> 24).cast_signed() + 1,
        };
        (at + 1).checked_add_signed(by as isize)
    }
}

impl Op {
    /// By its number in Luau's `Bytecode.h`.
    pub(super) fn of(op: u8) -> Self {
        let kind = match op {
            // CALL and RETURN, JUMPBACK, the ends of loops.
            21 | 22 | 24 | 57 | 58 => Kind::Safepoint,
            // Arithmetic of two registers.
            33..=38 | 81 => Kind::Reads(Sources::BandC),
            // With a constant.
            39..=44 | 82 => Kind::Reads(Sources::B),
            71 | 72 => Kind::Reads(Sources::C),
            // MINUS.
            51 => Kind::Reads(Sources::TwiceB),
            // FORNPREP.
            56 => Kind::Reads(Sources::Bounds),
            // SETGLOBAL, SETTABLE, SETTABLEKS: a hash may be rebuilt.
            8 | 14 | 16
            // The comparisons.
            | 27..=32
            // The built-in functions, GETVARARGS.
            | 60 | 63 | 68 | 73..=75 | 89 => Kind::Works,
            // CONCAT.
            49 => Kind::Joins,
            69 => Kind::Mark,
            _ => Kind::Plain,
        };
        let jump = match op {
            // JUMP, and JUMPBACK at the end of a loop.
            23 | 24 => Jump::Always,
            25..=32 | 56..=59 | 61 | 76..=80 => Jump::Perhaps,
            67 => Jump::AlwaysFar,
            3 => Jump::Over,
            60 | 68 | 73..=75 | 89 => Jump::OverCall,
            22 => Jump::Ends,
            _ => Jump::Never,
        };
        let length = match op {
            7 | 8 | 12 | 15 | 16 | 20 | 27..=32 | 53 | 55 | 58 | 60 | 66 | 74 | 75 | 77..=80 | 83..=88 | 90 => 2,
            _ => 1,
        };
        Self { kind, jump, length }
    }
}
