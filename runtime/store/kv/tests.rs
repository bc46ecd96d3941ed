use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const QUOTA: u64 = 1_000_000;

fn open() -> (TempDir, Store, KvStore) {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let kv = KvStore::new(&store);
    (dir, store, kv)
}

fn entry(value: &str) -> KvEntry {
    KvEntry::new(value)
}

fn until_ms(value: &str, at: u64) -> KvEntry {
    KvEntry { expires_at: Some(at), ..entry(value) }
}

fn text(value: &str) -> Option<Vec<u8>> {
    Some(value.as_bytes().to_vec())
}

#[test]
fn namespaces_do_not_see_each_other() {
    let (_dir, _store, kv) = open();
    kv.put("a", "k", entry("1"), QUOTA, 0).unwrap();
    kv.put("ab", "k", entry("2"), QUOTA, 0).unwrap();
    kv.put("ab", "k2", entry("3"), QUOTA, 0).unwrap();
    assert_eq!(kv.get("a", "k", 0).unwrap(), text("1"));
    assert_eq!(kv.list("a", "", None, 10, 0).unwrap(), ["k"]);
    assert!(kv.delete("a", "k", 0).unwrap());
    assert!(!kv.delete("a", "k", 0).unwrap());
    assert_eq!(kv.clear("ab").unwrap(), 2);
    assert_eq!((kv.used("a").unwrap(), kv.used("ab").unwrap()), (0, 0));
}

#[test]
fn an_expired_entry_is_invisible_everywhere_and_swept_later() {
    let (_dir, _store, kv) = open();
    kv.put("m", "gone", until_ms("1", 100), QUOTA, 0).unwrap();
    kv.put("m", "stays", entry("2"), QUOTA, 0).unwrap();
    assert_eq!(kv.get("m", "gone", 99).unwrap(), text("1"));
    assert_eq!(kv.get("m", "gone", 100).unwrap(), None);
    assert_eq!(kv.list("m", "", None, 10, 100).unwrap(), ["stays"]);
    assert!(!kv.cas("m", "gone", Some(b"1"), None, QUOTA, 100).unwrap());
    let before = kv.used("m").unwrap();
    assert_eq!(kv.sweep(10, 99).unwrap(), 0);
    assert_eq!(kv.sweep(10, 100).unwrap(), 1);
    assert_eq!(before - kv.used("m").unwrap(), 4 + 1 + 32);
    assert!(kv.cas("m", "gone", None, Some(entry("3")), QUOTA, 100).unwrap());
}

#[test]
fn a_sweep_looks_at_no_more_than_its_budget_and_goes_on_from_there() {
    let (_dir, _store, kv) = open();
    for n in 0..5 {
        kv.put("m", &n.to_string(), until_ms("x", 1), QUOTA, 0).unwrap();
    }
    let swept: Vec<_> = (0..4).map(|_| kv.sweep(2, 1).unwrap()).collect();
    assert_eq!(swept, [2, 2, 1, 0]);
    kv.put("a", "again", until_ms("x", 1), QUOTA, 0).unwrap();
    assert_eq!(kv.sweep(2, 1).unwrap(), 1, "after the end it begins anew");
}

#[test]
fn the_quota_counts_bytes_and_survives_a_restart() {
    let (dir, store, kv) = open();
    kv.put("m", "k", entry("12345"), 38, 0).unwrap();
    assert_eq!(kv.used("m").unwrap(), 38);
    drop((store, kv));
    let kv = KvStore::new(&Store::open(dir.path()).unwrap());
    assert_eq!(kv.used("m").unwrap(), 38);
    let refused = kv.put("m", "l", entry(""), 38, 0).unwrap_err();
    assert_eq!(refused, KvError::QuotaExceeded { module: "m".to_owned(), used: 71, quota: 38 });
    assert!(refused.to_string().contains("permissions.resources.storage.max"));
    kv.put("m", "k", entry("123"), 10, 0).unwrap(); // Less than before is taken even over a quota narrowed meanwhile.
    kv.put("other", "k", entry("12345"), 38, 0).unwrap();
    assert_eq!(kv.used("m").unwrap(), 36);
}

