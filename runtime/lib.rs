//! Hot-pluggable modules inside a Rust process.
//!
//! The book in `book/` is the manual; `book/src/architecture.md` says how a request, a command and an event travel
//! through these folders, and who may import whom.

pub mod manifest;
pub mod monitor;
pub mod store;
pub mod registry;
