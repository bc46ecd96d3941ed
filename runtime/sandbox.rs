//! What a module's scripts may reach: permissions, and the guard that every host call passes.

pub mod audit;
pub mod fs;
pub mod guard;
pub mod halt;
pub mod lines;
pub mod net;
pub mod outside;
pub mod permissions;
pub mod ports;
pub mod quota;
pub mod tracker;

pub use guard::{Guard, Supplies};
pub use halt::Halt;
pub use outside::Outside;
pub use permissions::{Grants, PermissionManager};
