//! Texts on their way into messages: as long and as they begin everywhere.

/// Bytes of a thrown message that are kept.
const MAX_MESSAGE: usize = 8 << 10;

/// Bytes of a name that a message quotes.
const MAX_QUOTE: usize = 64;

/// What is kept of a message that a script threw.
pub(crate) fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push('…');
    }
    message
}

/// The start of a script's text, to quote it.
pub(crate) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_QUOTE)]
}

/// What an engine says, beginning in lower case as messages here do.
pub(crate) fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}
