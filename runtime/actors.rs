//! Supervised actor trees: an instance is a supervisor over workers, and the router says which instance answers.
//!
//! ```text
//! ModulesSupervisor
//!  └─ ModuleSupervisor (one an instance: id, version, generation)
//!      ├─ worker-0 … worker-N   each owns a thread and a VM while there is work
//!      └─ prober                asks the module for its health
//! ```
//!
//! The actors, events and timers of scripts belong to the slot rather than to an instance: see [`residents`].
//!
//! Requests never pass through an actor's mailbox: they wait in the pool's bounded queue, and a worker takes one at a
//! time, so a worker that dies costs the request in hand and no other.

mod copies;
pub mod error;
pub mod gate;
pub mod health;
mod inbox;
pub mod instance;
pub mod intensity;
pub mod job;
pub mod modules;
pub mod pool;
mod primitives;
pub mod prober;
mod quotas;
pub mod residents;
pub mod router;
pub mod routes;
pub mod spec;
pub mod supervisor;
mod throttle;
mod usage;
mod vm;
pub mod worker;

pub use error::CallError;
pub use instance::Instance;
pub use modules::ModulesSupervisor;
pub use router::Router;

#[cfg(test)]
mod tests;
