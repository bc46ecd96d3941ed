//! A start ends at some place of its recovery: the start after that comes to what one comes to that nothing cuts off.

use std::collections::BTreeSet;

use super::frozen::FOR_GOOD;
use super::returning::TABLE;
use super::*;
use crate::engine::HistoryEntry;
use crate::engine::probe::{Act, Probe, When};
use crate::store::audit::Kind;

type Spot = (&'static str, When);

/// A data directory of a process that ended, and the tables.
type Left = (TempDir, Brittle);

/// All places of a recovery, in its order; those inside are where it is in the ports.
const TAKES_BACK: [Spot; 3] = [("take back", When::Before), ("rollback", When::Inside), ("take back", When::After)];
const LETS_GO: [Spot; 3] = [("let go", When::Before), ("cleanup", When::Inside), ("let go", When::After)];
const TELLS: [Spot; 2] = [("tell", When::Before), ("tell", When::Inside)];
const WRITES: [Spot; 2] = [("write", When::Before), ("write", When::After)];

/// What another kill leaves of this.
fn copy((dir, binding): &Left) -> Left {
    left(dir.path(), binding)
}

/// What a start over this leaves that ends at the place of this module; nothing: it does not come there.
async fn cut(base: &Left, id: &str, place: Spot) -> Option<Left> {
    let (dir, binding) = copy(base);
    let (path, binding, probe) = (dir.path().to_owned(), Arc::new(binding), Arc::new(Probe::default()));
    assert!(binding.probe.set(Arc::clone(&probe)).is_ok());
    probe.arm(id, place, 0, Act::Hang);
    let mut start = tokio::spawn(World::over(dir, Arc::clone(&binding)));
    let cut = tokio::select! {
        () = probe.reached.notified() => Some(left(&path, &binding)),
        started = &mut start => {
            started.unwrap();
            None
        }
    };
    start.abort();
    cut
}

/// What a start comes to.
#[derive(Debug, PartialEq)]
struct Came {
    /// Of each slot the version that serves, what a rollback returns to, and the state.
    slots: Vec<(String, String, Option<String>, State)>,
    routed: [Option<String>; 2],
    held: Vec<String>,
    tables: Vec<String>,
    /// But for when it was.
    history: Vec<HistoryEntry>,
    /// What is left to decide, by numbers.
    open: Vec<u64>,
    /// What the log says, however often.
    told: BTreeSet<String>,
}

/// Starts over this, and again, which is to find nothing more to decide, and says what it came to and how often it was told that
/// something was recovered.
async fn comes_to(base: &Left) -> (Came, usize) {
    let (dir, binding) = copy(base);
    let world = World::over(dir, binding).await;
    let decided = world.journal().await;
    let world = world.killed().await;
    assert_eq!(world.journal().await, decided, "it is decided once");
    assert_eq!(world.engine.resume().await, [""; 0]);
    let slots =
        world.engine.slots().into_iter().map(|slot| (slot.id, slot.version, slot.previous, slot.state)).collect();
    let (history, open) = world.journal().await;
    let (routed, held, tables) = (["a", "b"].map(|id| world.routed(id)), world.held(), world.tables("a"));
    let log = super::told::told(&world).await;
    let recovered = log.iter().filter(|(kind, ..)| *kind == Kind::Recovered).count();
    let told = log.into_iter().map(|told| format!("{told:?}")).collect();
    (Came { slots, routed, held, tables, history, open, told }, recovered)
}

impl World {
    /// The histories without times, and what is open.
    async fn journal(&self) -> (Vec<HistoryEntry>, Vec<u64>) {
        let mut all = Vec::new();
        for id in ["a", "b"] {
            all.extend(self.engine.history(id, 50).await.unwrap());
        }
        for entry in &mut all {
            (entry.began, entry.ended, entry.confirmed) = (0, entry.ended.map(|_| 0), entry.confirmed.map(|_| 0));
            entry.steps.iter_mut().for_each(|step| step.ms = step.ms.map(|_| 0.0));
        }
        let open = self.engine.shared.records.all().unwrap().open;
        (all, open.into_values().flatten().map(|entry| entry.number).collect())
    }
}

/// Whatever place it is cut off at, which are these of these modules, the next start comes to the same.
async fn is_the_same(base: &Left, ids: &[&str], places: &[&[Spot]]) {
    let (expected, once) = comes_to(base).await;
    let places = places.concat();
    let all = [&TAKES_BACK[..], &LETS_GO, &TELLS, &WRITES].concat();
    for id in ids {
        let mut met = Vec::new();
        for place in all.iter().copied() {
            let Some(after) = cut(base, id, place).await else { continue };
            met.push(place);
            let (came, told) = comes_to(&after).await;
            assert_eq!(came, expected, "{id} {place:?}");
            // only what was told and not yet written is told again
            let again = usize::from(place == ("write", When::Before) && places.contains(&TELLS[1]));
            assert_eq!(told, once + again, "{id} {place:?}");
        }
        assert_eq!(met, places, "the places that it comes to of {id}");
    }
}

/// With time enough for whatever waits here.
fn table() -> String {
    TABLE.replace("200ms", "60s")
}

#[tokio::test]
async fn a_start_that_is_cut_off_undoes_an_interrupted_activation_all_the_same() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.serves("a@1.0.0").await;
    let files = [("main.lua", "return {}"), ("2.sql", "create table t (n integer);"), ("2.down.sql", "drop table t;")];
    world.register_files("a", "2.0.0", &table(), &files).await;
    let world = Arc::new(world);
    let coming = world.paused(Place::Up, "a@2.0.0").await;
    let base = world.left();
    world.binding.go.notify_one();
    coming.await.unwrap().unwrap().ensure_serves().unwrap();
    let (came, _) = comes_to(&base).await;
    assert_eq!((came.routed[0].as_deref(), came.tables, came.open), (Some("1.0.0"), Vec::new(), Vec::new()));
    is_the_same(&base, &["a"], &[&TAKES_BACK, &LETS_GO, &TELLS, &WRITES]).await;
}

