//! Safepoints for code without loops and calls.
//!
//! Luau asks the interrupt at the end of loops, at calls and at returns. Between them a script may compare, join or add
//! values of megabytes as often as its source has room for it: 100,000 comparisons of 7 MB take a minute, and 100 additions of
//! texts of that size, which are read as numbers, two seconds. So a file in which more than [`MAX_RUN`] such instructions can
//! follow each other is compiled again with Luau's marks for coverage, one for each statement or expression; of those marks some
//! become safepoints and the others nothing.

use mlua::chunk::Compiler;

use super::bytecode::{self, Unknown};

/// What may follow each other without a safepoint.
const MAX_RUN: Run = Run { works: 32, reads: 16 };
/// After how much of either a mark becomes a safepoint.
const SAFEPOINT_AFTER: u32 = 4;
/// What a single expression may have, where no mark stands in it. A sum of products has marks, a long sum has none.
const MAX_EXPRESSION: Run = Run { works: 256, reads: 32 };

/// Costly instructions without a safepoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    /// How many work on values of any size.
    works: u32,
    /// How many texts they may read as numbers, which takes twenty times as long as to compare them.
    reads: u32,
}

impl Run {
    fn max(self, other: Self) -> Self {
        Self { works: self.works.max(other.works), reads: self.reads.max(other.reads) }
    }

    const fn is_within(self, most: Self) -> bool {
        self.works <= most.works && self.reads <= most.reads
    }

    const fn wants_safepoint(self) -> bool {
        self.works >= SAFEPOINT_AFTER || self.reads >= SAFEPOINT_AFTER
    }
}

/// A file whose code cannot be given safepoints: the fault of its author or, if the layout is unknown, ours.
pub(super) const TOO_LONG: &str =
    "an expression has too many comparisons or calculations; split it over several statements";

/// Compiles a file so that no run of costly instructions goes without a safepoint.
///
/// # Errors
/// What the compiler says, as the outer error; [`TOO_LONG`] or what is wrong with the bytecode as the inner one.
pub(super) fn compile(compiler: &Compiler, source: &str) -> mlua::Result<Result<Vec<u8>, &'static str>> {
    let code = compiler.compile(source)?;
    let Ok(longest) = longest_run(&code) else { return Ok(Err(UNKNOWN)) };
    if longest.is_within(MAX_RUN) {
        return Ok(Ok(code));
    }
    for level in [1, 2] {
        let mut code = compiler.clone().set_coverage_level(level).compile(source)?;
        match mark(&mut code) {
            Ok(longest) if longest.is_within(if level == 2 { MAX_EXPRESSION } else { MAX_RUN }) => return Ok(Ok(code)),
            Ok(_) => {}
            Err(Unknown) => return Ok(Err(UNKNOWN)),
        }
    }
    Ok(Err(TOO_LONG))
}

const UNKNOWN: &str = "the bytecode has an unknown layout";

/// The most costly instructions on any way through a function that passes no safepoint.
fn longest_run(code: &[u8]) -> Result<Run, Unknown> {
    let mut longest = Run::default();
    for function in bytecode::functions(code)? {
        longest = longest.max(walk(&mut code[function].to_vec()));
    }
    Ok(longest)
}

/// Turns the marks into safepoints or nothing; gives the longest run that is left.
fn mark(code: &mut [u8]) -> Result<Run, Unknown> {
    let mut longest = Run::default();
    for function in bytecode::functions(code)? {
        longest = longest.max(walk(&mut code[function]));
    }
    Ok(longest)
}

