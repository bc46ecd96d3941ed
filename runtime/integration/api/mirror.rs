//! Copies of answered requests for a candidate that is judged before it has a share of the traffic.
//!
//! A copy is sent when the client's answer is there, by a task of its own: the client neither waits for it nor notices what
//! becomes of it. Its answer is compared with the client's and thrown away.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use replug_scripts::{CallContext, Handler, Mirrored, Request, Response, ScriptError};

use super::{Asked, Gateway, Target};
use crate::actors::router::{BUCKETS, Blame, CallError, Came, Ended, Place};
use crate::integration::{chance, decode};

/// Bytes that the body of a request may have which is copied: a copy holds it after the request has given its room back.
const MAX_BODY: usize = 64 << 10;

impl Gateway {
    /// Sends a copy of a request that came to `result` after it `took` so long, if a candidate of its module wants one.
    pub(super) fn copy(
        &self,
        asked: &Asked<'_>,
        target: &Target,
        result: Result<&Response, &CallError>,
        took: Duration,
    ) {
        let parts = asked.parts;
        if asked.body.bytes.len() > MAX_BODY || is_stream(&parts.headers) {
            return;
        }
        let Some(class) = class(result) else { return };
        let snapshot = self.router.load();
        let module = &target.instance.key.id;
        let Some((candidate, endpoint, params)) = snapshot.copy_to(module, &parts.method, parts.uri.path()) else {
            return;
        };
        let holds = |permission: &String| asked.principal.as_ref().is_some_and(|principal| principal.may(permission));
        // what the candidate would not get from this client says nothing of it
        if !endpoint.permissions.iter().all(holds) || !chosen(candidate.copies().map_or(0, |it| it.mirror().share)) {
            return;
        }
        let Ok(params) = decode::params(params) else { return };
        let Some(place) = candidate.place_for_copy() else { return };
        let request = asked.request(params);
        let mirrored = Some(Arc::default());
        let call = CallContext { mirrored, ..asked.call(candidate, place.deadline()) };
        tokio::spawn(ask(place, endpoint.handler.clone(), request, call, Ended { class, took }));
    }
}

/// Has a copy answered and counted.
async fn ask(place: Place, handler: Handler, request: Box<Request>, call: CallContext, client: Ended) {
    let mirrored: Arc<Mirrored> = call.mirrored.clone().unwrap_or_default();
    let request_id = Arc::clone(&call.request_id);
    let Some((result, took)) = place.answer(handler.clone(), request, call).await else { return };
    let came = came(&result, &mirrored);
    if let (Came::Answered(5), Err(error)) = (came, &result) {
        let key = &place.instance().key;
        let (module, version) = (&*key.id, &*key.version);
        tracing::warn!(request_id = &*request_id, module, version, %handler, %error, "a copy of a request failed");
    }
    place.came_to(came, took, client);
}

/// What a copy came to. It met a limit, died or was late whatever was refused to it; of any other failure that may be the reason.
fn came(result: &Result<Response, CallError>, mirrored: &Mirrored) -> Came {
    use ScriptError::{Engine, Limit};
    let its_own =
        matches!(result, Err(CallError::Timeout(_) | CallError::Crashed(_) | CallError::Script(Limit(_) | Engine(_))));
    match class(result.as_ref()) {
        None => Came::Refused,
        Some(class) if class >= 5 && mirrored.was_refused() && !its_own => Came::Incomparable,
        Some(class) => Came::Answered(class),
    }
}

/// The first digit of the status that a client gets; nothing for what the instance has not seen.
fn class(result: Result<&Response, &CallError>) -> Option<u16> {
    let status = match result {
        Ok(response) => response.status.as_u16(),
        Err(CallError::Script(ScriptError::Problem { status, .. })) => *status,
        Err(error) if error.blame() == Blame::Instance => StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
        Err(_) => return None,
    };
    Some(status / 100)
}

/// Whether one of `share` percent of the requests is chosen.
fn chosen(share: u8) -> bool {
    share >= 100 || chance::bucket() < u16::from(share) * (BUCKETS / 100)
}

/// Whether the client wants more than one answer.
fn is_stream(headers: &HeaderMap) -> bool {
    let wants_events =
        |value: &HeaderValue| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("text/event-stream"));
    headers.contains_key(UPGRADE) || headers.get_all(ACCEPT).iter().any(wants_events)
}
