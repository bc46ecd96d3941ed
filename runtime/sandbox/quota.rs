//! What a module may use of what all share: processor time and memory.

pub mod account;
pub mod cpu;
pub mod heap;
pub mod leak;

pub use account::{Account, ModuleAccounts};
