//! An activation that goes wrong before, inside and after each of its steps.

use super::*;
use crate::engine::strategy;

/// The places of an activation's steps.
pub(super) fn places(strategy: ActivationStrategy, first: bool) -> Vec<Place> {
    let of = |step: &'static str| {
        let inside = match step {
            "load" => ("init", When::Inside),
            // the last place at which it can be refused
            "activate" => ("commit", When::Before),
            "verify" => ("health", When::Inside),
            step => (step, When::Inside),
        };
        let shifts = step == "activate" && strategy == ActivationStrategy::Gradual && !first;
        let shift: &[Place] = if shifts { &[("shift", When::Before), ("shift", When::After)] } else { &[] };
        std::iter::once((step, When::Before)).chain(shift.iter().copied()).chain([inside, (step, When::After)])
    };
    strategy::steps(strategy).iter().flat_map(|step| of(step.name()).collect::<Vec<_>>()).collect()
}

/// What may go wrong at a place.
pub(super) fn wrongs((step, when): Place) -> Vec<Wrong> {
    let scripts: &[Wrong] = match (step, when) {
        ("init" | "warmup" | "health", When::Inside) => &[Wrong::Throw, Wrong::Loop],
        ("migrate", When::Inside) => &[Wrong::Statement],
        _ => &[],
    };
    // what is asked of the coordinator is asked of the store, where a hang is a disk's
    let engine = WRONGS.iter().filter(|wrong| !(step == "commit" && **wrong == Wrong::Hang));
    engine.chain(scripts).copied().collect()
}

/// Arms a cell's place.
fn arm(site: &Site, cell: &Cell) {
    let Some(wrong) = cell.wrong else { return };
    let act = cell.act(wrong);
    match cell.place.0 {
        // the database refuses it by itself
        "migrate" if wrong == Wrong::Statement => {}
        // it is asked for the traffic too, and this is about what is found once it serves
        "health" => site.arm(cell, ("verify", When::Before), 0, Act::Then("health", Box::new(act))),
        _ => site.arm(cell, cell.place, 0, act),
    }
}

async fn activated(site: &Site, cell: Cell) {
    let mut seen = site.set_up(&cell).await;
    arm(site, &cell);
    let told = site.activate(&cell, 2).await;
    let met = site.met(&cell, cell.place) || cell.wrong == Some(Wrong::Statement);
    assert!(met, "{cell}: nothing came there: {told:?}");
    if let Some(wrong) = cell.wrong {
        let end = expected::forward((cell.kind.strategy, cell.kind.first), cell.place, wrong);
        assert_eq!(told.outcome(), end.outcome(cell.kind.first), "{cell}: {told:?}");
    }
    site.is_true(&cell, &told).await;
    site.probe.disarm(&cell.id);
    site.is_one(&cell, &mut seen).await;
    site.goes_on(&cell, &mut seen).await;
    site.goes(&cell, &mut seen).await;
}

async fn each(strategy: ActivationStrategy, first: bool) {
    let site = Site::new().await;
    let cells = sample::forward(strategy, first, sample::size())
        .into_iter()
        .map(|cell| (cell.to_string(), activated(&site, cell)));
    each_of(cells, AT_ONCE).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gradual_upgrade_that_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Gradual, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instant_upgrade_that_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Instant, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_gradual_activation_that_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Gradual, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_instant_activation_that_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Instant, true).await;
}
