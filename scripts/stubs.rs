//! What editors read: definitions of the host functions, generated from their tables.
//!
//! `stubs/replug.d.luau` and `stubs/replug.d.rhai` are what [`luau`](luau()) and [`rhai`](rhai()) give; a test holds that, and
//! `REPLUG_WRITE_STUBS=1` makes the same test write them.

mod for_lua;
mod for_rhai;
mod tree;

pub use for_lua::luau;
pub use for_rhai::rhai;

#[cfg(test)]
mod tests;
