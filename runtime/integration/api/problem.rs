//! Problems: errors as [RFC 9457] documents.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Seconds after which somebody who was turned away may come again.
const RETRY: u64 = 1;

/// One problem.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// Its `type`; `about:blank` where the status says it all.
    pub(super) kind: &'static str,
    /// The status.
    pub(super) status: StatusCode,
    /// The kind in words.
    pub(super) title: Cow<'static, str>,
    /// What happened this time; may be empty.
    pub(super) detail: Cow<'static, str>,
    /// Seconds after which to come again, where that is known.
    pub(super) retry: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    request_id: &'a str,
}

impl Problem {
    /// A problem of `kind`.
    pub(super) fn new(
        kind: &'static str,
        status: StatusCode,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, status, title: title.into(), detail: detail.into(), retry: None }
    }

    /// A problem that its status describes.
    pub(super) fn plain(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("about:blank", status, status.canonical_reason().unwrap_or("Error"), detail)
    }

    /// A full queue or quota.
    pub(super) fn overloaded(detail: impl Into<Cow<'static, str>>) -> Self {
        let turned_away = Self::new("overloaded", StatusCode::SERVICE_UNAVAILABLE, "Overloaded", detail);
        Self { retry: Some(RETRY), ..turned_away }
    }

    /// A share of the processor that is used up; it is there again after `wait`.
    pub(super) fn throttled(wait: Duration) -> Self {
        let detail = "the module has used up its share of the processor";
        let retry = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(RETRY);
        Self {
            retry: Some(retry),
            ..Self::new("overloaded", StatusCode::TOO_MANY_REQUESTS, "Too many requests", detail)
        }
    }

    /// A deadline that passed in something other than the script itself.
    pub(super) fn timeout(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new("timeout", StatusCode::GATEWAY_TIMEOUT, "Timeout", detail)
    }

    /// A script that failed; why is in the log.
    pub(super) fn script_error() -> Self {
        let detail = "the module failed to answer; its log says why, under this request id";
        Self::new("script-error", StatusCode::INTERNAL_SERVER_ERROR, "Script error", detail)
    }

    /// The answer.
    pub(super) fn into_response(self, request_id: &str) -> Response {
        let document = Document {
            r#type: self.kind,
            title: &self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            request_id,
        };
        // strings and a number cannot fail to be JSON
        let json = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
