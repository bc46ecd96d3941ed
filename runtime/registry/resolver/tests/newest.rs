//! The newest version of a module is looked up without a look at all of them.

use proptest::prelude::*;

use super::*;
use crate::registry::versions;

proptest! {
    #[test]
    fn the_newest_is_the_one_that_a_look_at_all_of_them_finds(
        numbers in proptest::collection::vec((0u8..3, 0u8..3, 0usize..3, 0usize..3), 1..12),
        hashes in proptest::collection::vec(any::<u64>(), 12),
    ) {
        let text = |(major, minor, pre, build): &(u8, u8, usize, usize)| {
            format!("m {major}.{minor}.0{}{}", ["", "-a", "-b"][*pre], ["", "+x", "+y"][*build])
        };
        let mut blocks: Vec<String> = numbers.iter().map(text).collect::<BTreeSet<_>>().into_iter().collect();
        // in any order of registration
        blocks.sort_by_key(|block| hashes[block.bytes().map(usize::from).sum::<usize>() % hashes.len()]);
        let snapshot = snapshot(&blocks.join("\n\n"));
        let all = snapshot.modules["m"].iter().map(|(version, found)| (version, found.seq));
        let expected = versions::newest(all).unwrap();
        prop_assert_eq!(&snapshot.newest("m").unwrap().manifest.version, expected);
    }
}
