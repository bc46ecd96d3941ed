//! What can stand at the cursor, from the definitions of the verbs and what the runtime has.

use clap::{Arg, Command};

use super::inventory::Inventory;
use super::words::Typed;
use values::Values;

mod place;
mod values;

pub(super) use place::Place;

#[cfg(test)]
mod tests;

/// Something that can stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The word.
    pub(super) value: String,
    /// What it is.
    pub(super) about: Option<String>,
    /// Whether the word is whole with it.
    pub(super) ends: bool,
}

impl Candidate {
    fn new(value: impl Into<String>, about: Option<String>) -> Self {
        Self { value: value.into(), about, ends: true }
    }
}

/// What completes a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// These, of which each starts with what is typed.
    Words(Vec<Candidate>),
    /// A path on this machine that starts with `typed`; a folder, unless `files` may stand there as well.
    Paths {
        /// What is typed of it.
        typed: String,
        /// Whether it may be a file.
        files: bool,
    },
}

/// What can replace the line from `start`, a byte's place, to the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Completion {
    /// Where the replaced text starts.
    pub(super) start: usize,
    /// What stands there instead.
    pub(super) offer: Offer,
}

/// Completes the word before the cursor. `line` ends there; `definition` is built.
pub(super) fn complete(definition: &Command, inventory: &Inventory, line: &str) -> Completion {
    let Typed { words, mut start, mut word } = Typed::new(line);
    let place = Place::after(definition, &words);
    let mut awaited = place.awaiting;
    if let Some((name, value)) = word.split_once('=')
        && let Some(arg) = place.option(name)
    {
        // quotes do not stand before the sign
        start += name.len() + 1;
        awaited = Some(arg);
        word = value.to_owned();
    }
    let offer = match awaited.or_else(|| place.positional()) {
        Some(arg) if awaited.is_some() || !word.starts_with('-') || place.ended => {
            Values { place: &place, inventory }.of(arg, &word)
        }
        _ => Offer::Words(names(&place, &word)),
    };
    Completion { start, offer }
}

/// The verbs or the options that can stand next.
fn names(place: &Place<'_>, word: &str) -> Vec<Candidate> {
    let verbs = place.verbs().map(|verb| Candidate::new(verb.get_name(), verb.get_about().map(ToString::to_string)));
    let options = place.options().filter_map(|arg| {
        let about = arg.get_help().map(ToString::to_string);
        Some(Candidate::new(format!("--{}", arg.get_long()?), about))
    });
    // options are offered where nothing else is, or when one is begun
    let options_too = word.starts_with('-') || place.verbs().next().is_none();
    let found = verbs.chain(options.filter(|_| options_too));
    found.filter(|candidate| candidate.value.starts_with(word)).collect()
}

/// What comes next in the line, in the words of its help; empty inside a word.
pub(super) fn next(definition: &Command, line: &str) -> String {
    let Typed { words, word, .. } = Typed::new(line);
    if !word.is_empty() || words.is_empty() {
        return String::new();
    }
    let place = Place::after(definition, &words);
    if let Some(arg) = place.awaiting {
        return place::value_name(arg);
    }
    let verb = place.verbs().next().map(|_| "COMMAND".to_owned());
    let positionals = place.positionals().map(|arg| shown(arg, place::value_name(arg)));
    let options = place.options().filter(|arg| !arg.is_global_set() && arg.get_id() != "help").filter_map(|arg| {
        let name = format!("--{}", arg.get_long()?);
        let takes = arg.get_action().takes_values();
        Some(shown(arg, if takes { format!("{name} {}", place::value_name(arg)) } else { name }))
    });
    verb.into_iter().chain(positionals).chain(options).collect::<Vec<_>>().join(" ")
}

fn shown(arg: &Arg, text: String) -> String {
    if arg.is_required_set() { text } else { format!("[{text}]") }
}
