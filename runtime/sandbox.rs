//! What a module's scripts may reach: permissions, and the guard that every host call passes.

pub mod guard;
pub mod permissions;
pub mod ports;
pub mod quota;
pub mod tracker;

pub use guard::{Guard, Supplies};
pub use permissions::Grants;
