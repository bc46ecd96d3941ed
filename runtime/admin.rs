//! Administration: one table of commands behind every front end.
//!
//! ```text
//! cli, repl ── HTTP ──▸ http ──▸ commands ──▸ registry, engine
//! ```
//!
//! [`commands`] holds the verbs as typed methods and the one error that all of them give. The admin API (`http`) shows them
//! as resources, the command line (`cli`) and the REPL (`repl`) are clients of that API: they share no
//! process with the runtime and find it by the two files that [`runtime_file`] and [`token`] keep in the data directory.

#[cfg(feature = "cli")]
pub mod cli;
pub mod commands;
#[cfg(feature = "http")]
pub mod http;
mod private;
#[cfg(feature = "cli")]
pub mod repl;
pub mod runtime_file;
pub mod token;

pub use commands::{CommandError, Commands};
#[cfg(feature = "http")]
pub use http::Admin;
pub use private::PrivateFileError;
pub use runtime_file::RuntimeFile;
