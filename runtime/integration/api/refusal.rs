//! Requests that no script sees: who may not, what is not there, what cannot be read.

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::body::BodyFault;
use super::id::RequestId;
use super::problem::Problem;
use super::{Gateway, MAX_BODY};
use crate::actors::router::CallError;
use crate::integration::auth::{self, VerifyError};
use crate::integration::decode::BadParam;
use crate::integration::ui;

/// What a query value keeps as it is ([RFC 3986], unreserved).
///
/// [RFC 3986]: https://www.rfc-editor.org/rfc/rfc3986#section-2.3
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why the gateway answers by itself.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nothing serves the path.
    NoModule,
    /// The path knows these methods only.
    OtherMethods(Vec<Method>),
    /// A path parameter is no text.
    BadParam(BadParam),
    /// Another site's page sent it.
    Foreign,
    /// Nobody is signed in; where a person can.
    Unauthenticated {
        /// The sign-in page with the way back; nothing for an api.
        login: Option<String>,
    },
    /// Somebody is signed in, but may not.
    Forbidden {
        /// What they would need.
        missing: String,
        /// Whether a person looks at it.
        page: bool,
    },
    /// It is not known who is signed in.
    Unverified(VerifyError),
    /// There is no body to be had.
    Body(BodyFault),
}

impl From<BodyFault> for Refusal {
    fn from(fault: BodyFault) -> Self {
        Self::Body(fault)
    }
}

impl From<BadParam> for Refusal {
    fn from(bad: BadParam) -> Self {
        Self::BadParam(bad)
    }
}

impl Gateway {
    /// The sign-in page, with the way back to this request.
    pub(super) fn login(&self, parts: &Parts) -> Option<String> {
        let snapshot = self.router.load();
        let page = auth::page(&snapshot, "Login")?;
        let back = parts.uri.path_and_query().map_or("/", |back| back.as_str());
        Some(format!("{page}?next={}", utf8_percent_encode(back, VALUE)))
    }
}

impl Refusal {
    /// The answer.
    pub(super) fn into_response(self, id: &RequestId, asked: &HeaderMap) -> Response {
        match self {
            Self::Unauthenticated { login: Some(login) } => see_other(&login),
            Self::Forbidden { page: true, ref missing } if wants_html(asked) => forbidden_page(missing, &id.text),
            refusal => {
                let challenge = matches!(refusal, Self::Unauthenticated { .. });
                let allow = match &refusal {
                    Self::OtherMethods(methods) => allow(methods),
                    _ => None,
                };
                let mut response = refusal.problem().into_response(&id.text);
                let headers = response.headers_mut();
                if challenge {
                    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                if let Some(allow) = allow {
                    headers.insert(ALLOW, allow);
                }
                response
            }
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::NoModule => {
                Problem::new("no-module", StatusCode::NOT_FOUND, "No such path", "no active module has this path")
            }
            Self::OtherMethods(_) => {
                Problem::plain(StatusCode::METHOD_NOT_ALLOWED, "the header `allow` names the methods of this path")
            }
            Self::BadParam(bad) => Problem::plain(
                StatusCode::BAD_REQUEST,
                format!("the path's {} is no UTF-8 text once its percent escapes are decoded", bad.name),
            ),
            Self::Foreign => denied("a page of another site sent this request with this site's cookie"),
            Self::Unauthenticated { .. } => Problem::new(
                "unauthenticated",
                StatusCode::UNAUTHORIZED,
                "Not signed in",
                "send `authorization: Bearer TOKEN`, with a token that is still good",
            ),
            Self::Forbidden { missing, .. } => denied(format!("this needs the permission {missing}")),
            Self::Unverified(error) => unverified(&error),
            Self::Body(BodyFault::TooLarge) => Problem::plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body has more than the {} MiB that are read", MAX_BODY >> 20),
            ),
            Self::Body(BodyFault::Slow) => {
                Problem::plain(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within the request's time")
            }
            Self::Body(BodyFault::Crowded) => {
                Problem::overloaded("the bodies of other requests take all room for bodies")
            }
            Self::Body(BodyFault::Broken) => {
                Problem::plain(StatusCode::BAD_REQUEST, "the body broke off or its framing is wrong")
            }
        }
    }
}

fn denied(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new("permission-denied", StatusCode::FORBIDDEN, "Permission denied", detail)
}

fn unverified(error: &VerifyError) -> Problem {
    match error {
        VerifyError::Call { source: CallError::Timeout(_), .. } => {
            Problem::timeout("the module that verifies tokens did not answer in time")
        }
        VerifyError::Call { source: CallError::Overloaded { .. } | CallError::Closed(_), .. } => {
            Problem::overloaded("the module that verifies tokens takes no more calls at the moment")
        }
        VerifyError::Call { source: CallError::Script(error), .. } if error.is_stop() => {
            Problem::overloaded("the module that verifies tokens was stopped")
        }
        _ => Problem::script_error(),
    }
}

/// `GET` implies `HEAD`.
fn allow(methods: &[Method]) -> Option<HeaderValue> {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.sort_unstable();
    names.dedup();
    HeaderValue::try_from(names.join(", ")).ok()
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let media = range.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("text/html")
    })
}

fn see_other(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    match HeaderValue::try_from(location) {
        Ok(location) => headers.insert(LOCATION, location),
        // a path that a header cannot say: the manifest's own page path, since the way back is encoded
        Err(_) => headers.insert(LOCATION, HeaderValue::from_static("/")),
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn forbidden_page(missing: &str, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(ui::forbidden(missing, request_id)));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
