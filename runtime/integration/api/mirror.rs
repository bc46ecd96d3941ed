//! Copies of answered requests for a candidate that is judged before it has a share of the traffic.
//!
//! A copy is sent when the client's answer is there, by a task of its own: the client neither waits for it nor notices what
//! becomes of it. Its answer is compared with the client's and thrown away.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderValue};
use replug_scripts::{CallContext, Handler, Mirrored, Request, Response};

use super::{Asked, Gateway, Target};
use crate::actors::router::{BUCKETS, CallError, Came, Ended, Place};
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
        let Some(class) = Came::class(result) else { return };
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
    let came = Came::of(&result, &mirrored);
    if let (Came::Answered(5), Err(error)) = (came, &result) {
        let key = &place.instance().key;
        let (module, version) = (&*key.id, &*key.version);
        tracing::warn!(request_id = &*request_id, module, version, %handler, %error, "a copy of a request failed");
    }
    place.came_to(came, took, client);
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