#[test]
fn expired_entries_make_room_for_new_ones() {
    let (_dir, _store, kv) = open();
    kv.put("m", "a", until_ms("12345", 10), 80, 0).unwrap();
    kv.put("m", "b", entry("12345"), 80, 0).unwrap();
    assert!(matches!(kv.put("m", "c", entry("12345"), 80, 9), Err(KvError::QuotaExceeded { .. })));
    kv.put("m", "c", entry("12345"), 80, 10).unwrap();
    assert_eq!(kv.used("m").unwrap(), 76);
    assert_eq!(kv.list("m", "", None, 10, 0).unwrap(), ["b", "c"]);
}

#[test]
fn cas_compares_json_and_tells_who_won() {
    let (_dir, _store, kv) = open();
    assert!(kv.cas("m", "k", None, Some(entry(r#"{"a":1,"b":2}"#)), QUOTA, 0).unwrap());
    assert!(!kv.cas("m", "k", None, Some(entry("2")), QUOTA, 0).unwrap());
    assert!(!kv.cas("m", "k", Some(br#"{"a":1}"#), Some(entry("2")), QUOTA, 0).unwrap());
    assert!(kv.cas("m", "k", Some(br#"{ "b": 2, "a": 1 }"#), Some(entry("2")), QUOTA, 0).unwrap());
    assert!(kv.cas("m", "k", Some(b"2"), None, QUOTA, 0).unwrap());
    assert_eq!((kv.get("m", "k", 0).unwrap(), kv.used("m").unwrap()), (None, 0));
}

#[test]
fn concurrent_increments_by_cas_lose_none() {
    let (_dir, _store, kv) = open();
    kv.put("m", "n", entry("0"), QUOTA, 0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    loop {
                        let now = kv.get("m", "n", 0).unwrap().unwrap();
                        let next: u32 = std::str::from_utf8(&now).unwrap().parse::<u32>().unwrap() + 1;
                        if kv.cas("m", "n", Some(&now), Some(entry(&next.to_string())), QUOTA, 0).unwrap() {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(kv.get("m", "n", 0).unwrap(), text("40"));
}

#[test]
fn listing_pages_by_prefix_in_order() {
    let (_dir, _store, kv) = open();
    for key in ["user/b", "user/a", "user", "users", "user/c", "z"] {
        kv.put("m", key, entry("1"), QUOTA, 0).unwrap();
    }
    assert_eq!(kv.list("m", "user/", None, 2, 0).unwrap(), ["user/a", "user/b"]);
    assert_eq!(kv.list("m", "user/", Some("user/b"), 2, 0).unwrap(), ["user/c"]);
    assert_eq!(kv.list("m", "", None, 0, 0).unwrap(), [""; 0]);
}

#[test]
fn clearing_the_cache_removes_marked_entries_of_one_module_only() {
    let (_dir, _store, kv) = open();
    let cached = || KvEntry { cache: true, ..entry("1") };
    kv.put("m", "a", cached(), QUOTA, 0).unwrap();
    kv.put("m", "b", entry("1"), QUOTA, 0).unwrap();
    kv.put("n", "a", cached(), QUOTA, 0).unwrap();
    assert_eq!(kv.clear_cache("m").unwrap(), 1);
    assert_eq!(kv.list("m", "", None, 10, 0).unwrap(), ["b"]);
    assert_eq!(kv.list("n", "", None, 10, 0).unwrap(), ["a"]);
    assert_eq!(kv.used("m").unwrap(), 34);
}

#[test]
fn keys_and_values_are_bounded() {
    let (_dir, _store, kv) = open();
    let key = "\0".repeat(MAX_KV_KEY); // The key that takes most room when encoded.
    kv.put("m", &key, KvEntry { expires_at: Some(9), ..KvEntry::new(vec![b'1'; MAX_KV_VALUE]) }, QUOTA, 0).unwrap();
    assert_eq!(kv.get("m", &key, 0).unwrap().map(|value| value.len()), Some(MAX_KV_VALUE));
    assert_eq!(kv.get("m", &(key + "k"), 0), Err(KvError::KeyTooLong { size: 1025 }));
    let refused = kv.put("m", "k", KvEntry::new(vec![b'1'; MAX_KV_VALUE + 1]), QUOTA, 0);
    assert_eq!(refused, Err(KvError::ValueTooLarge { key: "k".to_owned(), size: MAX_KV_VALUE + 1 }));
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, usize, Option<u64>, bool),
    Delete(u8),
    Cas(u8, Option<usize>, Option<usize>),
    Sweep(usize),
    ClearCache,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        4 => (0..6_u8, 0..40_usize, proptest::option::of(0..30_u64), any::<bool>()).prop_map(|(k, n, at, c)| Step::Put(k, n, at, c)),
        1 => (0..6_u8).prop_map(Step::Delete),
        2 => (0..6_u8, proptest::option::of(0..3_usize), proptest::option::of(0..3_usize)).prop_map(|(k, a, b)| Step::Cas(k, a, b)),
        1 => (1..5_usize).prop_map(Step::Sweep),
        1 => Just(Step::ClearCache),
    ];
    proptest::collection::vec((0..3_u64, step), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a map: what is visible agrees, and the counter is always the sum of what is stored.
    #[test]
    fn the_store_behaves_as_a_map_with_expiry_and_its_counter_never_drifts(steps in steps()) {
        let (_dir, _store, kv) = open();
        let mut model = std::collections::BTreeMap::<String, KvEntry>::new();
        let mut now = 0;
        let quota = 220;
        let value = |n: usize| "1".repeat(n + 1);
        for (tick, step) in steps {
            now += tick;
            match step {
                Step::Put(key, size, at, cache) => {
                    let new = KvEntry { expires_at: at, cache, ..entry(&value(size)) };
                    match kv.put("m", &key.to_string(), new.clone(), quota, now) {
                        Ok(()) => { model.insert(key.to_string(), new); }
                        Err(error) => {
                            let visible: u64 = model.iter().filter(|(k, e)| **k != key.to_string() && e.is_visible(now)).map(|(k, e)| e.cost(k)).sum();
                            let refused = matches!(error, KvError::QuotaExceeded { .. });
                            prop_assert!(refused && visible + new.cost("0") > quota);
                        }
                    }
                }
                Step::Delete(key) => {
                    let seen = model.remove(&key.to_string()).is_some_and(|entry| entry.is_visible(now));
                    prop_assert_eq!(kv.delete("m", &key.to_string(), now).unwrap(), seen);
                }
                Step::Cas(key, expected, new) => {
                    let key = key.to_string();
                    let expected = expected.map(|n| value(n).into_bytes());
                    let found = model.get(&key).filter(|entry| entry.is_visible(now)).map(|entry| entry.value.clone());
                    let new = new.map(|n| entry(&value(n)));
                    if let Ok(won) = kv.cas("m", &key, expected.as_deref(), new.clone(), quota, now) {
                        prop_assert_eq!(won, expected == found);
                        if won {
                            model.remove(&key);
                            model.extend(new.map(|new| (key, new)));
                        }
                    }
                }
                Step::Sweep(budget) => { kv.sweep(budget, now).unwrap(); }
                Step::ClearCache => {
                    kv.clear_cache("m").unwrap();
                    model.retain(|_, entry| !entry.cache);
                }
            }
            let visible: Vec<_> = model.iter().filter(|(_, entry)| entry.is_visible(now)).map(|(key, _)| key.clone()).collect();
            prop_assert_eq!(kv.list("m", "", None, 100, now).unwrap(), visible);
            let stored: u64 = kv.trees.entries.scan(&Prefix::of("m"), None, 100).unwrap().iter().map(|((_, key), entry)| entry.cost(key)).sum();
            prop_assert_eq!(kv.used("m").unwrap(), stored);
        }
    }
}
