//! The registry: which modules are known, in which versions, and what may run beside what.
//!
//! [`Registry`] is an actor: registering and unregistering are done one after the other, and acknowledged when they are on
//! the disk. Reading is a [`Snapshot`], which waits for nobody. [`resolver`], [`versions`] and [`capabilities`] are pure:
//! they answer from a snapshot, without a clock, files or waiting. Nothing here knows what runs; callers say so.

pub mod capabilities;
pub mod compatibility;
pub mod interfaces;
pub mod resolver;
pub mod validation;
pub mod versions;

mod bundle;
mod claims;
mod error;
mod modules;
mod snapshot;

pub(crate) use bundle::is_digest;
pub use bundle::{Bundle, MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES, MAX_BUNDLE_PATH};
pub use error::RegistryError;
pub use modules::{Clock, Registration, Registry};
pub(crate) use modules::{Told, digest_of, readable, retell};
pub use snapshot::{Definition, Hosted, Problem, Snapshot};
