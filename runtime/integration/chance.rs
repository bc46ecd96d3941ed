//! Random numbers for choosing a version. They are cheap and predictable, and nothing secret hangs on them.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::actors::router::BUCKETS;

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

/// A random number below [`BUCKETS`]. No lock, no allocation: each thread has a generator of its own.
pub(crate) fn bucket() -> u16 {
    let scaled = (u128::from(next()) * u128::from(BUCKETS)) >> 64;
    u16::try_from(scaled).unwrap_or_default()
}

/// A number that differs from process to process and from call to call.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(std::thread::current().id())
}

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn next() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_below_the_bound_and_evenly_spread() {
        let mut tenths = [0u32; 10];
        for _ in 0..100_000 {
            tenths[usize::from(bucket() / (BUCKETS / 10))] += 1;
        }
        for count in tenths {
            assert!((9_000..11_000).contains(&count), "{tenths:?}");
        }
    }
}
