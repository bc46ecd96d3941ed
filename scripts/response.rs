//! From what a handler answered to an HTTP response: the checks and defaults that both languages share.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::api::{Response, Stream};
use crate::error::ScriptError;
use crate::host::{Exports, Handler};
use crate::json;
use crate::message::clip;
use crate::streamed::MAX_STATE;
use crate::value::Value;

/// How many headers one answer may set.
const MAX_HEADERS: usize = 128;

/// How many bytes the names and values of those headers may have together.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Headers that belong to the connection or to the runtime, never to a script (RFC 9110, section 7.6.1).
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];

/// The prefix of the runtime's own headers.
const RESERVED_PREFIX: &str = "x-replug-";

/// A body as a script gave it; what it is decides the default content type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Body {
    /// None was given.
    #[default]
    Empty,
    /// Bytes that are not text: `application/octet-stream`.
    Bytes(Bytes),
    /// A string: `text/html` of a page, else `text/plain`.
    Text(String),
    /// A table or map, already written as JSON.
    Json(Vec<u8>),
}

impl Body {
    /// A table or map that has crossed.
    ///
    /// # Errors
    /// [`ScriptError::Contract`] when JSON cannot say it, or only in more bytes than the VM may have.
    pub(crate) fn json(value: &Value, handler: &Handler) -> Result<Self, ScriptError> {
        match json::encode(value) {
            Ok(json) => Ok(Self::Json(json)),
            Err(error) => Err(refused(handler, &format!("a body that is no JSON: {error}"))),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => Bytes::from(text),
            Self::Json(json) => Bytes::from(json),
        }
    }

    fn content_type(&self, handler: &Handler) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Bytes(_) => Some("application/octet-stream"),
            Self::Text(_) if matches!(handler, Handler::Page(_)) => Some("text/html; charset=utf-8"),
            Self::Text(_) => Some("text/plain; charset=utf-8"),
            Self::Json(_) => Some("application/json"),
        }
    }
}

/// What the headers of an answer may still take: asked before one is copied, which a script may name a thousand times.
#[derive(Default)]
pub(crate) struct HeaderRoom {
    count: usize,
    bytes: usize,
}

impl HeaderRoom {
    /// Takes a header whose name and value have `bytes`.
    ///
    /// # Errors
    /// [`ScriptError::Contract`]: there are too many, or they are too long.
    pub(crate) fn take(&mut self, bytes: usize, handler: &Handler) -> Result<(), ScriptError> {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.count > MAX_HEADERS {
            return Err(refused(handler, &format!("more than {MAX_HEADERS} headers; at most as many are allowed")));
        }
        if self.bytes > MAX_HEADER_BYTES {
            let (found, most) = (self.bytes, MAX_HEADER_BYTES);
            return Err(refused(handler, &format!("{found} bytes of headers or more; at most {most} are allowed")));
        }
        Ok(())
    }
}

/// An answer as a script gave it, unchecked. A header with several values stands in the list once for each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Draft {
    /// The status; 200 where none was given.
    pub(crate) status: Option<i64>,
    /// Header names, in any case, with their values.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Body,
    /// What takes its place.
    pub(crate) stream: Option<Stream>,
}

impl Draft {
    /// Checks the answer of `handler` and adds the default content type.
    ///
    /// # Errors
    /// [`ScriptError::Contract`] for a status outside 200 to 599, a body where the status allows none, a header that
    /// HTTP refuses, that is reserved, or that stands twice (only `set-cookie` may), and for too many of them; for a stream that
    /// the script does not have, that stands beside a body, or that is not an api's.
    pub(crate) fn finish(self, handler: &Handler, exports: &Exports) -> Result<Response, ScriptError> {
        let Self { status, headers, body, stream } = self;
        let status = checked_status(status.unwrap_or(200), handler)?;
        let mut headers = checked_headers(headers, handler)?;
        if let Some(stream) = stream {
            check_stream(&stream, (status, &body), handler, exports)?;
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
            return Ok(Response { status, headers, body: Bytes::new(), stream: Some(Box::new(stream)) });
        }
        let content_type = body.content_type(handler);
        let bytes = body.into_bytes();
        if has_no_body(status) {
            if !bytes.is_empty() {
                return Err(refused(handler, &format!("a body with status {}, which has none", status.as_u16())));
            }
        } else if let Some(default) = content_type {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(default));
        }
        Ok(Response { status, headers, body: bytes, stream: None })
    }
}

const fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

