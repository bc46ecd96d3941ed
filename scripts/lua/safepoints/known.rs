//! What is known of the registers of a function on a straight way through it.

#[derive(Clone, Copy, Default)]
pub(super) struct Registers([u64; 4]);

impl Registers {
    pub(super) const fn has(self, register: u8) -> bool {
        self.0[register as usize / 64] >> (register % 64) & 1 == 1
    }

    pub(super) fn set(&mut self, register: u8, is_in: bool) {
        let (part, bit) = (&mut self.0[usize::from(register) / 64], 1 << (register % 64));
        *part = if is_in { *part | bit } else { *part & !bit };
    }
}

/// What is known of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Anything,
    /// The result of a calculation. A metamethod that is a native function may have given it, and then it may be a text; but then one of
    /// the texts that were counted for the calculation was no text, and stands for the first time that this is read.
    Counted,
    Number,
}

/// What is known of all registers on one straight way.
#[derive(Clone, Copy)]
pub(super) struct Known {
    numbers: Registers,
    counted: Registers,
    captured: Registers,
}

impl Known {
    pub(super) fn new(captured: Registers) -> Self {
        Self { numbers: Registers::default(), counted: Registers::default(), captured }
    }

    pub(super) const fn of(&self, register: u8) -> What {
        match (self.numbers.has(register), self.counted.has(register)) {
            (true, _) => What::Number,
            (false, true) => What::Counted,
            _ => What::Anything,
        }
    }

    pub(super) fn set(&mut self, register: u8, what: What) {
        let what = if self.captured.has(register) { What::Anything } else { what };
        self.numbers.set(register, what == What::Number);
        self.counted.set(register, what == What::Counted);
    }

    /// What was counted before a safepoint stands for nothing behind it.
    pub(super) fn passes_safepoint(&mut self) {
        self.counted = Registers::default();
    }

    /// The register is read as a number: whether that counts as a text.
    pub(super) fn read(&mut self, register: u8) -> bool {
        let what = self.of(register);
        if what == What::Counted {
            self.set(register, What::Anything);
        }
        what == What::Anything
    }

    /// What holds behind an instruction, which calculates with nothing but numbers, or does not.
    pub(super) fn after(&mut self, word: &[u8], all_numbers: bool) {
        let (op, a, b) = (word[0], word[1], word[2]);
        match op {
            // LOADN.
            4 => self.set(a, What::Number),
            // Arithmetic.
            33..=44 | 51 | 71 | 72 | 81 | 82 => self.set(a, if all_numbers { What::Number } else { What::Counted }),
            // MOVE.
            6 => {
                let moved = self.of(b);
                if moved == What::Counted {
                    self.set(b, What::Anything);
                }
                self.set(a, moved);
            }
            // NOP, SETGLOBAL, SETUPVAL, SETTABLE, SETTABLEKS, SETTABLEN, RETURN, jumps, comparisons, SETLIST, COVERAGE, and the jumps
            // by constants: they write no register.
            0 | 8 | 10 | 14 | 16 | 18 | 22..=32 | 55 | 67 | 69 | 77..=80 => {}
            // Those that write one, and perhaps something else than a number.
            2 | 3 | 5 | 7 | 9 | 12 | 13 | 15 | 17 | 19 | 45..=48 | 50 | 52..=54 | 64 | 66 => {
                self.set(a, What::Anything)
            }
            _ => *self = Self::new(self.captured),
        }
    }
}
