//! Numbers for choosing a version: random ones, and ones that a client keeps. They are cheap and predictable, and nothing
//! secret hangs on them.

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

/// The number below [`BUCKETS`] that `key` has for good, in every process. Each module has an order of its own, so that
/// the same clients are not always the first to meet what is new.
pub(crate) fn sticky(module: &str, key: &[u8]) -> u16 {
    let hash = blake3::Hasher::new().update(module.as_bytes()).update(&[0]).update(key).finalize();
    let number = hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    u16::try_from(number % u64::from(BUCKETS)).unwrap_or_default()
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

    #[test]
    fn a_key_keeps_its_bucket_which_differs_from_module_to_module() {
        assert_eq!(sticky("shop", b"ada"), sticky("shop", b"ada"));
        let mut tenths = [0u32; 10];
        let mut same = 0;
        for number in 0..10_000u32 {
            let key = number.to_le_bytes();
            let bucket = sticky("shop", &key);
            tenths[usize::from(bucket / (BUCKETS / 10))] += 1;
            same += u32::from(bucket < BUCKETS / 10 && sticky("blog", &key) < BUCKETS / 10);
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
        assert!((60..140).contains(&same), "{same} of 10,000 are among the first tenth of both");
        assert_ne!(sticky("ab", b"c"), sticky("a", b"bc"), "where the module ends is part of it");
    }

    /// A client keeps its version over a restart and across processes: these may never change.
    #[test]
    fn buckets_of_keys_are_the_same_for_ever() {
        assert_eq!([sticky("shop", b"ada"), sticky("shop", b"bob"), sticky("blog", b"ada")], [2820, 8471, 690]);
    }
}
