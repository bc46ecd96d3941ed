//! Texts in capitals and in small letters, a piece at a time: to look whether a `Σ` ends its word takes ten times as long as
//! any other letter, and a text may be full of them.

use rhai::{ImmutableString, Module};

use super::gates::{Checked, changing, charge, gate};

/// Letters of a piece.
const PIECE: usize = 4096;
/// Letters before and after a piece that may decide about a `Σ` in it, where it ends at no better place: what stands between it and the letters of its word, as
/// apostrophes and accents do. Unicode's [stream-safe format](https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format)
/// has thirty accents in a row at most.
const AROUND: usize = 32;
/// What a byte costs, in bytes that are only copied.
const COST: usize = 4;

/// A function from the capitals of a text to its small letters, or back.
type Change = fn(&str) -> String;

/// Adds all of them.
pub(super) fn add(module: &mut Module) {
    let changes: [(_, _, Change); 2] =
        [("to_lower", "make_lower", str::to_lowercase), ("to_upper", "make_upper", str::to_uppercase)];
    for (to, make, change) in changes {
        gate(to).set_into_module(module, move |text: &str| changed(text, PIECE, change));
        changing(make).set_into_module(module, move |text: &mut ImmutableString| -> Checked<()> {
            *text = changed(text, PIECE, change)?;
            Ok(())
        });
    }
}

fn changed(text: &str, piece: usize, change: Change) -> Checked<ImmutableString> {
    let mut whole = String::with_capacity(text.len());
    let mut start = 0;
    while start < text.len() {
        let end = cut(text, start, after(text, start, piece));
        charge((end - start) * COST)?;
        let (first, last) = (before(text, start, AROUND), after(text, end, AROUND));
        let seen = change(&text[first..last]);
        // neither form of a sigma is longer, so that what is around a piece has its own length
        let (head, tail) = (change(&text[first..start]).len(), change(&text[end..last]).len());
        whole.push_str(&seen[head..seen.len() - tail]);
        start = end;
    }
    Ok(whole.into())
}

/// The best place to end the piece from `start` to `end`: behind a letter, digit or space of ASCII, which decides about what is
/// around it whatever lies beyond.
fn cut(text: &str, start: usize, end: usize) -> usize {
    if end == text.len() {
        return end;
    }
    let decides = |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace();
    text.as_bytes()[start..end].iter().rposition(decides).map_or(end, |last| start + last + 1)
}

fn after(text: &str, from: usize, letters: usize) -> usize {
    text[from..].char_indices().nth(letters).map_or(text.len(), |(at, _)| from + at)
}

fn before(text: &str, from: usize, letters: usize) -> usize {
    text[..from].char_indices().rev().take(letters).last().map_or(from, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_as_the_whole(text in "[aAΣσ'ʰ\u{301} ßŉİΐ]{0,60}", piece in 1_usize..9) {
            let small = changed(&text, piece, str::to_lowercase).unwrap();
            let capital = changed(&text, piece, str::to_uppercase).unwrap();
            prop_assert_eq!(small.as_str(), &text.to_lowercase());
            prop_assert_eq!(capital.as_str(), &text.to_uppercase());
        }

        #[test]
        fn a_long_run_between_letters_decides_as_in_the_whole(
            words in proptest::collection::vec("aΣ{1,2}\\.{33,60}(b| )", 1..9),
        ) {
            let text = words.concat();
            let small = changed(&text, 100, str::to_lowercase).unwrap();
            prop_assert_eq!(small.as_str(), &text.to_lowercase());
        }

        #[test]
        fn any_text_in_pieces_is_as_the_whole(text in "\\PC{0,40}", piece in 1_usize..9) {
            let small = changed(&text, piece, str::to_lowercase).unwrap();
            let capital = changed(&text, piece, str::to_uppercase).unwrap();
            prop_assert_eq!(small.as_str(), &text.to_lowercase());
            prop_assert_eq!(capital.as_str(), &text.to_uppercase());
        }
    }
}
