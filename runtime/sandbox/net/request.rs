//! A request as a script writes it, and its answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use replug_scripts::Value;

use super::Target;

/// The most redirects that are followed.
pub const MAX_REDIRECTS: u8 = 5;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// Headers that say where a message ends or what becomes of its connection: they are the client's own.
const OWN: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "http2-settings",
];

/// What is to be asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where.
    pub target: Target,
    /// With which headers beside those of the client's own.
    pub headers: HeaderMap,
    /// With which body; may be empty.
    pub body: Bytes,
    /// For how long at most; the call's deadline holds as well.
    pub timeout: Option<Duration>,
    /// How many redirects are followed.
    pub redirects: u8,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, as it came over the wire: nothing is decompressed.
    pub body: Vec<u8>,
}

impl Request {
    /// A request of `{method, url, headers, body, timeout, redirects}`; `method`, `url` and `body` may have been given apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(mut given: BTreeMap<String, Value>) -> Result<Self, String> {
        let url = match given.remove("url") {
            Some(Value::Text(url)) => url,
            _ => return Err("`url` must be a string".to_owned()),
        };
        let method = match given.remove("method") {
            None | Some(Value::Null) => Method::GET,
            Some(Value::Text(text)) => method(&text)?,
            Some(_) => return Err("`method` must be a string".to_owned()),
        };
        let mut headers = match given.remove("headers") {
            None | Some(Value::Null) => HeaderMap::new(),
            Some(Value::Map(given)) => headers(given)?,
            Some(_) => return Err("`headers` must be a map".to_owned()),
        };
        let body = match given.remove("body") {
            None | Some(Value::Null) => Bytes::new(),
            Some(Value::Text(text)) => text.into(),
            Some(Value::Bytes(bytes)) => bytes,
            Some(body @ (Value::Map(_) | Value::List(_))) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                replug_scripts::json::encode(&body).map_err(|error| format!("`body`: {error}"))?.into()
            }
            Some(_) => return Err("`body` must be a string, or a map or list to be written as JSON".to_owned()),
        };
        let timeout = match given.remove("timeout") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let millis = value.as_i64().and_then(|millis| u64::try_from(millis).ok()).filter(|millis| *millis > 0);
                Some(Duration::from_millis(millis.ok_or("`timeout` must be milliseconds above 0")?))
            }
        };
        let redirects = match given.remove("redirects") {
            None | Some(Value::Null) => MAX_REDIRECTS,
            Some(value) => {
                let most =
                    value.as_i64().and_then(|most| u8::try_from(most).ok()).filter(|most| *most <= MAX_REDIRECTS);
                most.ok_or("`redirects` must be a number from 0 to 5")?
            }
        };
        if let Some(key) = given.keys().next() {
            return Err(format!("`{key}`: there are method, url, headers, body, timeout and redirects"));
        }
        Ok(Self { method, target: Target::parse(&url)?, headers, body, timeout, redirects })
    }
}

fn method(text: &str) -> Result<Method, String> {
    match Method::from_bytes(text.to_ascii_uppercase().as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) | Err(_) => Err(format!("`method`: {text:?} is not spoken")),
        Ok(method) => Ok(method),
    }
}

fn headers(given: BTreeMap<String, Value>) -> Result<HeaderMap, String> {
    if given.len() > MAX_HEADERS {
        return Err(format!("{} headers are more than {MAX_HEADERS}", given.len()));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let header = HeaderName::from_bytes(name.as_bytes());
        let header =
            header.map_err(|_| format!("`headers`: {:?} is no name of a header", name.escape_debug().to_string()))?;
        if OWN.contains(&header.as_str()) {
            return Err(format!("`headers`: `{header}` is set by the client itself"));
        }
        let value = match value {
            Value::Text(text) => HeaderValue::from_maybe_shared(Bytes::from(text)),
            Value::Int(number) => Ok(HeaderValue::from(number)),
            _ => return Err(format!("`headers`: the value of `{header}` must be a string")),
        };
        let value =
            value.map_err(|_| format!("`headers`: the value of `{header}` has characters that no header may have"))?;
        if headers.insert(header.clone(), value).is_some() {
            return Err(format!("`headers`: `{header}` is there twice"));
        }
    }
    Ok(headers)
}

