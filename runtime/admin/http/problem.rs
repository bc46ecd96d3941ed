//! Errors as `application/problem+json` (RFC 9457), with everything in them that the command line needs to say the same.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::CommandError;

/// A [`CommandError`] as a response.
#[derive(Debug)]
pub(super) struct Problem(pub(super) CommandError);

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: String,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    error: &'a CommandError,
}

impl Problem {
    pub(super) fn of(kind: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self(CommandError::new(kind, message).with_help(help))
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        Self(error)
    }
}

/// The status of a kind of error.
fn status(kind: &str) -> StatusCode {
    match kind {
        "bad-request" | "reference" => StatusCode::BAD_REQUEST,
        "unauthenticated" => StatusCode::UNAUTHORIZED,
        "foreign-host" => StatusCode::FORBIDDEN,
        "not-found" | "not-registered" | "not-offered" => StatusCode::NOT_FOUND,
        "method-not-allowed" => StatusCode::METHOD_NOT_ALLOWED,
        "timeout" => StatusCode::REQUEST_TIMEOUT,
        "content-differs"
        | "breaking-change"
        | "unresolvable"
        | "cycle"
        | "no-way"
        | "unusable"
        | "obstructed"
        | "needed"
        | "orphans"
        | "unconfigured"
        | "ungranted"
        | "not-asked"
        | "pending-migrations"
        | "nothing-serves"
        | "nothing-shifts"
        | "not-yet"
        | "unconfirmable"
        | "nothing-to-return-to"
        | "irreversible"
        | "quarantined"
        | "runs" => StatusCode::CONFLICT,
        "changed-meanwhile" => StatusCode::PRECONDITION_FAILED,
        "too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "manifest" | "bundle" | "script" => StatusCode::UNPROCESSABLE_ENTITY,
        "stopped" | "busy" | "too-many-operations" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status(&self.0.kind);
        let error = &self.0;
        let body = Body {
            kind: &error.kind,
            title: error.kind.replace('-', " "),
            status: status.as_u16(),
            detail: &error.message,
            error,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"replug\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_clients_affair_and_a_failure_the_servers() {
        let cases = [
            (400, "reference"),
            (401, "unauthenticated"),
            (404, "not-registered"),
            (409, "content-differs"),
            (409, "breaking-change"),
            (409, "unresolvable"),
            (409, "obstructed"),
            (409, "needed"),
            (409, "orphans"),
            (409, "ungranted"),
            (409, "not-yet"),
            (409, "runs"),
            (409, "unconfirmable"),
            (412, "changed-meanwhile"),
            (413, "too-large"),
            (422, "manifest"),
            (422, "script"),
            (500, "internal"),
            (500, "store"),
            (500, "what nobody thought of"),
            (503, "busy"),
            (503, "stopped"),
        ];
        for (expected, kind) in cases {
            assert_eq!(status(kind).as_u16(), expected, "{kind}");
        }
    }
}
