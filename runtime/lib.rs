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

pub use app::{Activate, Builder, EventStream, Missed, Runtime};
pub use async_trait::async_trait;
pub use engine::{ActivationReport, Outcome};
pub use error::Error;
pub use integration::host::{HostService, Methods, ServiceContext};
pub use manifest::ActivationStrategy;
pub use monitor::Event;
pub use replug_scripts::{HostError, HostErrorKind, Misfit, Principal, Value, from_value, to_value};
pub use semver::Version;
