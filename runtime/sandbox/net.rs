//! HTTP for scripts: to the hosts that the manifest asks for, and to no others.
//!
//! There is one way to a socket, `connect`: it looks the host up, drops every address that the [rules](NetworkRules) close,
//! and connects to what is left, so that no answer of a name server, no spelling of an address and no redirect leads
//! elsewhere. Redirects are followed here, each hop checked as the first. Nothing of the process's own reaches the
//! wire: no proxy, no cookies, no credentials.

pub mod address;
#[cfg(feature = "http-client")]
mod client;
#[cfg(feature = "http-client")]
mod connect;
#[cfg(feature = "http-client")]
mod lookup;
#[cfg(feature = "http-client")]
mod pool;
mod request;
mod rules;
mod target;
#[cfg(feature = "http-client")]
mod wire;

#[cfg(all(test, feature = "http-client"))]
mod tests;

pub use address::Reach;
#[cfg(feature = "http-client")]
pub use client::{Client, Refused};
#[cfg(feature = "http-client")]
pub use lookup::{Lookup, Network};
pub use request::{Answer, MAX_REDIRECTS, Request};
pub use rules::NetworkRules;
pub use target::Target;
