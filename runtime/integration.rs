//! Integrations: what connects modules with the world.
//!
//! [`api`] answers requests with the modules' handlers, [`auth`] says who asks, [`ui`] draws the shell around pages,
//! [`services`] carries calls from module to module and to the [`host`] application, [`bindings`] are what the engine drives during an activation.

#[cfg(feature = "http")]
pub mod api;
pub mod auth;
pub mod bindings;
pub(crate) mod chance;
pub mod contract;
mod counted;
#[cfg(feature = "sqlite")]
pub mod database;
mod decode;
pub mod host;
#[cfg(feature = "sqlite")]
pub mod migrations;
pub mod services;
pub mod ui;

#[cfg(all(test, feature = "lua"))]
mod tests;

#[cfg(feature = "http")]
pub use api::Gateway;
pub use auth::Authenticator;
pub use bindings::ApiBinding;
#[cfg(feature = "sqlite")]
pub use bindings::{DatabaseBinding, SchemaMigrator};
pub use services::ServiceCalls;
