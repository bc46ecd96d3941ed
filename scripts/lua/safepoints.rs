//! Safepoints for code without loops and calls.
//!
//! Luau asks the interrupt at the end of loops, at calls and at returns. Between them a script may compare, join or add
//! values of megabytes as often as its source has room for it: 100,000 comparisons of 7 MB take a minute, and 100 additions of
//! texts of that size, which are read as numbers, two seconds. So a file in which more than [`MAX_RUN`] such instructions can
//! follow each other is compiled again with Luau's marks for coverage, one for each statement or expression; of those marks some
//! become safepoints and the others nothing.
//!
//! A function that the language calls as a metamethod is entered without being asked, up to 200 deep. So each function that has more than
//! [`MAX_ENTERED`] before its first safepoint begins with one.

use mlua::chunk::Compiler;

use self::known::{Known, Registers, What};
use self::op::{Jump, Kind, Op};
use super::bytecode::{self, Function, Unknown};

mod known;
mod op;

/// What may follow each other without a safepoint.
const MAX_RUN: Run = Run { works: 32, reads: 16 };
/// What a function may have of either before its first safepoint without beginning with one.
const MAX_ENTERED: Run = Run { works: 1, reads: 0 };
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
    for (level, most) in [(0, MAX_RUN), (1, MAX_RUN), (2, MAX_EXPRESSION)] {
        let mut code = compiler.clone().set_coverage_level(level).compile(source)?;
        let Ok(longest) = mark(&mut code) else { return Ok(Err(UNKNOWN)) };
        if longest.is_within(most) {
            return Ok(begin(&code).map_err(|Unknown| UNKNOWN));
        }
    }
    Ok(Err(TOO_LONG))
}

/// The file with a safepoint at the beginning of the functions that need one there.
fn begin(code: &[u8]) -> Result<Vec<u8>, Unknown> {
    let functions = bytecode::functions(code)?;
    let needs_one =
        |function: &&Function| !walk(&mut code[function.code.clone()].to_vec()).entered.is_within(MAX_ENTERED);
    bytecode::begin_with(SAFEPOINT, code, &functions.iter().filter(needs_one).collect::<Vec<_>>())
}

const UNKNOWN: &str = "the bytecode has an unknown layout";

/// Turns the marks into safepoints or nothing; gives the longest run that is left.
fn mark(code: &mut [u8]) -> Result<Run, Unknown> {
    let mut longest = Run::default();
    for function in bytecode::functions(code)? {
        longest = longest.max(walk(&mut code[function.code]).any);
    }
    Ok(longest)
}

/// The most costly instructions on a way that passes no safepoint.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    /// On any way.
    any: Run,
    /// On those from the beginning of the function; nothing behind a safepoint.
    entered: Run,
}

impl Runs {
    fn max(self, other: Self) -> Self {
        Self { any: self.any.max(other.any), entered: self.entered.max(other.entered) }
    }
}

/// A way to an instruction: what it had since the last safepoint, and whether that is all since the beginning.
#[derive(Clone, Copy, Default)]
struct Way {
    run: Run,
    entered: Option<Run>,
}

impl Way {
    fn max(self, other: Self) -> Self {
        let entered = match (self.entered, other.entered) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        Self { run: self.run.max(other.run), entered }
    }

    fn add(&mut self, more: Run) {
        for run in std::iter::once(&mut self.run).chain(&mut self.entered) {
            *run = Run { works: run.works + more.works, reads: run.reads + more.reads };
        }
    }
}

/// Follows all ways through a function forwards at once: what counts at an instruction is the way that had the most costly
/// ones. Ways backwards pass a safepoint. Turns its marks into safepoints or nothing.
fn walk(code: &mut [u8]) -> Runs {
    let size = code.len() / 4;
    let mut arriving = vec![Way::default(); size + 1];
    arriving[0].entered = Some(Run::default());
    let (joins, captured) = (joins(code), captured(code));
    let mut known = Known::new(captured);
    let (mut longest, mut at) = (Runs::default(), 0);
    while at < size {
        let word = &mut code[at * 4..at * 4 + 4];
        let (instruction, op) = (instruction(word), Op::of(word[0]));
        let mut way = arriving[at];
        if joins[at] {
            known = Known::new(captured);
        }
        let all_numbers = match op.kind {
            Kind::Reads(sources) => sources.iter(word).all(|register| known.of(register) == What::Number),
            _ => false,
        };
        match op.kind {
            Kind::Mark if way.run.wants_safepoint() => {
                word.copy_from_slice(&SAFEPOINT);
                known.passes_safepoint();
                way = Way::default();
            }
            Kind::Mark => word.copy_from_slice(&NOTHING),
            Kind::Safepoint => {
                known.passes_safepoint();
                way = Way::default();
            }
            Kind::Works => way.add(Run { works: 1, reads: 0 }),
            Kind::Joins => way.add(Run { works: 2, reads: 0 }),
            Kind::Reads(sources) => {
                let texts = sources.iter(word).filter(|register| known.read(*register)).count();
                way.add(Run { works: 1, reads: u32::try_from(texts).unwrap_or(u32::MAX) });
            }
            Kind::Plain => {}
        }
        known.after(word, all_numbers);
        longest = longest.max(Runs { any: way.run, entered: way.entered.unwrap_or_default() });
        let next = at + op.length;
        if let Some(target) = op.jump.target(at, instruction).filter(|target| *target > at && *target <= size) {
            arriving[target] = arriving[target].max(way);
        }
        if next <= size && !matches!(op.jump, Jump::Always | Jump::AlwaysFar | Jump::Ends) {
            arriving[next] = arriving[next].max(way);
        }
        at = next;
    }
    longest
}

