//! A set of two that goes wrong before, inside and after each step of either member, at the commit of both, and between their
//! ends: both members are on the new side or both on the old one, and what is told of each is true.

use super::super::expected::Told;
use super::*;
use crate::engine::HistoryEntry;
use crate::engine::outcome::StepOutcome;

mod back;
mod exits;
mod writes;

/// Two modules that take over as one. The second needs the first one in its own version, so it begins after it.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    both: [Cell; 2],
    /// Which of them goes wrong.
    at: usize,
}

/// What the members of a pair are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape([Kind; 2]);

/// Both had a version before.
const NEWER: Shape = Shape([Kind::of(ActivationStrategy::Gradual); 2]);

/// The second one is new, and of another language where there is one.
const MIXED: Shape = Shape([
    Kind::of(ActivationStrategy::Gradual),
    Kind { first: true, language: OTHER, ..Kind::of(ActivationStrategy::Gradual) },
]);

/// The first one is new, which the second one needs.
const GROWN: Shape = Shape([
    Kind { first: true, language: OTHER, ..Kind::of(ActivationStrategy::Gradual) },
    Kind::of(ActivationStrategy::Gradual),
]);

#[cfg(feature = "rhai")]
const OTHER: Language = Language::Rhai;
#[cfg(not(feature = "rhai"))]
const OTHER: Language = Language::Lua;

impl Pair {
    fn new(shape: Shape, at: usize, place: Place, wrong: impl Into<Option<Wrong>>) -> Self {
        let (name, wrong): (_, Option<Wrong>) = (Cell::new(shape.0[0], place, None).id, wrong.into());
        let of = |n: usize| Cell { id: format!("{name}{}", ["a", "b"][n]), ..Cell::new(shape.0[n], place, wrong) };
        Self { both: [of(0), of(1)], at }
    }

    /// The one that goes wrong.
    fn wrong(&self) -> &Cell {
        &self.both[self.at]
    }

    fn other(&self) -> &Cell {
        &self.both[1 - self.at]
    }

    /// What each serves before the set.
    fn before(&self) -> [Option<&'static str>; 2] {
        self.both.each_ref().map(|cell| (!cell.kind.first).then_some("1.0.0"))
    }

    fn members(&self, major: u64) -> Vec<(String, Version)> {
        self.both.iter().map(|cell| (cell.id.clone(), Version::new(major, 0, 0))).collect()
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "set/{}/{}", ["first", "second"][self.at], self.wrong())
    }
}

/// How many pairs go side by side: most of them wait for a time to pass.
const PAIRS_AT_ONCE: usize = 6;

/// The places of a member's way forward.
fn places(kind: Kind) -> Vec<Place> {
    // nothing is shifted, as for one that has no version before it
    let mut places = super::forward::places(Kind { first: true, ..kind });
    places.extend(super::forward::ENDS);
    places
}

/// Cells for each place of each member. What goes wrong there takes turns, beginning with `turn`: what an error, a panic and a hang
/// do to one module is the matter of its own matrix, and here each place of the way meets each of them in one member or the other.
fn pairs(shape: Shape, turn: usize) -> Vec<Pair> {
    let of = |(at, (n, place)): (usize, (usize, Place))| {
        let in_script = matches!(place, ("init" | "warmup" | "health", When::Inside));
        let wrong = match place.0 {
            // what is asked of the coordinator is asked of the store, where a hang is a disk's
            "commit" => WRONGS[(at + turn) % 2],
            // between two steps nothing can give an error
            "close" => Wrong::Panic,
            _ => WRONGS[(n + at + turn) % WRONGS.len()],
        };
        let script = in_script.then_some([Wrong::Throw, Wrong::Loop][(at + turn) % 2]);
        [Some(wrong), script].into_iter().flatten().map(move |wrong| Pair::new(shape, at, place, wrong))
    };
    let all = (0..2).flat_map(|at| places(shape.0[at]).into_iter().enumerate().map(move |place| (at, place)));
    all.flat_map(of).collect()
}

impl World {
    async fn set_up_both(&self, pair: &Pair) {
        let [first, second] = &pair.both;
        let needs = |version: &str| match version {
            "1.0.0" => String::new(),
            version => format!("dependencies: [{{ id: {}, version: ^{version} }}]\n", first.id),
        };
        self.set_up(first).await;
        self.set_up_with(second, needs).await;
    }