/// Follows all ways through a function forwards at once: what counts at an instruction is the way that had the most costly
/// ones. Ways backwards pass a safepoint.
fn walk(code: &mut [u8]) -> Run {
    let size = code.len() / 4;
    let mut arriving = vec![Run::default(); size + 1];
    let (targets, mut numbers) = (targets(code), Numbers::default());
    let (mut longest, mut at) = (Run::default(), 0);
    while at < size {
        let word = &mut code[at * 4..at * 4 + 4];
        let instruction = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let op = Op::of(word[0]);
        let mut run = arriving[at];
        if targets[at] {
            numbers = Numbers::default();
        }
        match op.kind {
            Kind::Mark => {
                let wanted = run.wants_safepoint();
                word.copy_from_slice(&if wanted { SAFEPOINT } else { NOTHING });
                run = if wanted { Run::default() } else { run };
            }
            Kind::Safepoint => run = Run::default(),
            Kind::Works => run.works += 1,
            Kind::Reads(sources) => {
                let texts = sources.iter(word).filter(|register| !numbers.has(*register)).count();
                run = Run { works: run.works + 1, reads: run.reads + u32::try_from(texts).unwrap_or(u32::MAX) };
            }
            Kind::Plain => {}
        }
        numbers.after(word);
        longest = longest.max(run);
        let next = at + op.length;
        if let Some(target) = op.jump.target(at, instruction).filter(|target| *target > at && *target <= size) {
            arriving[target] = arriving[target].max(run);
        }
        if next <= size && !matches!(op.jump, Jump::Always | Jump::AlwaysFar | Jump::Ends) {
            arriving[next] = arriving[next].max(run);
        }
        at = next;
    }
    longest
}

/// Where ways of a function meet.
fn targets(code: &[u8]) -> Vec<bool> {
    let size = code.len() / 4;
    let (mut targets, mut at) = (vec![false; size + 1], 0);
    while at < size {
        let word = &code[at * 4..at * 4 + 4];
        let instruction = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let op = Op::of(word[0]);
        if let Some(target) = op.jump.target(at, instruction).filter(|target| *target <= size) {
            targets[target] = true;
        }
        at += op.length;
    }
    targets
}

/// The registers that a calculation has written last: what is in them is no text. Of a metamethod that is a native function it may be
/// one, which was counted when it was read to get there: the count is half the truth then at worst.
#[derive(Clone, Copy, Default)]
struct Numbers([u64; 4]);

impl Numbers {
    const fn has(self, register: u8) -> bool {
        self.0[register as usize / 64] >> (register % 64) & 1 == 1
    }

    fn set(&mut self, register: u8, is_number: bool) {
        let (part, bit) = (&mut self.0[usize::from(register) / 64], 1 << (register % 64));
        *part = if is_number { *part | bit } else { *part & !bit };
    }

    /// What holds behind an instruction.
    fn after(&mut self, word: &[u8]) {
        let (op, a, b) = (word[0], word[1], word[2]);
        match op {
            // LOADN, and arithmetic.
            4 | 33..=44 | 51 | 71 | 72 | 81 | 82 => self.set(a, true),
            // MOVE.
            6 => self.set(a, self.has(b)),
            // NOP, SETGLOBAL, SETUPVAL, SETTABLE, SETTABLEKS, SETTABLEN, RETURN, jumps, comparisons, SETLIST, COVERAGE, and the jumps
            // by constants: they write no register.
            0 | 8 | 10 | 14 | 16 | 18 | 22..=32 | 55 | 67 | 69 | 77..=80 => {}
            // Those that write one, and perhaps something else than a number.
            2 | 3 | 5 | 7 | 9 | 12 | 13 | 15 | 17 | 19 | 45..=50 | 52..=54 | 64 | 66 => self.set(a, false),
            _ => *self = Self::default(),
        }
    }
}

/// `JUMPBACK` to the next instruction: a safepoint that does nothing else.
const SAFEPOINT: [u8; 4] = [24, 0, 0, 0];
/// `NOP`.
const NOTHING: [u8; 4] = [0, 0, 0, 0];

/// What matters of an instruction.
struct Op {
    kind: Kind,
    jump: Jump,
    /// In words.
    length: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// May work on values of any size.
    Works,
    /// May also read these as numbers.
    Reads(Sources),
    Safepoint,
    /// Of coverage.
    Mark,
}

