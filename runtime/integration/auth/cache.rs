//! What verifiers said, by the hash of the token.
//!
//! Every request with a token reads this, so a read must not write to memory that other readers read: no lock of any
//! kind. Each shard is a map behind an `ArcSwap`; a write copies its shard (at most [`SHARD`] pointers), which costs
//! little beside the call of the verifier that comes before every write.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use replug_scripts::Principal;

/// BLAKE3 of a token: the tokens themselves are not kept.
pub(super) type Key = [u8; 32];

const SHARDS: usize = 64;

/// Entries of a shard; about 10,000 in all.
const SHARD: usize = 156;

/// Entries of a shard that say "nobody": garbage must not push out those who are signed in.
const NOBODIES: usize = 32;

/// One answer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Who it is; nobody is an answer too.
    pub(super) principal: Option<Arc<Principal>>,
    /// Until when it holds.
    pub(super) until: Instant,
    /// In which epoch it was asked for.
    pub(super) epoch: u64,
    /// Who said so.
    pub(super) module: Arc<str>,
}

impl Entry {
    fn holds(&self, epoch: u64, now: Instant) -> bool {
        self.epoch == epoch && now < self.until
    }
}

/// A hash needs no hashing.
#[derive(Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // the length of the key, which is always the same
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Shard = HashMap<Key, Arc<Entry>, BuildHasherDefault<Ready>>;

/// The answers.
pub(super) struct Cache {
    shards: [ArcSwap<Shard>; SHARDS],
}

impl Default for Cache {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| ArcSwap::default()) }
    }
}

impl Cache {
    /// What `module` said in this epoch, if it still holds.
    pub(super) fn get(&self, key: &Key, epoch: u64, module: &str, now: Instant) -> Option<Option<Arc<Principal>>> {
        let shard = self.shard(key).load();
        let entry = shard.get(key)?;
        (entry.holds(epoch, now) && *entry.module == *module).then(|| entry.principal.clone())
    }

    /// Keeps an answer; one that is less worth keeping makes room where there is none.
    pub(super) fn put(&self, key: Key, entry: Entry, now: Instant) {
        let entry = Arc::new(entry);
        self.shard(&key).rcu(|present| {
            let mut shard = Shard::clone(present);
            shard.remove(&key);
            make_room(&mut shard, &entry, now);
            shard.insert(key, Arc::clone(&entry));
            shard
        });
    }

    fn shard(&self, key: &Key) -> &ArcSwap<Shard> {
        // the last byte: the first ones place the key within its shard
        &self.shards[usize::from(key[31]) % SHARDS]
    }
}

fn make_room(shard: &mut Shard, entry: &Entry, now: Instant) {
    let nobodies = |shard: &Shard| shard.values().filter(|one| one.principal.is_none()).count();
    let full = |shard: &Shard| shard.len() >= SHARD || entry.principal.is_none() && nobodies(shard) >= NOBODIES;
    if !full(shard) {
        return;
    }
    shard.retain(|_, one| one.holds(entry.epoch, now));
    if !full(shard) {
        return;
    }
    // nobodies go first, then whoever's time ends first
    let nobody = |one: &&Key| entry.principal.is_some() || shard[*one].principal.is_none();
    let worst = shard.keys().filter(nobody).min_by_key(|one| (shard[*one].principal.is_some(), shard[*one].until));
    if let Some(worst) = worst.copied() {
        shard.remove(&worst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(n: u32) -> Key {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_ne_bytes());
        key
    }

    fn entry(name: Option<&str>, until: Instant) -> Entry {
        let principal = name.map(|name| Arc::new(Principal { subject: name.into(), permissions: Vec::new() }));
        Entry { principal, until, epoch: 0, module: "auth".into() }
    }

    fn known(cache: &Cache, n: u32, now: Instant) -> Option<Option<String>> {
        cache.get(&key(n), 0, "auth", now).map(|found| found.map(|principal| principal.subject.clone()))
    }

    #[test]
    fn an_answer_holds_until_its_time_in_its_epoch_for_its_module() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.put(key(1), entry(Some("ada"), now + Duration::from_secs(2)), now);
        assert_eq!(known(&cache, 1, now), Some(Some("ada".into())));
        assert_eq!(known(&cache, 1, now + Duration::from_secs(2)), None, "it has expired");
        assert!(cache.get(&key(1), 1, "auth", now).is_none(), "it was withdrawn");
        assert!(cache.get(&key(1), 0, "other", now).is_none(), "another module verifies now");
        assert_eq!(known(&cache, 2, now), None);
    }

    #[test]
    fn garbage_fills_no_more_than_its_share_and_pushes_nobody_out() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.put(key(0), entry(Some("ada"), now + Duration::from_millis(1)), now);
        for n in 1..1_000 {
            cache.put(key(n), entry(None, now + Duration::from_secs(1)), now);
        }
        assert_eq!(known(&cache, 0, now), Some(Some("ada".into())));
        assert_eq!(cache.shards[0].load().len(), NOBODIES + 1);
    }

    #[test]
    fn a_full_shard_lets_go_of_whoever_would_go_first() {
        let (cache, now) = (Cache::default(), Instant::now());
        for n in 0..u32::try_from(SHARD).expect("small") + 10 {
            cache.put(key(n), entry(Some("x"), now + Duration::from_secs(1 + u64::from(n))), now);
        }
        assert_eq!(cache.shards[0].load().len(), SHARD);
        assert_eq!(known(&cache, 9, now), None);
        assert_eq!(known(&cache, 10, now), Some(Some("x".into())));
    }
}
