//! What editors read: definitions of the host functions, generated from their tables.
//!
//! `stubs/replug.d.luau` and `stubs/replug.d.rhai` are what [`luau`] and [`rhai`] give; a test holds that, and
//! `REPLUG_WRITE_STUBS=1` makes the same test write them.

mod luau;
mod rhai;
mod tree;

pub use luau::luau;
pub use rhai::rhai;

#[cfg(test)]
mod tests;
