//! What a value takes in memory, as far as that can be told from outside: its blocks, each as large as allocators round it.

use rhai::{Dynamic, FnPtr};

/// The engine's own kind of text, which has no public name but stands in public types.
type Text = <<rhai::Map as IntoIterator>::Item as Pair>::Key;

trait Pair {
    type Key;
}

impl<Key, Item> Pair for (Key, Item) {
    type Key = Key;
}

/// Entries of a map's node, as Rust's standard library makes them.
const NODE_ENTRIES: usize = 11;
/// Entries that a node of a larger map has at least, mostly; those between nodes are counted with it.
const LEAST_ENTRIES: usize = 6;
/// What a node has beside its entries.
const NODE_HEAD: usize = 16;
/// What counts the handles on a value that is shared.
const COUNTS: usize = 16;

/// Bytes of the heap that belong to `value` alone, without those of what is in it. A text that several values share counts for
/// each of them.
pub(super) fn own(value: &Dynamic) -> usize {
    if let Ok(text) = value.as_immutable_string_ref() {
        rounded(COUNTS + size_of::<Text>()) + letters((*text).as_ref())
    } else if let Ok(blob) = value.as_blob_ref() {
        rounded(size_of::<Vec<u8>>()) + rounded(blob.capacity())
    } else if let Ok(array) = value.as_array_ref() {
        rounded(size_of::<Vec<Dynamic>>()) + slots(array.capacity())
    } else if let Ok(map) = value.as_map_ref() {
        let node = rounded(NODE_HEAD + NODE_ENTRIES * (size_of::<Text>() + size_of::<Dynamic>()));
        let nodes = match map.len() {
            0 => 0,
            1..=NODE_ENTRIES => 1,
            many => many.div_ceil(LEAST_ENTRIES),
        };
        rounded(size_of::<rhai::Map>()) + nodes * node + map.keys().map(letters).sum::<usize>()
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        rounded(size_of::<FnPtr>()) + slots(function.curry().len())
    } else {
        0
    }
}

/// Short texts stand in the value itself.
fn letters(text: &Text) -> usize {
    if text.is_inline() { 0 } else { rounded(text.capacity()) }
}

fn slots(count: usize) -> usize {
    rounded(count.saturating_mul(size_of::<Dynamic>()))
}

/// The block that an allocator gives: every 16 bytes up to 128, then four sizes between two powers of two, as jemalloc has.
fn rounded(bytes: usize) -> usize {
    let step = if bytes <= 128 { 16 } else { bytes.next_power_of_two() / 8 };
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn blocks_are_those_of_the_allocator() {
        for (bytes, block) in
            [(0, 0), (1, 16), (16, 16), (17, 32), (128, 128), (129, 160), (456, 512), (1024, 1024), (1025, 1280)]
        {
            assert_eq!(rounded(bytes), block, "{bytes}");
        }
    }
}
