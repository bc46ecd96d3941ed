//! What happens, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::read::Parameters;
use super::{App, Problem, Shared};
use crate::monitor::Event;

/// How long the stream may be silent before a comment is sent, so that nothing in between takes it for dead.
const SILENCE: Duration = Duration::from_secs(15);

/// Events from now on, of one module or of all. Each has a name, a number within this stream, and its document. A reader that
/// lags is told by an event `lagged` how many it missed. The stream ends when the runtime stops.
pub(super) async fn events(State(shared): App, Parameters(query): Parameters) -> Result<Response, Problem> {
    // the subscription comes first: who then asks how things stand has missed nothing
    let events = shared.admin.commands.events();
    let module = query.get("module").cloned();
    if let Some(id) = &module {
        shared.admin.commands.versions(id)?;
    }
    let stream = messages(shared, events, module);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(SILENCE)).into_response())
}

fn messages(
    shared: Arc<Shared>,
    events: Receiver<Arc<Event>>,
    module: Option<String>,
) -> impl Stream<Item = Result<Message, Infallible>> {
    futures::stream::unfold((shared, events, module, 1u64), |(shared, mut events, module, number)| async move {
        let document = loop {
            let next = tokio::select! {
                next = events.recv() => next,
                () = shared.stopping() => return None,
            };
            let document = match next {
                Ok(event) => serde_json::to_value(&*event).unwrap_or_default(),
                Err(RecvError::Lagged(count)) => json!({ "event": "lagged", "count": count }),
                Err(RecvError::Closed) => return None,
            };
            if module.as_deref().is_none_or(|module| concerns(&document, module)) {
                break document;
            }
        };
        let name = document["event"].as_str().unwrap_or_default();
        let message = Message::default().event(name).id(number.to_string()).data(document.to_string());
        Some((Ok(message), (shared, events, module, number + 1)))
    })
}

/// Whether an event is about the module, by what readers see of it. To lag concerns everybody.
fn concerns(document: &Value, module: &str) -> bool {
    let subject = document["subject"].as_str().map(|subject| subject.split('@').next().unwrap_or_default());
    let named = [document["id"].as_str(), document["instance"]["id"].as_str(), subject];
    document["event"] == "lagged" || named.contains(&Some(module))
}
