//! What the engine drives during an activation: one binding for each kind of integration.

mod api;
#[cfg(feature = "sqlite")]
mod database;

#[cfg(all(test, feature = "lua"))]
mod tests;

pub use api::ApiBinding;
#[cfg(feature = "sqlite")]
pub use database::{DatabaseBinding, SchemaMigrator};
