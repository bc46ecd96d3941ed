//! The engine of one VM: what scripts can call, and the hooks by which limits hold.

use std::sync::OnceLock;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Dynamic, Engine, Module, OptimizationLevel, Shared};

use super::calls::{self, Group};
use super::{cells, gates, heap, suite};
use crate::limits::Limits;
use crate::meter;

/// Bytes of stack for one level of calls, whatever expressions of [`MAX_EXPRESSION_DEPTH`] it holds. The most that was found
/// is 75 KiB, by a nest of calls as arguments, and 442 KiB where the engine is not optimised.
const LEVEL: usize = if cfg!(debug_assertions) { 512 << 10 } else { 256 << 10 };
/// How deep calls may nest at the most, however large the stack is.
const MAX_CALL_LEVELS: usize = 1000;
/// How deep statements and expressions may nest in a source.
const MAX_EXPRESSION_DEPTH: usize = 64;
/// Variables that may be in scope at once.
const MAX_VARIABLES: usize = 1024;
/// Functions that a file may define, closures included.
const MAX_FUNCTIONS: usize = 10_000;

/// Words that scripts must not use: `eval` compiles text, `import` looks for files, and `curry` nests values beyond any
/// cap without a step of the engine (closures capture instead).
const DISABLED: [&str; 3] = ["eval", "import", "curry"];

/// An engine that compiles and, but for the top level of other files, runs nothing.
pub(super) fn compiler() -> Engine {
    let mut engine = Engine::new_raw();
    restrict(&mut engine);
    engine
}

/// The engine of a VM; `closures` says whether its files have any.
pub(super) fn running(limits: &Limits, closures: bool) -> Engine {
    let mut engine = Engine::new_raw();
    restrict(&mut engine);
    for module in library() {
        engine.register_global_module(module.clone());
    }
    engine.register_type_with_name::<Group>("host functions");
    engine.on_progress(|_| step());
    engine.on_print(calls::print);
    engine.on_debug(|text, _, _| calls::print(text));
    #[allow(deprecated, reason = "it is not deprecated, says the crate, but may change; the version is pinned")]
    engine.on_var(move |name, index, context| {
        if index == 0
            && let Some(value) = calls::group(name).map(|group| group.value()).or_else(|| suite::constant(name))
            && !context.scope().contains(name)
        {
            return Ok(Some(value));
        }
        if closures {
            let scope = context.scope();
            // the engine knows most variables by their distance from the end
            let value = match index.checked_sub(1) {
                Some(later) => scope.iter_raw().nth(later).map(|(_, _, value)| value),
                None => scope.get(name),
            };
            if let Some(value) = value {
                cells::note(value);
            }
        }
        Ok(None)
    });
    limit(&mut engine, limits);
    engine
}

/// Sets how deep calls may nest, which follows from the stack, and the caps on single values that follow from the memory
/// limit: that a heap is crowded for now changes neither. A full one is seen once an operation has made a value, of whatever size.
pub(super) fn limit(engine: &mut Engine, limits: &Limits) {
    engine.set_max_call_levels(call_levels(limits));
    engine.set_max_string_size(longest_text(limits.memory));
    engine.set_max_array_size(longest_array(limits.memory));
    engine.set_max_map_size(largest_map(limits.memory));
}

/// Bytes of the texts of one value, where a VM has so much memory. To change one letter of a text takes some 60 ns for each that
/// it has, and nothing looks at the clocks meanwhile.
pub(super) fn longest_text(memory: usize) -> usize {
    (memory / 16).max(1)
}

/// Elements of the arrays and bytes of the blobs of one value.
pub(super) fn longest_array(memory: usize) -> usize {
    (memory / 64).max(1)
}

/// Entries of the maps of one value.
pub(super) fn largest_map(memory: usize) -> usize {
    (memory / 128).max(1)
}

/// How deep calls may nest on the stack that a thread has under `limits`.
pub(super) fn call_levels(limits: &Limits) -> usize {
    (limits.stack_of_calls() / LEVEL).min(MAX_CALL_LEVELS)
}

fn restrict(engine: &mut Engine) {
    // folding would leave functions without a statement, which are called without a step
    engine.set_optimization_level(OptimizationLevel::None);
    for word in DISABLED {
        engine.disable_symbol(word);
    }
    engine.set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH);
    engine.set_max_variables(MAX_VARIABLES);
    engine.set_max_functions(MAX_FUNCTIONS);
    engine.set_max_modules(0);
}

/// A step of the engine. The crate counts operations too, but forgets those of callbacks.
fn step() -> Option<Dynamic> {
    let is_over = meter::step();
    if is_over || heap::has_grown() { heap::look().map(|_| Dynamic::UNIT) } else { None }
}

/// What all VMs share, later ones before earlier ones. The core package is left out: `sleep`, `exit`, `parse_json`, and
/// `take`, which would let values nest without a copy that the meter sees.
fn library() -> &'static [Shared<Module>] {
    static LIBRARY: OnceLock<Vec<Shared<Module>>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        vec![
            ArithmeticPackage::new().as_shared_module(),
            BasicStringPackage::new().as_shared_module(),
            BasicIteratorPackage::new().as_shared_module(),
            BasicFnPackage::new().as_shared_module(),
            BitFieldPackage::new().as_shared_module(),
            LogicPackage::new().as_shared_module(),
            BasicMathPackage::new().as_shared_module(),
            BasicArrayPackage::new().as_shared_module(),
            BasicBlobPackage::new().as_shared_module(),
            BasicMapPackage::new().as_shared_module(),
            MoreStringPackage::new().as_shared_module(),
            gates::module().into(),
            calls::module().into(),
        ]
    })
}
