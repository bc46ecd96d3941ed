//! The bare languages: the same engines as the hosts have, optimised alike, without interrupt, operation counter and memory
//! limit. The runtime itself has no switch that turns a limit off.

use std::sync::LazyLock;

use rhai::packages::{Package as _, StandardPackage};
use rhai::{Module, Shared};

/// A Lua state that compiles as the host does.
pub(crate) fn lua() -> mlua::Lua {
    let lua = mlua::Lua::new();
    lua.set_compiler(mlua::chunk::Compiler::new().set_optimization_level(1).set_debug_level(1));
    lua.sandbox(true).expect("it closes");
    lua
}

/// A Rhai engine that counts nothing; its functions are shared, as those of the host are.
pub(crate) fn rhai() -> rhai::Engine {
    static FUNCTIONS: LazyLock<Shared<Module>> = LazyLock::new(|| StandardPackage::new().as_shared_module());
    let mut engine = rhai::Engine::new_raw();
    engine.register_global_module(FUNCTIONS.clone());
    engine
}
