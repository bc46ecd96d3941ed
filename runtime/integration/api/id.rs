//! Request ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue};

use super::REQUEST_ID;
use crate::integration::chance;

/// Characters that a client's own id may have.
const MAX_ID: usize = 128;

/// Digits of the random part that all ids of a gateway share, and of the number that is each one's own.
const DIGITS: usize = 12;

/// One request's id, as text and as a header.
#[derive(Clone, Debug)]
pub(super) struct RequestId {
    /// For scripts and the log.
    pub(super) text: Arc<str>,
    /// For the answer.
    pub(super) header: HeaderValue,
}

/// Gives ids that no other runtime gives: a random prefix and a counter.
pub(super) struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        Self { prefix: chance::seed(), next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    /// The id that the client gave, if it is up to [`MAX_ID`] visible ASCII characters, else a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> RequestId {
        if let Some(header) = headers.get(&REQUEST_ID)
            && let Some(text) = sane(header)
        {
            return RequestId { text: text.into(), header: header.clone() };
        }
        let mut id = [b'-'; 2 * DIGITS + 1];
        hex(self.prefix, &mut id[..DIGITS]);
        hex(self.next.fetch_add(1, Ordering::Relaxed), &mut id[DIGITS + 1..]);
        let text = std::str::from_utf8(&id).unwrap_or("-");
        RequestId { text: text.into(), header: HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-")) }
    }
}

fn sane(header: &HeaderValue) -> Option<&str> {
    let visible = !header.is_empty() && header.len() <= MAX_ID && header.as_bytes().iter().all(u8::is_ascii_graphic);
    if visible { header.to_str().ok() } else { None }
}

/// The lowest digits of `number`.
fn hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &RequestIds, given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID.clone(), HeaderValue::from_bytes(given.as_bytes()).expect("a header value"));
        let id = ids.of(&headers);
        assert_eq!(id.header.as_bytes(), id.text.as_bytes());
        id.text.to_string()
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept_and_any_other_replaced() {
        let ids = RequestIds::default();
        let longest = "x".repeat(MAX_ID);
        for kept in ["a", "trace/1:2", &longest] {
            assert_eq!(of(&ids, kept), kept);
        }
        for replaced in ["", "a b", "é", "a\tb", &"x".repeat(MAX_ID + 1)] {
            assert_ne!(of(&ids, replaced), replaced);
        }
    }

    #[test]
    fn ids_differ_within_a_runtime_and_between_two() {
        let (one, other) = (RequestIds::default(), RequestIds::default());
        let none = HeaderMap::new();
        let mut all: Vec<_> = (0..100).flat_map(|_| [one.of(&none).text, other.of(&none).text]).collect();
        assert!(all.iter().all(|id| id.len() == 2 * DIGITS + 1));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 200);
    }
}
