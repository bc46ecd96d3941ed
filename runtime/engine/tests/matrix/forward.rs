//! An activation that goes wrong before, inside and after each of its steps.

use super::*;
use crate::engine::strategy::{self, StepName};

/// The places of an activation's steps.
pub(super) fn places(kind: Kind) -> Vec<Place> {
    places_of(strategy::steps(kind.strategy), kind.is_gradual() && !kind.first)
}

/// The places of these steps, which may shift the traffic where they activate.
pub(super) fn places_of(steps: &[StepName], is_shifted: bool) -> Vec<Place> {
    let inside = |step: &'static str| match step {
        "load" => "init",
        "activate" => "commit",
        "verify" => "health",
        step => step,
    };
    let steps = steps.iter().map(|step| step.name());
    let of = |step: &'static str| {
        let inside = match inside(step) {
            // the last place at which it can be refused
            "commit" => ("commit", When::Before),
            inside => (inside, When::Inside),
        };
        let shift: &[Place] =
            if step == "activate" && is_shifted { &[("shift", When::Before), ("shift", When::After)] } else { &[] };
        let ends = [inside, (step, When::After)];
        std::iter::once((step, When::Before)).chain(shift.iter().copied()).chain(ends).collect::<Vec<_>>()
    };
    steps.flat_map(of).collect()
}

/// Whether a script is at this place.
fn is_script((step, when): Place) -> bool {
    when == When::Inside && matches!(step, "init" | "warmup" | "health")
}

/// A cell for each place of the steps and each thing that may go wrong there.
fn cells(kind: Kind) -> Vec<Cell> {
    cells_of(kind, places(kind))
}

/// The same for these places, and those of its end.
pub(super) fn cells_of(kind: Kind, places: Vec<Place>) -> Vec<Cell> {
    let of = |place: Place| {
        let scripts: &[Wrong] = if is_script(place) { &[Wrong::Throw, Wrong::Loop] } else { &[] };
        // what is asked of the coordinator is asked of the store, where a hang is a disk's
        let engine = WRONGS.iter().filter(move |wrong| !(place.0 == "commit" && **wrong == Wrong::Hang));
        engine.chain(scripts).map(move |wrong| Cell::new(kind, place, *wrong))
    };
    let ends = ENDS.iter().map(|place| Cell::new(kind, *place, Wrong::Panic));
    places.into_iter().flat_map(of).chain(ends).collect()
}

/// The places of its end, after all steps, where nothing can give an error.
pub(super) const ENDS: [Place; 3] = [("close", When::Before), ("close", When::Inside), ("close", When::After)];

/// Arms a cell's place.
fn arm(world: &World, cell: &Cell) {
    let (step, when) = cell.place;
    let act = cell.wrong.unwrap().act(when, TIME);
    if step == "health" {
        // it is asked for the traffic too, and this is about what is found once it serves
        world.arm(cell, ("verify", When::Before), 0, Act::Then("health", Box::new(act)));
    } else {
        world.arm(cell, cell.place, 0, act);
    }
}

async fn activated(world: &World, cell: Cell) -> (Cell, Told, Vec<(String, String)>) {
    let mut events = world.events.subscribe();
    world.set_up(&cell).await;
    arm(world, &cell);
    let version = Version::new(2, 0, 0);
    let activation = world.engine.activate(&cell.id, &version, None);
    let ended = tokio::time::timeout(Duration::from_secs(30), activation).await;
    let told = Told::from(ended.unwrap_or_else(|_| panic!("{cell}: it never ends")));
    assert!(world.met(&cell, cell.place), "{cell}: nothing came there: {told:?}");
    assert_eq!(told.outcome(), cell.end().outcome(cell.kind.first), "{cell}: {told:?}");
    let mut seen = Vec::new();
    check::alarms(&mut events, &mut seen);
    world.is_true(&cell, &told, &seen).await;
    (cell, told, seen)
}

async fn each(kind: Kind) {
    let world = World::new().await;
    let cells = cells(kind).into_iter().map(|cell| (cell.to_string(), activated(&world, cell)));
    let all = each_of(cells, AT_ONCE).await;
    // what was told holds over a restart, where what was provisional is returned from
    let killed = world.killed().await;
    killed.engine.resume().await;
    for (cell, told, _) in &all {
        let before =
            if told.outcome() == Some(Outcome::Active) { Some("2.0.0") } else { (!kind.first).then_some("1.0.0") };
        assert_eq!(killed.is_one(cell).await.as_deref(), before, "{cell}, after a restart");
    }
    killed.engine.stop(Duration::from_secs(5)).await;
    let cells: Vec<Cell> = all.into_iter().map(|(cell, ..)| cell).collect();
    each_of(cells.iter().map(|cell| (cell.to_string(), world.goes_on(cell))), AT_ONCE).await;
    world.ends(&cells).await;
}

macro_rules! matrix {
    ($($name:ident: $strategy:ident, first $first:literal, $language:ident, preserve $preserve:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (strategy, language) = (ActivationStrategy::$strategy, Language::$language);
            each(Kind { strategy, first: $first, language, preserve: $preserve }).await;
        }
    )*};
}

matrix! {
    a_gradual_upgrade_that_goes_wrong_anywhere_leaves_one_version: Gradual, first false, Lua, preserve false;
    an_instant_upgrade_that_goes_wrong_anywhere_leaves_one_version: Instant, first false, Lua, preserve true;
    a_first_gradual_activation_that_goes_wrong_anywhere_leaves_nothing: Gradual, first true, Lua, preserve true;
    a_first_instant_activation_that_goes_wrong_anywhere_leaves_nothing: Instant, first true, Lua, preserve false;
}

#[cfg(feature = "rhai")]
matrix! {
    a_gradual_upgrade_in_rhai_that_goes_wrong_anywhere_leaves_one_version: Gradual, first false, Rhai, preserve true;
    an_instant_upgrade_in_rhai_that_goes_wrong_anywhere_leaves_one_version: Instant, first false, Rhai, preserve false;
    a_first_gradual_activation_in_rhai_that_goes_wrong_anywhere_leaves_nothing: Gradual, first true, Rhai, preserve false;
    a_first_instant_activation_in_rhai_that_goes_wrong_anywhere_leaves_nothing: Instant, first true, Rhai, preserve true;
}