/// Where an instruction has what it calculates with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sources {
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
    fn iter(self, word: &[u8]) -> impl Iterator<Item = u8> + use<> {
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
enum Jump {
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
    fn target(self, at: usize, instruction: u32) -> Option<usize> {
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
    fn of(op: u8) -> Self {
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
            // CONCAT, the built-in functions, GETVARARGS.
            | 49 | 60 | 63 | 68 | 73..=75 | 89 => Kind::Works,
            69 => Kind::Mark,
            _ => Kind::Plain,
        };
        let jump = match op {
            23 => Jump::Always,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(source: &str) -> Run {
        longest_run(&super::super::compiler().compile(source).unwrap()).unwrap()
    }

    fn run_of(source: &str) -> u32 {
        longest(source).works
    }

    #[test]
    fn what_is_costly_adds_up_between_safepoints() {
        assert_eq!(run_of("local a, b = ... local x = 1"), 1, "the arguments");
        assert_eq!(run_of("local a, b = f() local x = a < b x = a < b"), 2);
        assert_eq!(run_of("local a, b = f() local x = a < b f() x = a < b"), 1, "a call is a safepoint");
        assert_eq!(run_of("local a = f() local x = a .. a x = a + 1 x = -a x = a * a"), 4);
        assert_eq!(
            longest("local a, b = f() for i = a, b do end for i = a, b do end").reads,
            4,
            "the bounds of loops that do not run; a step that is not given is a number"
        );
        assert_eq!(longest("local a = f() local x = a + a x = -a x = a + 1 x = 1 - a").reads, 6);
        assert_eq!(
            longest("local a = f() local x = a + 1 x = x + x x = -x x = x * 2").reads,
            1,
            "the rest are numbers"
        );
        assert_eq!(longest("local a, b = f() local x = a + 1 if b then x = b end x = x + x").reads, 3, "or a text");
        assert_eq!(longest("local a, b = f() local x = a + 1 x = b x = x + x").reads, 3);
        assert_eq!(longest("local a = f() local x = a < a x = a .. a").reads, 0);
        assert_eq!(run_of("local a, b = f() while a do b = a < b b = a < b end b = a < b"), 2, "the end of a loop");
    }

    #[test]
    fn the_way_with_the_most_counts() {
        let branches = "local a, b = f() if a then b = a < b b = a < b else f() end b = a < b";
        assert_eq!(run_of(branches), 3);
        assert_eq!(
            run_of("local a, b = f() if a then f() end b = a < b if b then f() end b = a < b"),
            2,
            "past the calls"
        );
        // A built-in function that succeeds skips the call behind it, and with that the safepoint.
        assert_eq!(run_of("local a, b = f() b = a < b b = type(a) b = a < b"), 3);
    }

    #[test]
    fn long_code_gets_safepoints_and_keeps_its_meaning() {
        let source = format!("local a = 1 {} return a", "a = a + 1 ".repeat(1000));
        assert!(run_of(&source) >= 1000);
        let code = compile(&super::super::compiler(), &source).unwrap().unwrap();
        assert!(longest_run(&code).unwrap().is_within(MAX_RUN));
        let lua = mlua::Lua::new();
        let chunk = super::super::load(&lua, "x", &code).unwrap();
        assert_eq!(chunk.call::<i64>(()).unwrap(), 1001);
    }

    #[test]
    fn formulas_of_every_day_are_no_long_expressions() {
        let sum = |terms: usize| format!("local a = ... local x = {} return x", vec!["a"; terms].join("+"));
        let product = vec!["a[1]*a[2]*a[3]*a[4]"; 24].join(" - ");
        let formulas = [
            sum(16),
            format!("local a = ... return {product}"),
            format!("local a, b = ... return (a*a + b*b)^0.5 * {product}"),
        ];
        for source in formulas {
            let code = compile(&super::super::compiler(), &source).unwrap();
            assert!(code.is_ok_and(|code| longest_run(&code).unwrap().is_within(MAX_EXPRESSION)), "{source}");
        }
        assert_eq!(compile(&super::super::compiler(), &sum(100)).unwrap(), Err(TOO_LONG));
    }

    #[test]
    fn broken_bytecode_is_refused() {
        let code =
            super::super::compiler().compile("local t = { a = 1, 2.5, 'x' } return function() return t end").unwrap();
        assert!(longest_run(&code).is_ok());
        for end in 0..code.len() {
            assert_eq!(longest_run(&code[..end]), Err(Unknown), "cut at {end}");
        }
    }
}
