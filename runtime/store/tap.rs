//! What a dump sees of the records while others are written: those of one moment.
//!
//! The dump goes through the keys in order. Whatever is changed behind its cursor it has seen already; of a key before it, what
//! it held at the moment of the dump is kept here until the dump gets there. So nobody waits for a dump, but for one stretch of it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StoreError;
use super::batch::Change;
use super::keys::Key as _;

/// The most bytes of earlier contents that are kept; a dump that needs more is too slow for what is written, and fails.
const MOST: usize = 128 * 1024 * 1024;

/// Records that are read in one go while nobody writes, and the bytes after which it is enough. Few in tests, so that writes
/// come between.
const STRETCH: usize = if cfg!(test) { 4 } else { 256 };
const STRETCH_BYTES: usize = 1024 * 1024;

/// Whether a dump is about the tree of that name.
pub(super) type Wants = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Where a dump may listen. At most one does.
#[derive(Default)]
pub(super) struct Taps {
    /// Held for a whole dump.
    turn: Mutex<()>,
    tap: Mutex<Option<Tap>>,
}

struct Tap {
    wants: Wants,
    /// The last key that was dumped.
    cursor: Option<Vec<u8>>,
    /// What the keys behind the cursor held at the moment of the dump, where that was changed; `None`: nothing.
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    /// Whether more was changed than is kept.
    overrun: bool,
}

impl Tap {
    fn new(wants: Wants) -> Self {
        Self { wants, cursor: None, before: BTreeMap::new(), bytes: 0, overrun: false }
    }

    /// What is behind all keys of the same tree, if the dump is not about that.
    fn past(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut rest = key;
        let tree = String::read(&mut rest)?;
        if (self.wants)(&tree) {
            return None;
        }
        let mut past = key[..key.len() - rest.len()].to_vec();
        // in a name a larger byte stands behind a zero than the one that ends it, so all of this tree is before that, and no other
        *past.last_mut()? += 1;
        Some(past)
    }

    fn keep(&mut self, db: &sled::Db, changes: &[Change]) -> sled::Result<()> {
        for (key, _) in changes {
            if self.overrun {
                break;
            }
            let is_passed = self.cursor.as_ref().is_some_and(|cursor| key <= cursor);
            if is_passed || self.before.contains_key(key) || self.past(key).is_some() {
                continue;
            }
            let held = db.get(key)?.map(|value| value.to_vec());
            self.bytes += key.len() + held.as_ref().map_or(0, Vec::len);
            self.before.insert(key.clone(), held);
            self.overrun = self.bytes > MOST;
        }
        if self.overrun {
            self.before.clear();
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records as bytes, by key.
type Stretch = Vec<(Vec<u8>, Vec<u8>)>;

impl Taps {
    /// Applies `changes` by `apply`; a dump that goes on meanwhile does not see them.
    pub(super) fn over<T>(
        &self,
        db: &sled::Db,
        changes: Vec<Change>,
        apply: impl FnOnce(Vec<Change>) -> sled::Result<T>,
    ) -> sled::Result<T> {
        let mut tap = locked(&self.tap);
        if let Some(tap) = tap.as_mut() {
            tap.keep(db, &changes)?;
        }
        apply(changes)
    }

    /// Shows `sink` all records of the trees that `wants` names as they are when this begins, in stretches. Others are not read.
    pub(super) fn dump<E: From<StoreError>>(
        &self,
        db: &sled::Db,
        wants: Wants,
        mut sink: impl FnMut(Stretch) -> Result<(), E>,
    ) -> Result<(), E> {
        let _turn = locked(&self.turn);
        *locked(&self.tap) = Some(Tap::new(wants));
        let _listens = Listens(self);
        while let Some(stretch) = self.stretch(db)? {
            sink(stretch)?;
        }
        Ok(())
    }

    /// The next records; `None` after the last.
    fn stretch(&self, db: &sled::Db) -> Result<Option<Stretch>, StoreError> {
        let mut held = locked(&self.tap);
        let Some(tap) = held.as_mut() else { return Ok(None) };
        if tap.overrun {
            return Err(StoreError::Dump {
                cause: format!("more than {MOST} bytes were written over meanwhile; try again when less is written"),
            });
        }
        let from = tap.cursor.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut found, mut bytes, mut ended) = (BTreeMap::new(), 0, true);
        let mut next = from.clone();
        'tree: loop {
            for pair in db.range((next, Bound::<Vec<u8>>::Unbounded)) {
                let (key, value) = pair.map_err(|error| StoreError::Dump { cause: error.to_string() })?;
                if let Some(past) = tap.past(&key) {
                    next = Bound::Included(past);
                    continue 'tree;
                }
                bytes += key.len() + value.len();
                found.insert(key.to_vec(), value.to_vec());
                if found.len() >= STRETCH || bytes >= STRETCH_BYTES {
                    ended = false;
                    break;
                }
            }
            break;
        }
        let to = found.last_key_value().filter(|_| !ended).map(|(key, _)| key.clone());
        let until = to.clone().map_or(Bound::Unbounded, Bound::Included);
        let passed: Vec<Vec<u8>> = tap.before.range((from, until)).map(|(key, _)| key.clone()).collect();
        for key in passed {
            match tap.before.remove(&key) {
                Some(Some(value)) => drop(found.insert(key, value)),
                _ => drop(found.remove(&key)),
            }
        }
        tap.cursor = to;
        if ended {
            // whatever is written from now on is none of the dump's
            *held = None;
        }
        Ok(Some(found.into_iter().collect::<Stretch>()).filter(|stretch| !ended || !stretch.is_empty()))
    }
}

/// A dump listens; it ends when this is dropped.
struct Listens<'a>(&'a Taps);

impl Drop for Listens<'_> {
    fn drop(&mut self) {
        *locked(&self.0.tap) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keys::KeyOf;

    fn key(tree: &str, number: u64) -> Vec<u8> {
        let mut key = Vec::new();
        (tree, number).write(&mut key);
        key
    }

    #[test]
    fn what_a_dump_is_not_about_is_neither_shown_nor_kept_for_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let (db, taps) = (sled::open(dir.path()).unwrap(), Taps::default());
        let trees = ["a", "kv", "kv-used", "kv\0x", "kw"];
        for (tree, number) in trees.into_iter().flat_map(|tree| (0..9).map(move |number| (tree, number))) {
            db.insert(key(tree, number), b"x").unwrap();
        }
        for unwanted in trees {
            let mut seen = Vec::new();
            let sink = |stretch: Stretch| {
                seen.extend(stretch.into_iter().map(|(key, _)| key));
                let changes = vec![(key(unwanted, 3), Some(vec![0; 10_000])), (key(unwanted, 99), None)];
                taps.over(&db, changes, |_| Ok(())).unwrap();
                if let Some(tap) = locked(&taps.tap).as_ref() {
                    assert_eq!((tap.bytes, tap.before.len()), (0, 0), "{unwanted}");
                }
                Ok::<_, StoreError>(())
            };
            taps.dump(&db, Arc::new(move |tree: &str| tree != unwanted), sink).unwrap();
            let mut wanted: Vec<_> = trees.iter().filter(|tree| **tree != unwanted).collect();
            wanted.sort();
            let expected: Vec<_> =
                wanted.into_iter().flat_map(|tree| (0..9).map(move |number| key(tree, number))).collect();
            assert_eq!(seen.iter().collect::<std::collections::BTreeSet<_>>(), expected.iter().collect(), "{unwanted}");
            assert_eq!(seen.len(), expected.len(), "{unwanted}");
        }
    }
}