/// Where ways of a function meet, the beginnings of loops too.
fn joins(code: &[u8]) -> Vec<bool> {
    let mut joins = vec![false; code.len() / 4 + 1];
    each(code, |at, word, op| {
        let target = op.jump.target(at, instruction(word));
        if let Some(join) = target.filter(|target| *target != at + op.length).and_then(|target| joins.get_mut(target)) {
            *join = true;
        }
    });
    joins
}

/// The registers of variables that functions inside may write: whatever may call one, a metamethod too, may change them.
fn captured(code: &[u8]) -> Registers {
    let mut captured = Registers::default();
    each(code, |_, word, _| {
        // CAPTURE of a reference.
        if word[0] == 70 && word[1] == 1 {
            captured.set(word[2], true);
        }
    });
    captured
}

fn each(code: &[u8], mut see: impl FnMut(usize, &[u8], Op)) {
    let mut at = 0;
    while let Some(word) = code.get(at * 4..at * 4 + 4) {
        let op = Op::of(word[0]);
        let length = op.length;
        see(at, word, op);
        at += length;
    }
}

fn instruction(word: &[u8]) -> u32 {
    u32::from_le_bytes([word[0], word[1], word[2], word[3]])
}

/// `JUMPBACK` to the next instruction: a safepoint that does nothing else.
const SAFEPOINT: [u8; 4] = [24, 0, 0, 0];
/// `NOP`.
const NOTHING: [u8; 4] = [0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(source: &str) -> Run {
        mark(&mut super::super::compiler().compile(source).unwrap()).unwrap()
    }

    fn run_of(source: &str) -> u32 {
        longest(source).works
    }

    #[test]
    fn what_is_costly_adds_up_between_safepoints() {
        assert_eq!(run_of("local a, b = ... local x = 1"), 1, "the arguments");
        assert_eq!(run_of("local a, b = f() local x = a < b x = a < b"), 2);
        assert_eq!(run_of("local a, b = f() local x = a < b f() x = a < b"), 1, "a call is a safepoint");
        assert_eq!(run_of("local a = f() local x = a .. a x = a + 1 x = -a x = a * a"), 5, "two of them to join");
        assert_eq!(
            longest("local a, b = f() for i = a, b do end for i = a, b do end").reads,
            4,
            "the bounds of loops that do not run; a step that is not given is a number"
        );
        assert_eq!(longest("local a = f() local x = a + a x = -a x = a + 1 x = 1 - a").reads, 6);
        assert_eq!(longest("local a = 1 a = a + 1 a = a * a a = -a").reads, 0, "numbers");
        assert_eq!(longest("local a, b = f() local x = (a + 1) * 2 - 3 x = (x + b) ^ 2").reads, 2, "each was counted");
        assert_eq!(
            longest("local a = f() local x = a + 1 x = x + x x = -x x = x * 2").reads,
            3,
            "what a metamethod gave may be a text, and the first of two reads was counted"
        );
        assert_eq!(longest("local a = f() local x = a + 1 local y = x y = y + 1 x = x + 1").reads, 2);
        assert_eq!(longest("local a, b = f() local x = a + 1 if b then x = b end x = x + x").reads, 3, "or a text");
        assert_eq!(longest("local a, b = f() local x = a + 1 x = b x = x + x").reads, 3);
        for way in ["while a do local y = x y = y + y x = a end", "repeat local y = x y = y + y x = a until a"] {
            assert_eq!(longest(&format!("local a = f() local x = 1 {way}")).reads, 2, "{way}: text at the second time");
        }
        let captured = "local a, t = f() local x = 1 t.f = function() x = a end x = 1 local y = t.z y = x y = y + y";
        assert_eq!(longest(captured).reads, 2, "a metamethod may have called the function");
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
        let mut code = compile(&super::super::compiler(), &source).unwrap().unwrap();
        assert!(mark(&mut code).unwrap().is_within(MAX_RUN));
        let lua = mlua::Lua::new();
        let chunk = super::super::load(&lua, "x", &code).unwrap();
        assert_eq!(chunk.call::<i64>(()).unwrap(), 1001);
    }

    #[test]
    fn a_function_that_may_be_entered_unasked_begins_with_a_safepoint_where_it_has_much_to_do() {
        let begins = |body: &str| {
            let source = format!("return function(a, b, ...) {body} end");
            let code = compile(&super::super::compiler(), &source).unwrap().unwrap();
            let code = &code[bytecode::functions(&code).unwrap()[0].code.clone()];
            code[..8].chunks(4).any(|word| word == SAFEPOINT)
        };
        for much in [
            "return a + 1",
            "for i = 1, a do end",
            "if b then return -a end",
            "local x = a < b x = b < a return a .. b",
        ] {
            assert!(begins(much), "{much}");
        }
        for little in ["return a", "return a < b", "b() return a + 1", "local x = 1 return x + 1", "return a.b.c"] {
            assert!(!begins(little), "{little}");
        }
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
            assert!(code.is_ok_and(|mut code| mark(&mut code).unwrap().is_within(MAX_EXPRESSION)), "{source}");
        }
        assert_eq!(compile(&super::super::compiler(), &sum(100)).unwrap(), Err(TOO_LONG));
    }

    #[test]
    fn broken_bytecode_is_refused() {
        let code =
            super::super::compiler().compile("local t = { a = 1, 2.5, 'x' } return function() return t end").unwrap();
        assert!(mark(&mut code.clone()).is_ok());
        for end in 0..code.len() {
            assert_eq!(mark(&mut code[..end].to_vec()), Err(Unknown), "cut at {end}");
        }
    }
}