#[tokio::test]
async fn a_start_that_is_cut_off_returns_from_a_provisional_version_all_the_same() {
    let base = World::with_tables_of(&table()).await.left();
    let (came, _) = comes_to(&base).await;
    assert_eq!((came.routed[0].as_deref(), came.tables, came.open), (Some("1.0.0"), Vec::new(), Vec::new()));
    is_the_same(&base, &["a"], &[&TAKES_BACK, &LETS_GO, &TELLS, &WRITES]).await;
}

#[tokio::test]
async fn a_start_that_is_cut_off_finishes_an_interrupted_rollback_all_the_same() {
    let world = Arc::new(World::with_tables_of(&table()).await);
    world.engine.confirm("a").await.unwrap();
    world.binding.pause(Place::Down, "a");
    let back = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.engine.rollback("a", None).await }
    });
    world.binding.reached.notified().await;
    let base = world.left();
    world.binding.go.notify_one();
    back.await.unwrap().unwrap().ensure_serves().unwrap();
    let (came, _) = comes_to(&base).await;
    assert_eq!((came.routed[0].as_deref(), came.tables, came.open), (Some("1.0.0"), Vec::new(), Vec::new()));
    is_the_same(&base, &["a"], &[&TAKES_BACK, &TELLS, &WRITES]).await;
}

#[tokio::test]
async fn a_start_that_is_cut_off_keeps_what_has_no_way_back_and_tells_that_it_is_confirmed() {
    let base = World::one_way(FOR_GOOD).await.left();
    let (came, _) = comes_to(&base).await;
    assert_eq!((came.routed[0].as_deref(), came.tables.as_slice()), (Some("2.0.0"), &["2.0.0".to_owned()][..]));
    let confirmed = |told: &&String| told.contains("Confirmed, Runtime, \"a@2.0.0\"");
    assert_eq!(came.told.iter().filter(confirmed).count(), 1, "{:?}", came.told);
    is_the_same(&base, &["a"], &[&TELLS, &WRITES]).await;
}

#[tokio::test]
async fn a_start_that_is_cut_off_takes_back_what_a_start_before_it_left_all_the_same() {
    let world = World::with_tables_of(&table()).await;
    let owing = world.killed_where(&[(Place::Down, Fault::Error)]).await;
    assert_eq!(owing.tables("a"), ["2.0.0"]);
    let base = owing.left();
    let (came, _) = comes_to(&base).await;
    assert_eq!((came.tables, came.open), (Vec::new(), Vec::new()));
    // there is nothing to tell
    is_the_same(&base, &["a"], &[&TAKES_BACK, &TELLS[..1], &WRITES]).await;
}

#[tokio::test]
async fn a_start_that_is_cut_off_between_two_of_a_set_returns_from_both_all_the_same() {
    let base = World::joined().await.left();
    let (came, _) = comes_to(&base).await;
    assert_eq!(came.routed.each_ref().map(Option::as_deref), [Some("1.0.0"); 2]);
    is_the_same(&base, &["a", "b"], &[&LETS_GO, &TELLS, &WRITES]).await;
}