    fn arm_pair(&self, pair: &Pair, skip: usize, act: Act) {
        let cell = pair.wrong();
        if cell.place.0 == "health" {
            // it is asked for the traffic too, and this is about what is found once it serves
            self.arm(cell, ("verify", When::Before), 0, Act::Then("health", Box::new(act)));
        } else {
            self.arm(cell, cell.place, skip, act);
        }
    }

    async fn take_over(&self, pair: &Pair, major: u64) -> Told {
        let members = pair.members(major);
        let set = self.engine.activate_set(&members, None);
        let ended = tokio::time::timeout(Duration::from_secs(30), set).await;
        Told::from(ended.unwrap_or_else(|_| panic!("{pair}: it never ends")))
    }

    /// Both are provisional as one.
    async fn joined_pair(&self, pair: &Pair) {
        let told = self.take_over(pair, 2).await;
        assert_eq!(told.outcome(), Some(Outcome::Provisional), "{pair}: {told:?}");
    }

    /// What both serve, each of them alone and the same everywhere.
    async fn sides(&self, pair: &Pair) -> [Option<String>; 2] {
        [self.is_one(&pair.both[0]).await, self.is_one(&pair.both[1]).await]
    }

    async fn are(&self, pair: &Pair, expected: [Option<&str>; 2], when: &str) {
        assert_eq!(self.sides(pair).await.each_ref().map(Option::as_deref), expected, "{pair}{when}");
    }

    /// The newest entries of both about 2.0.0.
    async fn entries(&self, pair: &Pair) -> [Option<HistoryEntry>; 2] {
        [self.entry(&pair.both[0]).await, self.entry(&pair.both[1]).await]
    }

    /// Neither is wedged: good versions take over as one, and everything of the others goes.
    async fn both_go_on(&self, pair: &Pair) {
        for cell in &pair.both {
            self.engine.shared.probe.disarm(&cell.id);
        }
        if let [Some(_), Some(_)] = self.provisional_of(pair) {
            self.engine.confirm(&pair.both[0].id).await.unwrap_or_else(|error| panic!("{pair}: {error}"));
        }
        let told = self.take_over(pair, 3).await;
        assert_eq!(told.outcome(), Some(Outcome::Provisional), "{pair}: {told:?}");
        self.engine.confirm(&pair.both[1].id).await.unwrap_or_else(|error| panic!("{pair}: {error}"));
        for cell in &pair.both {
            self.is_swept(cell).await;
        }
        self.are(pair, [Some("3.0.0"); 2], "").await;
        for cell in &pair.both {
            assert_eq!(self.tables(&cell.id), cell.kind.migrations(), "{pair}");
        }
    }

    fn provisional_of(&self, pair: &Pair) -> [Option<String>; 2] {
        pair.both.each_ref().map(|cell| {
            let slot = self.engine.shared.board.slot(&cell.id);
            slot.state
                .serving
                .filter(|_| slot.record.is_some_and(|it| it.provisional.is_some()))?
                .version
                .to_string()
                .into()
        })
    }

