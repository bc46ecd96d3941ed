//! What the entrance of an instance is made of. The test that tries every interleaving of it puts others in their place.

pub(super) use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) use tokio::sync::Notify;
