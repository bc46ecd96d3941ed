//! What a module may use of what all share: processor, memory, disk, network, and time for slow hashes.

pub mod account;
pub mod bandwidth;
pub mod cpu;
pub mod heap;
pub mod leak;
pub mod load;
pub mod parcel;
mod rota;
pub mod run_queue;
mod schedule;
pub mod storage;
pub mod turns;

pub use account::{Account, ModuleAccounts};
pub use parcel::Parcel;
pub use rota::Turn;