impl Answer {
    /// `{status, headers, body}`: names of headers in lower case, repeats joined by `, `.
    #[must_use]
    pub fn into_value(self) -> Value {
        let mut headers: BTreeMap<String, Value> = BTreeMap::new();
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            match headers.get_mut(name.as_str()) {
                Some(Value::Text(before)) => {
                    before.push_str(", ");
                    before.push_str(&value);
                }
                _ => drop(headers.insert(name.as_str().to_owned(), Value::Text(value.into_owned()))),
            }
        }
        let body = String::from_utf8(self.body).map_or_else(|e| Value::Bytes(e.into_bytes().into()), Value::Text);
        let status = Value::Int(self.status.into());
        Value::map([("status", status), ("headers", Value::Map(headers)), ("body", body)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, Value)]) -> Result<Request, String> {
        let url = ("url".to_owned(), Value::from("http://x.org"));
        Request::read([url].into_iter().chain(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))).collect())
    }

    fn header(name: &str, value: &str) -> Result<Request, String> {
        read(&[("headers", Value::map([(name, Value::from(value))]))])
    }

    #[test]
    fn nothing_that_splits_a_message_gets_into_it() {
        for (name, value) in [
            ("x", "a\r\nhost: evil"),
            ("x", "a\nb"),
            ("x", "a\rb"),
            ("x", "a\0b"),
            ("x\r\ny", "a"),
            ("x: y", "a"),
            ("x y", "a"),
            ("", "a"),
            ("ä", "a"),
            ("Host", "evil"),
            ("Content-Length", "0"),
            ("TRANSFER-ENCODING", "chunked"),
            ("Connection", "close"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("te", "trailers"),
            ("proxy-authorization", "x"),
        ] {
            assert!(header(name, value).is_err(), "{name:?}: {value:?}");
        }
        assert!(header("X-Fine", "a, b; c=\"d\"").is_ok());
        let twice = Value::map([("a", Value::from("1")), ("A", Value::from("2"))]);
        assert!(read(&[("headers", twice)]).is_err());
        for method in ["", "GET /", "GE\r\nT", "CONNECT", "connect", "TRACE"] {
            assert!(read(&[("method", Value::from(method))]).is_err(), "{method:?}");
        }
    }

    #[test]
    fn a_map_is_written_as_json_and_says_so() {
        let body = Value::map([("a", Value::Int(1))]);
        let request = read(&[("body", body.clone()), ("method", Value::from("post"))]).unwrap();
        assert_eq!(
            (&request.body[..], request.headers[CONTENT_TYPE].as_bytes()),
            (&b"{\"a\":1}"[..], &b"application/json"[..])
        );
        assert_eq!(request.method, Method::POST);
        let own = Value::map([("content-type", Value::from("application/ld+json"))]);
        assert_eq!(read(&[("body", body), ("headers", own)]).unwrap().headers[CONTENT_TYPE], "application/ld+json");
    }

    #[test]
    fn what_is_unknown_or_out_of_bounds_is_named() {
        for (key, value, part) in [
            ("timeout", Value::Int(0), "milliseconds"),
            ("timeout", Value::from("1s"), "milliseconds"),
            ("redirects", Value::Int(6), "0 to 5"),
            ("redirects", Value::Int(-1), "0 to 5"),
            ("body", Value::Bool(true), "`body`"),
            ("proxy", Value::from("x"), "`proxy`"),
            ("url", Value::Int(1), "`url`"),
        ] {
            let error = read(&[(key, value)]).expect_err(key);
            assert!(error.contains(part), "{error}");
        }
    }
}
