//! Server-sent events as they arrive.

use std::time::Duration;

use reqwest::Response;

/// The server sends a comment every 15 s, so after this long it is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// The longest line that is read: an event is far shorter.
const MAX_LINE: usize = 1024 * 1024;

/// The documents of a stream of events.
pub(super) struct Messages {
    response: Response,
    lines: Lines,
}

impl Messages {
    pub(super) fn new(response: Response) -> Self {
        Self { response, lines: Lines::default() }
    }

    /// The next event's document. `None`: the stream ended. `Err` says why it broke off.
    pub(super) async fn next(&mut self) -> Result<Option<String>, &'static str> {
        loop {
            if let Some(document) = self.lines.next()? {
                return Ok(Some(document));
            }
            match tokio::time::timeout(SILENCE, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.lines.rest.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(_)) => return Err("broke the connection off"),
                Err(_) => return Err("says nothing any more"),
            }
        }
    }
}

/// The lines of a stream, of which only an event's data are of interest: the document in them has its name too.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    data: Option<String>,
}

impl Lines {
    /// The document of the next event that has arrived as a whole.
    fn next(&mut self) -> Result<Option<String>, &'static str> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if let Some(data) = line.strip_prefix("data:") {
                let data = data.strip_prefix(' ').unwrap_or(data);
                match &mut self.data {
                    Some(before) => *before = format!("{before}\n{data}"),
                    before => *before = Some(data.to_owned()),
                }
            } else if line.is_empty()
                && let Some(document) = self.data.take()
            {
                return Ok(Some(document));
            }
        }
        if self.rest.len() > MAX_LINE { Err("sends what are no events") } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut_into_pieces() {
        let text = ": hello\n\nevent: a\nid: 1\ndata: {\"x\":\"\u{e9}\"}\n\n:\n\nid: 2\r\ndata:one\r\ndata: two\r\n\r\ndata: unfinished\n";
        for size in 1..=text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                lines.rest.extend_from_slice(piece);
                while let Some(document) = lines.next().unwrap() {
                    found.push(document);
                }
            }
            assert_eq!(found, ["{\"x\":\"\u{e9}\"}", "one\ntwo"], "pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut lines = Lines { rest: vec![b'x'; MAX_LINE + 1], data: None };
        assert!(lines.next().is_err());
    }
}