    /// The checks after an activation of both that was broken.
    async fn both_are_true(&self, pair: &Pair, told: &Told, alarms: &[(String, String)]) {
        let sides = self.sides(pair).await;
        let sides = sides.each_ref().map(Option::as_deref);
        let entries = self.entries(pair).await;
        let Told::Report(report) = told else {
            let Told::Refused(reason) = told else { panic!("{pair}: it was told nothing") };
            assert!(!reason.is_empty() && entries == [None, None], "{pair}: {reason}, {entries:?}");
            return assert_eq!(sides, pair.before(), "{pair}");
        };
        let outcomes = [report.outcome, report.set[0].outcome];
        let of_pair = |it: &&(String, String)| pair.both.iter().any(|cell| it.0.starts_with(&*cell.id));
        if report.serves() {
            assert_eq!((sides, outcomes), ([Some("2.0.0"); 2], [Outcome::Provisional; 2]), "{pair}: {report:?}");
            for (cell, entry) in pair.both.iter().zip(&entries) {
                let outcome = entry.as_ref().and_then(|entry| entry.outcome);
                assert_eq!(
                    (outcome, self.state(&cell.label(2))),
                    (Some(Outcome::Provisional), State::Provisional),
                    "{pair}"
                );
                assert_eq!(self.tables(&cell.id), cell.kind.migrations(), "{pair}");
            }
            return assert_eq!(alarms.iter().find(of_pair), None, "{pair}: {report:?}");
        }
        assert_eq!((sides, outcomes), (pair.before(), [Outcome::RolledBack; 2]), "{pair}: {report:?}");
        assert_eq!(alarms.iter().find(of_pair), None, "{pair}: it was taken back: {report:?}");
        for (cell, entry) in pair.both.iter().zip(&entries) {
            assert_eq!(self.tables(&cell.id), [""; 0], "{pair}: what it made of the schema is taken back");
            let Some(entry) = entry else {
                assert_eq!(self.state(&cell.label(2)), State::Registered, "{pair}: it had not begun");
                continue;
            };
            assert_eq!(
                (entry.outcome, self.state(&cell.label(2))),
                (Some(Outcome::RolledBack), State::Failed),
                "{pair}"
            );
            self.explains(pair, entry);
            let is_open = entry.steps.iter().any(|step| step.outcome.is_none());
            assert!(!is_open && entry.set.len() == 2, "{pair}: {entry:?}");
        }
        let entry = entries[pair.at].as_ref().unwrap_or_else(|| panic!("{pair}: no entry: {report:?}"));
        let failed = entry.steps.iter().filter(|step| step.outcome == Some(StepOutcome::Failed));
        let failed: Vec<_> = failed.map(|step| &*step.name).collect();
        // what came too late is noticed by what comes next, and what is not within a step has none
        if pair.wrong().wrong != Some(Wrong::Hang) && pair.wrong().place.0 != "close" {
            assert_eq!(failed, [pair.wrong().step()], "{pair}: {entry:?}");
        }
    }

    /// The reason is the same for both, and names the step and, but for the one of both, the member.
    fn explains(&self, pair: &Pair, entry: &HistoryEntry) {
        let reason = entry.reason.as_deref().unwrap_or_default();
        let cell = pair.wrong();
        if cell.wrong == Some(Wrong::Hang) || cell.place.0 == "close" {
            return assert!(!reason.is_empty(), "{pair}: {entry:?}");
        }
        let names = cell.step() == "activate" || reason.contains(&cell.label(2));
        assert!(names && reason.contains(cell.step()), "{pair}: {entry:?}");
    }
}

async fn taken_over(world: &World, pair: Pair) -> (Pair, bool) {
    let mut events = world.events.subscribe();
    world.set_up_both(&pair).await;
    let cell = pair.wrong();
    world.arm_pair(&pair, 0, cell.wrong.unwrap().act(cell.place.1, TIME));
    let told = world.take_over(&pair, 2).await;
    assert!(world.met(cell, cell.place), "{pair}: nothing came there: {told:?}");
    let mut seen = Vec::new();
    check::alarms(&mut events, &mut seen);
    let end = expected::forward_of_set(cell.kind.strategy, cell.place, cell.wrong.unwrap());
    assert_eq!(told.outcome(), end.outcome(false), "{pair}: {told:?}");
    world.both_are_true(&pair, &told, &seen).await;
    let serves = told.outcome().is_some_and(Outcome::serves);
    (pair, serves)
}

async fn each(shape: Shape, turn: usize) {
    let world = World::new().await;
    let pairs = pairs(shape, turn).into_iter().map(|pair| (pair.to_string(), taken_over(&world, pair)));
    let all = each_of(pairs, PAIRS_AT_ONCE).await;
    // what is not confirmed is returned from by a restart
    let killed = world.killed().await;
    killed.engine.resume().await;
    for (pair, _) in &all {
        killed.are(pair, pair.before(), ", after a restart").await;
    }
    killed.engine.stop(Duration::from_secs(5)).await;
    each_of(all.iter().map(|(pair, _)| (pair.to_string(), world.both_go_on(pair))), PAIRS_AT_ONCE).await;
    let cells: Vec<Cell> = all.into_iter().flat_map(|(pair, _)| pair.both).collect();
    world.ends(&cells).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_goes_wrong_anywhere_leaves_all_on_one_side() {
    each(NEWER, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_with_a_first_version_that_goes_wrong_anywhere_leaves_all_on_one_side() {
    each(MIXED, 1).await;
}
