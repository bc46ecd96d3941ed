//! The module kit: what whoever writes a module needs beside a runtime.
//!
//! | file | what it knows |
//! |---|---|
//! | `scaffold` | a new module that runs, is tested and checked |
//! | `suites` | a module's own tests, run without a runtime |
//!
//! Nothing here needs or changes a data directory.

mod error;
pub mod scaffold;
pub mod suites;

pub use error::KitError;
