//! Which cells are run: each place meets each fault, in one language and with data kept or undone, or in all four ways.
//!
//! The two change from fault to fault and from place to place, and are turned round where the same is done to a first and to a
//! newer version, and in the two ways back. Places are counted in one list for both.

use super::back::Way;
use super::process::What;
use super::*;
use crate::engine::expected::Command;

/// How many of the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// What a change must pass.
    Landing,
    Whole,
}

/// What this run is asked for.
pub(super) fn size() -> Size {
    if std::env::var_os("REPLUG_MATRIX").is_some() { Size::Whole } else { Size::Landing }
}

const LANGUAGES: [Language; 2] = [Language::Lua, Language::Rhai];

/// The languages, and whether data is kept, of the fault of this number at the place of that.
fn variants((place, fault): (usize, usize), in_turn: bool, is_scripts: bool, size: Size) -> Vec<(Language, bool)> {
    if size == Size::Whole {
        return LANGUAGES.into_iter().flat_map(|language| [(language, false), (language, true)]).collect();
    }
    // four faults of a place meet all four combinations; where it has one fault, four places do
    let language = LANGUAGES[(place + fault + usize::from(in_turn)) % 2];
    let preserve = (place / 2 + fault.div_ceil(2) + usize::from(in_turn)) % 2 == 1;
    let other = LANGUAGES.into_iter().find(|other| *other != language).filter(|_| is_scripts);
    [Some((language, preserve)), other.map(|other| (other, !preserve))].into_iter().flatten().collect()
}

/// The cells of one activation, or of one way back: what may go wrong at each place, where `all` are the places that are counted.
fn cells(
    (strategy, first): (ActivationStrategy, bool),
    (all, wrongs): (&[Place], impl Fn(Place) -> Vec<Option<Wrong>>),
    in_turn: bool,
    size: Size,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (number, place) in all.iter().enumerate() {
        for (fault, wrong) in wrongs(*place).into_iter().enumerate() {
            let is_scripts = matches!(wrong, Some(Wrong::Throw | Wrong::Loop | Wrong::Statement));
            for (language, preserve) in variants((number, fault), in_turn, is_scripts, size) {
                // where data is kept, no migration is taken back
                let takes_back = *place == ("rollback", When::Inside);
                if preserve && takes_back && size == Size::Whole {
                    continue;
                }
                let preserve = preserve && !takes_back;
                let (id, kind) = (format!("x{}", cells.len()), Kind { strategy, first, language, preserve });
                cells.push(Cell { id, kind, place: *place, wrong });
            }
        }
    }
    cells
}

/// The cells of an activation.
pub(super) fn forward(strategy: ActivationStrategy, first: bool, size: Size) -> Vec<Cell> {
    let (all, own) = (super::forward::places(strategy, false), super::forward::places(strategy, first));
    let wrongs = |place| {
        let wrongs = super::forward::wrongs(place).into_iter().filter(|_| own.contains(&place));
        wrongs.map(Some).collect()
    };
    cells((strategy, first), (&all, wrongs), first, size)
}

/// The cells of a way back.
pub(super) fn back(strategy: ActivationStrategy, way: Way, size: Size) -> Vec<Cell> {
    let wrongs = |place| super::back::wrongs(place).map(Some).collect();
    cells((strategy, false), (&super::back::places(strategy), wrongs), way == Way::Trigger, size)
}

/// The cells of a command that is given while 2.0.0 is provisional.
pub(super) fn given(command: Command, size: Size) -> Vec<Cell> {
    let (before, after) = command.places();
    let all: Vec<Place> = before.into_iter().chain(after).collect();
    let wrongs = |place| expected::of_command(place).into_iter().map(Some).collect();
    cells((ActivationStrategy::Gradual, false), (&all, wrongs), false, size)
}

/// The cells in which the process ends.
pub(super) fn exits(what: What, strategy: ActivationStrategy, first: bool, size: Size) -> Vec<Cell> {
    let own: Vec<Place> = super::process::places(what, strategy, first).into_iter().map(|(place, _)| place).collect();
    let all: Vec<Place> = super::process::places(what, strategy, false).into_iter().map(|(place, _)| place).collect();
    let wrongs = |place| if own.contains(&place) { vec![None] } else { Vec::new() };
    cells((strategy, first), (&all, wrongs), first || what == What::Back(Way::Trigger), size)
}

mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const STRATEGIES: [ActivationStrategy; 2] = [ActivationStrategy::Gradual, ActivationStrategy::Instant];

    /// The languages in which these cells are run, and with data kept or undone.
    fn met<'a>(cells: impl Iterator<Item = &'a Cell>) -> (usize, usize) {
        let (mut languages, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for cell in cells {
            languages.insert(format!("{:?}", cell.kind.language));
            kept.insert(cell.kind.preserve);
        }
        (languages.len(), kept.len())
    }

    fn of(cells: &[Cell], place: Place, wrong: Option<Wrong>) -> impl Iterator<Item = &Cell> {
        cells.iter().filter(move |cell| cell.place == place && (wrong.is_none() || cell.wrong == wrong))
    }

    #[test]
    fn each_fault_meets_each_place_of_an_activation_and_each_place_both_languages() {
        for strategy in STRATEGIES {
            let mut both = Vec::new();
            for first in [false, true] {
                let cells = forward(strategy, first, Size::Landing);
                for place in crate::app::tests::forward::places(strategy, first) {
                    assert_eq!(met(of(&cells, place, None)), (2, 2), "{strategy:?}, first {first}: {place:?}");
                    for wrong in crate::app::tests::forward::wrongs(place) {
                        let met = met(of(&cells, place, Some(wrong)));
                        let scripted = matches!(wrong, Wrong::Throw | Wrong::Loop | Wrong::Statement);
                        let expected = if scripted { (2, 2) } else { (1, 1) };
                        assert_eq!(met, expected, "{strategy:?}, first {first}: {place:?}, {wrong:?}");
                    }
                }
                both.extend(cells);
            }
            // what is done to both meets both languages, with data kept and undone
            for place in crate::app::tests::forward::places(strategy, true) {
                for wrong in crate::app::tests::forward::wrongs(place) {
                    assert_eq!(met(of(&both, place, Some(wrong))), (2, 2), "{strategy:?}: {place:?}, {wrong:?}");
                }
            }
        }
    }

    #[test]
    fn each_fault_meets_each_place_of_the_ways_back_and_each_place_both_languages_and_both_ends_of_data() {
        for strategy in STRATEGIES {
            let mut both = Vec::new();
            let kept = |place| if place == ("rollback", When::Inside) { 1 } else { 2 };
            for way in [Way::Step, Way::Trigger] {
                let cells = back(strategy, way, Size::Landing);
                for place in crate::app::tests::back::places(strategy) {
                    assert_eq!(met(of(&cells, place, None)), (2, kept(place)), "{strategy:?}, {way:?}: {place:?}");
                    for wrong in crate::app::tests::back::wrongs(place) {
                        assert_eq!(
                            met(of(&cells, place, Some(wrong))),
                            (1, 1),
                            "{strategy:?}, {way:?}: {place:?}, {wrong:?}"
                        );
                    }
                }
                both.extend(cells);
            }
            for place in crate::app::tests::back::places(strategy) {
                for wrong in crate::app::tests::back::wrongs(place) {
                    assert_eq!(
                        met(of(&both, place, Some(wrong))),
                        (2, kept(place)),
                        "{strategy:?}: {place:?}, {wrong:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn each_end_of_the_process_meets_both_languages() {
        for strategy in STRATEGIES {
            let activations = [false, true].map(|first| exits(What::Activation, strategy, first, Size::Landing));
            for place in crate::app::tests::forward::places(strategy, true) {
                assert_eq!(met(of(&activations.concat(), place, None)), (2, 2), "{strategy:?}: {place:?}");
            }
            let ways = [Way::Step, Way::Trigger].map(|way| exits(What::Back(way), strategy, false, Size::Landing));
            for place in crate::app::tests::back::places(strategy) {
                let kept = if place == ("rollback", When::Inside) { 1 } else { 2 };
                assert_eq!(met(of(&ways.concat(), place, None)), (2, kept), "{strategy:?}: {place:?}");
            }
        }
    }

    #[test]
    fn the_whole_matrix_is_the_landing_one_in_both_languages_with_data_kept_and_undone() {
        for strategy in STRATEGIES {
            for first in [false, true] {
                for cell in forward(strategy, first, Size::Landing) {
                    let whole = forward(strategy, first, Size::Whole);
                    let count = of(&whole, cell.place, cell.wrong).count();
                    assert_eq!(count, 4, "{cell}");
                }
            }
        }
    }
}
