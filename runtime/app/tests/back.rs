//! A way back that goes wrong before, inside and after each of its six steps.

use super::*;
use crate::engine::Outcome;

/// What takes 2.0.0 back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Its last step, in its own activation.
    Step,
    /// A trigger, while it is provisional.
    Trigger,
}

/// The places of the six steps. Those that have none inside do nothing there that can fail but what the engine's matrix says.
pub(super) fn places(strategy: ActivationStrategy) -> Vec<Place> {
    use When::{After, Before, Inside};
    let mut places = vec![("stopTraffic", Before), ("commit", Before), ("stopTraffic", After)];
    places.extend([("deactivate", Before), ("deactivate", After), ("rollback", Before)]);
    if strategy == ActivationStrategy::Gradual {
        places.push(("rollback", Inside));
    }
    places.extend([("rollback", After), ("unregister", Before), ("unregister", After), ("cleanup", Before)]);
    places.extend([("cleanup", Inside), ("cleanup", After), ("restore", Before), ("restore", After)]);
    places
}

/// What may go wrong at a place.
pub(super) fn wrongs(place: Place) -> impl Iterator<Item = Wrong> {
    WRONGS.into_iter().filter(move |wrong| !(place.0 == "commit" && *wrong == Wrong::Hang))
}

impl Site {
    /// Lets 2.0.0 be taken back. What serves has been used by then.
    pub(super) async fn takes_back(&self, cell: &Cell, way: Way, act: Act, seen: &mut Seen) -> Told {
        if way == Way::Step {
            self.arm(cell, (cell.kind.last(), When::After), 0, Act::Error);
            // the first commit is that by which it took the traffic
            self.arm(cell, cell.place, usize::from(cell.place.0 == "commit"), act);
            return self.activate(cell, 2).await;
        }
        let told = self.activate(cell, 2).await;
        assert_eq!(told.outcome(), Some(Outcome::Provisional), "{cell}: {told:?}");
        seen.count = self.adds(cell, "counter").await;
        assert_eq!(self.adds(cell, "late").await, 1, "{cell}");
        self.arm(cell, cell.place, 0, act);
        let instance = self.runtime.instance(&cell.id).expect("it serves").key.clone();
        self.runtime.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
        Told::Nothing
    }
}

async fn taken_back(site: &Site, way: Way, cell: Cell) {
    let mut seen = site.set_up(&cell).await;
    let wrong = cell.wrong.expect("something goes wrong");
    let told = site.takes_back(&cell, way, cell.act(wrong), &mut seen).await;
    until(&format!("{cell}: it comes there: {told:?}"), || site.met(&cell, cell.place)).await;
    let (first, outcome) = (expected::back_told(cell.place, wrong, true), expected::back(cell.place, wrong));
    if way == Way::Step {
        assert_eq!(told.outcome(), Some(first), "{cell}: {told:?}");
    }
    // what could not be given back is tried again, and the second time nothing goes wrong
    let state = expected::state(outcome);
    until(&format!("{cell}: it is {state}"), || site.state(&cell, 2) == state).await;
    assert_eq!(site.is_one(&cell, &mut seen).await.as_deref(), Some("1.0.0"), "{cell}");
    assert_eq!(site.state(&cell, 2), state, "{cell}");
    let history = site.history(&cell).await;
    let entry = history.iter().find(|entry| entry.version == "2.0.0").unwrap_or_else(|| panic!("{cell}: no entry"));
    assert_eq!(entry.outcome, Some(outcome), "{cell}: {entry:?}");
    assert!(entry.reason.is_some() && entry.lost == 0, "{cell}: {entry:?}");
    let alarm = site.alarms.lock().unwrap().iter().any(|subject| subject.starts_with(&cell.label(2)));
    assert_eq!(alarm, first == Outcome::FailedToRestore, "{cell}: an alarm: {entry:?}");
    let kept = cell.kind.preserve || expected::keeps_migrations(cell.place, wrong);
    let own = cell.migrations(if kept { 2 } else { 1 }).count();
    assert_eq!(site.applied(&cell).await.len(), own, "{cell}: its migrations, kept {kept}");
    site.goes_on(&cell, &mut seen).await;
    site.goes(&cell, &mut seen).await;
}

async fn each(strategy: ActivationStrategy, way: Way) {
    let site = Site::new().await;
    let cells = sample::back(strategy, way, sample::size())
        .into_iter()
        .map(|cell| (cell.to_string(), taken_back(&site, way, cell)));
    each_of(cells, AT_ONCE).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gradual_activation_whose_way_back_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Gradual, Way::Step).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instant_activation_whose_way_back_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Instant, Way::Step).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_from_a_gradual_activation_that_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Gradual, Way::Trigger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_from_an_instant_activation_that_goes_wrong_anywhere_leaves_nothing_of_it() {
    each(ActivationStrategy::Instant, Way::Trigger).await;
}
