//! What a module's scripts may reach: permissions, and the guard that every host call passes.

pub mod audit;
pub mod guard;
pub mod permissions;
pub mod ports;

pub use guard::{Guard, Supplies};
pub use permissions::{Grants, PermissionManager};