fn check_stream(
    stream: &Stream,
    (status, body): (StatusCode, &Body),
    handler: &Handler,
    exports: &Exports,
) -> Result<(), ScriptError> {
    let name = clip(&stream.name);
    let fault = if !matches!(handler, Handler::Api(_)) {
        format!("the stream {name:?}; only an api may stream")
    } else if !exports.has(&Handler::Stream(stream.name.clone())) {
        format!("the stream {name:?}, but the entry script has no streams[{name:?}]")
    } else if *body != Body::Empty {
        format!("a body and the stream {name:?}; let the stream's first call give what comes first")
    } else if has_no_body(status) {
        format!("a stream with status {}, which has no body", status.as_u16())
    } else if stream.state.size() > MAX_STATE {
        format!("a state of {} bytes for the stream {name:?}; at most {MAX_STATE} are allowed", stream.state.size())
    } else {
        return Ok(());
    };
    Err(refused(handler, &fault))
}

/// The problem that a script threw as `{status, title, detail}`; `None` when the status is not 400 to 599. Without a
/// title the status gives it.
pub(crate) fn problem_from(status: i64, title: Option<String>, detail: Option<String>) -> Option<ScriptError> {
    let status = u16::try_from(status).ok().filter(|status| (400..=599).contains(status))?;
    let title = title.unwrap_or_else(|| {
        let known = StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
        known.unwrap_or("Error").to_owned()
    });
    Some(ScriptError::Problem { status, title, detail: detail.unwrap_or_default() })
}

fn checked_status(status: i64, handler: &Handler) -> Result<StatusCode, ScriptError> {
    u16::try_from(status)
        .ok()
        .filter(|status| (200..=599).contains(status))
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| refused(handler, &format!("the status {status}; it must be 200 to 599")))
}

fn checked_headers(given: Vec<(String, String)>, handler: &Handler) -> Result<HeaderMap, ScriptError> {
    let mut room = HeaderRoom::default();
    given.iter().try_for_each(|(name, value)| room.take(name.len() + value.len(), handler))?;
    let mut headers = HeaderMap::with_capacity(given.len() + 1);
    for (name, value) in given {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(refused(handler, &format!("the header name {name:?}, which HTTP does not allow")));
        };
        if RESERVED.contains(&parsed.as_str()) || parsed.as_str().starts_with(RESERVED_PREFIX) {
            return Err(refused(handler, &format!("the header {parsed}, which the runtime sets itself; leave it out")));
        }
        let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else {
            return Err(refused(handler, &format!("a value of the header {parsed} with control characters")));
        };
        if parsed != SET_COOKIE && headers.contains_key(&parsed) {
            return Err(refused(handler, &format!("the header {parsed} twice; only set-cookie may repeat")));
        }
        headers.append(parsed, value);
    }
    Ok(headers)
}

