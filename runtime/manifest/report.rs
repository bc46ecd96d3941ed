//! Where faults are gathered while a manifest is read.

use super::{Fault, MAX_FAULTS, Place};

/// How many comparisons "did you mean" gets in one manifest: they cost far more than the rest of a check.
const MAX_COMPARISONS: usize = 10_000;

/// The longest word that is compared, in bytes.
const MAX_WORD: usize = 64;

/// The faults and warnings of one manifest.
#[derive(Debug)]
pub(super) struct Report<'f> {
    file: &'f str,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    comparisons: usize,
}

impl<'f> Report<'f> {
    pub(super) fn new(file: &'f str) -> Self {
        Self { file, faults: Vec::new(), warnings: Vec::new(), comparisons: 0 }
    }

    /// Adds a fault.
    pub(super) fn fault(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        let fault = self.note(place, message.into(), help);
        self.faults.push(fault);
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, place: Place, message: impl Into<String>, help: Option<String>) {
        let warning = self.note(place, message.into(), help);
        self.warnings.push(warning);
    }

    fn note(&self, place: Place, message: String, help: Option<String>) -> Fault {
        Fault { file: self.file.to_owned(), line: place.line, column: place.column, message, help }
    }

    /// How many faults there are so far.
    pub(super) fn count(&self) -> usize {
        self.faults.len()
    }

    /// "did you mean" for `word`, if one of `known` is near enough and the manifest's comparisons are not used up.
    pub(super) fn suggest<'k>(&mut self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
        let left = MAX_COMPARISONS.saturating_sub(self.comparisons);
        let compared = &mut self.comparisons;
        let known = known.into_iter().take(left).inspect(|_| *compared += 1);
        nearest(word, known).map(|name| format!("did you mean `{name}`?"))
    }

    /// The faults and the warnings, each in the order of the text and bounded.
    pub(super) fn finish(self) -> (Vec<Fault>, Vec<Fault>) {
        (in_order(self.faults, self.file, "faults"), in_order(self.warnings, self.file, "warnings"))
    }
}

/// Sorts by place and keeps the first [`MAX_FAULTS`], with a last one that says how many were left out.
pub(super) fn in_order(mut faults: Vec<Fault>, file: &str, what: &str) -> Vec<Fault> {
    faults.sort_by_key(Fault::place);
    let more = faults.len().saturating_sub(MAX_FAULTS);
    if more > 0 {
        faults.truncate(MAX_FAULTS);
        let Place { line, column } = faults.last().map_or(Place::START, Fault::place);
        let message = format!("{more} more {what} are not shown");
        faults.push(Fault { file: file.to_owned(), line, column, message, help: None });
    }
    faults
}

/// The one of `known` that is nearest to `word`, capitals not counted: at most a third of it and three characters differ, or
/// one of the two begins or ends with the other.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).min(3);
    let far = |name: &str| {
        let name = name.to_lowercase();
        let (long, short) = if name.len() > word.len() { (&name, &word) } else { (&word, &name) };
        let part = short.len() >= 3 && (long.starts_with(short.as_str()) || long.ends_with(short.as_str()));
        // A part is as far as the farthest that counts, so that a mere slip wins over it.
        Some(strsim::osa_distance(&word, &name)).filter(|far| *far <= allowed).or(part.then_some(allowed))
    };
    let near = known.into_iter().filter(|name| name.len() <= 2 * MAX_WORD);
    near.filter_map(|name| Some((far(name)?, name))).min_by_key(|(far, _)| *far).map(|(_, name)| name)
}
