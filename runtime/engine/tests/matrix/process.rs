//! The same with a process that really ends: a child aborts at the place, and this process opens what it left.

use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use super::exits::{What, begin, is_decided, places};
use super::*;

/// The tables that the child made, beside its data: they outlive a process, and this one has to know them.
fn tables(dir: &Path) -> PathBuf {
    dir.join("tables")
}

/// Runs in a process of its own, which aborts at the place.
async fn end(what: What, kind: Kind, dir: &Path, place: &str) {
    let place =
        all(what, kind).into_iter().map(|(place, _)| place).find(|(step, when)| format!("{step} {when:?}") == place);
    let cell = Cell { id: "x".to_owned(), ..Cell::new(kind, place.unwrap(), None) };
    // not removed at the end, since there is none
    let world =
        World::over(tempfile::Builder::new().disable_cleanup(true).tempdir_in(dir).unwrap(), Brittle::default()).await;
    let _ = world.binding.file.set(tables(world.path()));
    world.set_up(&cell).await;
    let command = begin(&world, what, &cell, Act::Abort).await;
    let _ = command.await;
    // the way back from a provisional version is no command of this task
    let _ = tokio::time::timeout(Duration::from_secs(20), std::future::pending::<()>()).await;
}

fn all(what: What, kind: Kind) -> Vec<(Place, bool)> {
    let (before, after) = places(what, kind);
    before.into_iter().map(|place| (place, false)).chain(after.into_iter().map(|place| (place, true))).collect()
}

async fn aborted(name: &str, what: What, kind: Kind, (place, is_past): (Place, bool)) {
    let cell = Cell { id: "x".to_owned(), ..Cell::new(kind, place, None) };
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("engine::tests::matrix::process::{name}"), "--test-threads", "1"]);
    child.env("REPLUG_TEST_PLACE", format!("{} {:?}", place.0, place.1)).env("REPLUG_TEST_DIR", dir.path());
    child.stdout(Stdio::null()).stderr(Stdio::null());
    let status = tokio::task::spawn_blocking(move || child.status().unwrap()).await.unwrap();
    assert_eq!(status.code(), None, "{what:?} {cell}: it comes there and aborts: {status:?}");
    let left = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(tables(&left)).unwrap_or_default();
    let applied = text.lines().map(|version| version.parse().unwrap()).collect();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&left, copy.path());
    let world = World::over(copy, Brittle::with(Tables::from([("x".to_owned(), applied)]))).await;
    is_decided(world, what, &cell, is_past).await;
}

macro_rules! aborts {
    ($($name:ident: $what:expr, $kind:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            if let (Ok(place), Ok(dir)) = (std::env::var("REPLUG_TEST_PLACE"), std::env::var("REPLUG_TEST_DIR")) {
                return end($what, $kind, Path::new(&dir), &place).await;
            }
            let all = all($what, $kind).into_iter();
            let all = all.map(|place| (format!("{place:?}"), aborted(stringify!($name), $what, $kind, place)));
            each_of(all, 3).await;
        }
    )*};
}

const GRADUAL: Kind = Kind::of(ActivationStrategy::Gradual);

aborts! {
    a_gradual_upgrade_whose_process_aborts_is_undone: What::Activation, GRADUAL;
    a_first_instant_activation_whose_process_aborts_is_undone_or_finished: What::Activation,
        Kind { first: true, ..Kind::of(ActivationStrategy::Instant) };
    a_way_back_whose_process_aborts_is_finished: What::WayBack, GRADUAL;
}

#[cfg(feature = "rhai")]
const RHAI: Kind = Kind { language: Language::Rhai, ..GRADUAL };

#[cfg(feature = "rhai")]
aborts! {
    a_gradual_upgrade_in_rhai_whose_process_aborts_is_undone: What::Activation, RHAI;
    a_first_instant_activation_in_rhai_whose_process_aborts_is_undone_or_finished: What::Activation,
        Kind { first: true, strategy: ActivationStrategy::Instant, ..RHAI };
    a_way_back_in_rhai_whose_process_aborts_is_finished: What::WayBack, RHAI;
}
