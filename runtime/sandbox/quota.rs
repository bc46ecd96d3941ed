//! What a module may use of what all share: the disk, the network, and time for slow hashes.

pub mod bandwidth;
pub mod passwords;
pub mod storage;
