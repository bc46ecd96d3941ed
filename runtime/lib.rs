//! Hot-pluggable modules inside a Rust process.
//!
//! The book in `book/` is the manual; `book/src/architecture.md` says how a request, a command and an event travel
//! through these folders, and who may import whom.

pub mod actors;
pub mod admin;
pub mod app;
pub mod engine;
pub mod error;
pub mod integration;
pub mod manifest;
pub mod monitor;
pub mod registry;
pub mod sandbox;
pub mod store;

pub use app::{Builder, Runtime};
pub use error::Error;
