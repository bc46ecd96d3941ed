//! Hot-pluggable modules inside a Rust process: folders with a manifest and scripts in Lua or Rhai, which are registered,
//! activated, replaced and rolled back while the process runs.
//!
//! A [`Runtime`] is made by [`Runtime::builder`]. It registers and activates modules, calls their services, and gives their
//! HTTP routes as an `axum::Router` to mount. In the other direction, a [`HostService`] lets scripts call Rust.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use replug::{Methods, Runtime};
//!
//! #[derive(serde::Deserialize)]
//! struct Quote {
//!     total: f64,
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::builder()
//!     .data_dir("data")
//!     .modules("modules")
//!     // a script calls it as `services.call("catalogue.price", "tea")`
//!     .service("catalogue", Methods::new().method("price", |article: String, _| async move {
//!         Ok(if article == "tea" { 4.5 } else { 9.0 })
//!     }))
//!     .build()
//!     .await?;
//!
//! runtime.register("more/pricing-1.1.0").await?;
//! runtime.activate("pricing@1.1.0").await?.ensure_serves()?;
//! let quote: Quote = runtime.call("pricing", "quote", ("tea", 10)).await?;
//! println!("{:.2}", quote.total);
//!
//! runtime.shutdown(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is global: several runtimes live in one process, each on a data directory of its own.
//!
//! | feature | gives |
//! |---|---|
//! | `lua`, `rhai` | the script languages |
//! | `http` | `Runtime::router`, which mounts the modules' routes in an axum application |
//! | `http-client` | the host functions `http` |
//! | `sqlite` | the host functions `db`, and migrations |
//! | `cli` | the `replug` binary and its admin API; includes `http` |
//! | `jemalloc` | counts what Rhai scripts allocate; the application must install jemalloc as its allocator |
//!
//! All are on by default. The book in `book/` is the manual: `book/src/guides/embedding.md` goes on from here, and
//! `book/src/architecture.md` says how a request, a command and an event travel through these folders, and who may import
//! whom.

pub mod actors;
pub mod admin;
pub mod app;
pub mod engine;
pub mod error;
pub mod integration;
#[cfg(feature = "cli")]
pub mod kit;
pub mod manifest;
pub mod monitor;
pub mod registry;
pub mod sandbox;
pub mod store;

pub use app::{Activate, Builder, EventStream, Missed, Runtime, Update};
pub use async_trait::async_trait;
pub use engine::{ActivationReport, Order, Outcome, SteerReport};
pub use error::Error;
pub use integration::host::{HostService, Methods, ServiceContext};
pub use manifest::ActivationStrategy;
pub use monitor::Event;
pub use replug_scripts::{HostError, HostErrorKind, Misfit, Principal, Value, from_value, to_value};
pub use sandbox::permissions::{Decided, Permission, PermissionManager, ResourceType, Ruling};
pub use semver::Version;
