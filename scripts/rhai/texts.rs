//! Functions on parts of texts. The crate's put their letters together one by one, which takes a hundred times as long.

use std::ops::{Range, RangeInclusive};

use rhai::{ImmutableString, Module};

use super::gates::{Checked, changing, charge, gate};

/// Adds all of them.
pub(super) fn add(module: &mut Module) {
    changing("crop").set_into_module(module, crop);
    changing("crop").set_into_module(module, |text: &mut ImmutableString, range: Range<i64>| {
        let (start, length) = span(range.start, range.end);
        crop(text, start, length)
    });
    changing("crop").set_into_module(module, |text: &mut ImmutableString, range: RangeInclusive<i64>| {
        let (start, length) = span(*range.start(), range.end().saturating_add(1));
        crop(text, start, length)
    });
    gate("sub_string").set_into_module(module, sub_string);
    gate("sub_string").set_into_module(module, |text: &str, start: i64| sub_string(text, start, i64::MAX));
    gate("sub_string").set_into_module(module, |text: &str, range: Range<i64>| {
        let (start, length) = span(range.start, range.end);
        sub_string(text, start, length)
    });
    gate("sub_string").set_into_module(module, |text: &str, range: RangeInclusive<i64>| {
        let (start, length) = span(*range.start(), range.end().saturating_add(1));
        sub_string(text, start, length)
    });
    changing("pop").set_into_module(module, |text: &mut ImmutableString, length: i64| -> Checked<ImmutableString> {
        charge(text.len())?;
        let length = usize::try_from(length).unwrap_or(0);
        let begin = length.checked_sub(1).map(|last| text.char_indices().rev().nth(last).map_or(0, |(at, _)| at));
        let (rest, end) = text.split_at(begin.unwrap_or(text.len()));
        let (rest, end) = (ImmutableString::from(rest), end.into());
        *text = rest;
        Ok(end)
    });
    changing("set").set_into_module(module, |text: &mut ImmutableString, index: i64, letter: char| -> Checked<()> {
        charge(text.len())?;
        let part = part(text, index, 1);
        // an index before the first letter is none
        let counted = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
        if part.is_empty() || (index < 0 && counted > text.chars().count()) {
            return Ok(());
        }
        let mut changed = String::with_capacity(text.len() + letter.len_utf8());
        changed.push_str(&text[..part.start]);
        changed.push(letter);
        changed.push_str(&text[part.end..]);
        *text = changed.into();
        Ok(())
    });
}

fn crop(text: &mut ImmutableString, start: i64, length: i64) -> Checked<()> {
    *text = sub_string(text, start, length)?;
    Ok(())
}

fn sub_string(text: &str, start: i64, length: i64) -> Checked<ImmutableString> {
    charge(text.len())?;
    Ok(text[part(text, start, length)].into())
}

/// A range as a start and a length, in letters; what is before the first letter is none.
fn span(start: i64, end: i64) -> (i64, i64) {
    let start = start.max(0);
    (start, end.saturating_sub(start))
}

/// The bytes of `length` letters from `start`, which counts from the end where it is negative.
fn part(text: &str, start: i64, length: i64) -> Range<usize> {
    let place =
        |letters: usize, from: usize| text[from..].char_indices().nth(letters).map_or(text.len(), |(at, _)| from + at);
    let counted = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
    let begin =
        if start >= 0 { place(counted, 0) } else { text.char_indices().rev().nth(counted - 1).map_or(0, |(at, _)| at) };
    begin..place(usize::try_from(length).unwrap_or(0), begin)
}
