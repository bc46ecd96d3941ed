//! The id of each request: the answer names it, and the audit log has it with what the request did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::{App, Commands, Problem, Shared};

/// The header of requests and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters that a client's own id may have.
const MAX_ID: usize = 128;

/// The id of a request, among its extensions.
#[derive(Clone)]
pub(super) struct RequestId(pub(super) Arc<str>);

/// Gives ids that no other runtime of the data directory gives.
pub(super) struct RequestIds {
    epoch: u64,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self { epoch: u64::try_from(epoch).unwrap_or(u64::MAX), next: AtomicU64::new(1) }
    }
}

impl RequestIds {
    /// The id that the client gave, if it is up to [`MAX_ID`] visible ASCII characters, else a new one.
    fn of(&self, headers: &HeaderMap) -> Arc<str> {
        let given = headers.get(&REQUEST_ID).and_then(|given| given.to_str().ok());
        let is_sane =
            |id: &&str| !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        match given.filter(is_sane) {
            Some(id) => id.into(),
            None => format!("admin-{:x}-{}", self.epoch, self.next.fetch_add(1, Ordering::Relaxed)).into(),
        }
    }
}

/// Gives each request an id and says it in the answer.
pub(super) async fn identified(State(shared): App, mut request: Request, next: Next) -> Response {
    let id = shared.ids.of(request.headers());
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

/// The commands, as this request gives them.
pub(super) struct Asked(pub(super) Commands);

impl FromRequestParts<Arc<Shared>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let commands = &shared.admin.commands;
        let id = parts.extensions.get::<RequestId>();
        Ok(Self(id.map_or_else(|| commands.clone(), |RequestId(id)| commands.asked_in(id))))
    }
}