/// What is said of an answer that is no response.
pub(crate) fn refused(handler: &Handler, what: &str) -> ScriptError {
    ScriptError::Contract(format!("{handler} answered with {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api() -> Handler {
        Handler::Api("GET /x".into())
    }

    fn draft(headers: &[(&str, &str)]) -> Draft {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Draft { headers, ..Draft::default() }
    }

    fn fault(draft: Draft) -> String {
        match draft.finish(&api(), &Exports::default()) {
            Err(ScriptError::Contract(message)) => message,
            other => panic!("expected a contract error, found {other:?}"),
        }
    }

    #[test]
    fn an_empty_draft_is_200_without_content_type() {
        let response = Draft::default().finish(&api(), &Exports::default()).unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert!(response.headers.is_empty() && response.body.is_empty());
    }

    #[test]
    fn the_content_type_follows_from_the_body_and_the_handler() {
        let of = |body: Body, handler: Handler| {
            let response = Draft { body, ..Draft::default() }.finish(&handler, &Exports::default()).unwrap();
            response.headers[CONTENT_TYPE].to_str().unwrap().to_owned()
        };
        assert_eq!(of(Body::Text("x".into()), api()), "text/plain; charset=utf-8");
        assert_eq!(of(Body::Text("x".into()), Handler::Page("P".into())), "text/html; charset=utf-8");
        assert_eq!(of(Body::Json(b"{}".to_vec()), Handler::Page("P".into())), "application/json");
        assert_eq!(of(Body::Bytes(Bytes::from_static(b"\xff")), api()), "application/octet-stream");
    }

    #[test]
    fn a_content_type_of_the_script_stands() {
        let mut own = draft(&[("Content-Type", "text/csv")]);
        own.body = Body::Text("a,b".into());
        assert_eq!(own.finish(&api(), &Exports::default()).unwrap().headers[CONTENT_TYPE], "text/csv");
    }

    #[test]
    fn a_status_that_is_no_final_answer_is_refused() {
        for status in [i64::MIN, -1, 0, 100, 199, 600, 65_736, i64::MAX] {
            let message = fault(Draft { status: Some(status), ..Draft::default() });
            assert!(message.contains(&status.to_string()), "{message}");
        }
        for status in [200, 404, 599] {
            Draft { status: Some(status), ..Draft::default() }.finish(&api(), &Exports::default()).unwrap();
        }
    }

    #[test]
    fn a_body_is_refused_where_the_status_has_none() {
        for status in [204, 205, 304] {
            let body = Body::Text("x".into());
            assert!(fault(Draft { status: Some(status), body, ..Draft::default() }).contains("has none"));
            let empty = Draft { status: Some(status), body: Body::Text(String::new()), ..Draft::default() };
            assert!(empty.finish(&api(), &Exports::default()).unwrap().headers.is_empty());
        }
    }

    #[test]
    fn headers_that_would_break_the_framing_are_refused() {
        for name in RESERVED.iter().copied().chain(["Content-Length", "X-Replug-Module", "bad name", "", "a\r\nb"]) {
            fault(draft(&[(name, "1")]));
        }
        assert!(fault(draft(&[("x-a", "1\r\nset-cookie: a=b")])).contains("control characters"));
        assert!(fault(draft(&[("x-a", "1"), ("X-A", "2")])).contains("twice"));
    }

    #[test]
    fn several_cookies_stand_side_by_side() {
        let response =
            draft(&[("set-cookie", "a=1"), ("Set-Cookie", "b=2")]).finish(&api(), &Exports::default()).unwrap();
        let cookies: Vec<_> = response.headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
    }

    #[test]
    fn headers_are_bounded_in_number_and_size() {
        let many = Draft {
            headers: (0..=MAX_HEADERS).map(|n| (format!("x-{n}"), String::new())).collect(),
            ..Draft::default()
        };
        assert!(fault(many).contains("at most"));
        assert!(fault(draft(&[("x-a", &"v".repeat(MAX_HEADER_BYTES))])).contains("bytes of headers"));
    }

    #[test]
    fn a_stream_takes_the_place_of_a_body_where_there_may_be_one() {
        let exports = Exports { handlers: [Handler::Stream("ticks".into())].into(), ..Exports::default() };
        let stream = |name: &str| Some(Stream { name: name.into(), state: Value::Int(1) });
        let streamed = Draft { stream: stream("ticks"), ..Draft::default() }.finish(&api(), &exports).unwrap();
        assert_eq!(streamed.headers[CONTENT_TYPE], "application/octet-stream");
        assert_eq!(streamed.stream.as_deref(), stream("ticks").as_ref());
        let mut own = draft(&[("content-type", "text/event-stream")]);
        own.stream = stream("ticks");
        assert_eq!(own.finish(&api(), &exports).unwrap().headers[CONTENT_TYPE], "text/event-stream");
        let large = Some(Stream { name: "ticks".into(), state: Value::from("x".repeat(MAX_STATE)) });
        let page = Handler::Page("P".into());
        for (draft, handler, part) in [
            (Draft { stream: stream("tocks"), ..Draft::default() }, &api(), "has no streams[\"tocks\"]"),
            (Draft { stream: stream("ticks"), ..Draft::default() }, &page, "only an api"),
            (Draft { stream: stream("ticks"), body: Body::Text("x".into()), ..Draft::default() }, &api(), "a body and"),
            (Draft { stream: stream("ticks"), status: Some(204), ..Draft::default() }, &api(), "no body"),
            (Draft { stream: large, ..Draft::default() }, &api(), "at most 65536"),
        ] {
            let refused = draft.finish(handler, &exports);
            assert!(matches!(&refused, Err(ScriptError::Contract(why)) if why.contains(part)), "{refused:?}");
        }
    }

    #[test]
    fn only_a_status_of_400_to_599_makes_a_problem() {
        for status in [-1, 200, 399, 600, 65_936] {
            assert!(problem_from(status, None, None).is_none(), "{status}");
        }
        let Some(ScriptError::Problem { status: 404, title, detail }) = problem_from(404, None, None) else {
            panic!("404 is a problem");
        };
        assert_eq!((title.as_str(), detail.as_str()), ("Not Found", ""));
    }
}
