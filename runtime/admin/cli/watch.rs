//! `watch`: what happens, as it happens.

use reqwest::Method;
use serde_json::Value;

use super::client::{Body, Client};
use super::human::{self, Activation, Slot};
use super::output::Output;
use super::{Exit, requests};
use crate::admin::CommandError;

/// Shows events; those of `id` until its activation ends, or all of them until Ctrl-C.
pub(super) async fn watch(id: Option<&str>, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let mut events = client.events(id).await?;
    // asked after the stream began, so that no end is missed in between
    if let Some(id) = id
        && !is_in_flight(id, client).await?
    {
        output.note(&format!("nothing is in flight for {id}; waiting for the next activation"));
    }
    while !output.is_over() {
        let next = tokio::select! {
            next = events.next() => next,
            _ = tokio::signal::ctrl_c(), if id.is_none() => break,
        };
        let text = match next {
            Ok(Some(text)) => text,
            Ok(None) => return Err(client.ended("stops")),
            Err(cause) => return Err(client.ended(cause)),
        };
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        let line = if output.is_json() { text } else { human::event(&document) };
        output.result(&line);
        if id.is_some()
            && let Some(ended) = ended(&document)
        {
            return ended.into_failure().map_or(Ok(Exit::Done), Err);
        }
    }
    Ok(Exit::Done)
}

async fn is_in_flight(id: &str, client: &Client) -> Result<bool, CommandError> {
    let answer = client.send(Method::GET, "/v1/modules", Body::Empty).await?;
    let slots: Vec<Slot> = requests::read(&answer)?;
    Ok(slots.iter().any(|slot| slot.is_in_flight(id)))
}

/// The end of an activation, if the event is one.
fn ended(event: &Value) -> Option<Activation> {
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let (id, version) = (text(&event["instance"]["id"]), text(&event["instance"]["version"]));
    let is_end = event["event"] == "activationEnded";
    is_end.then(|| Activation::ended(&id, &version, &text(&event["outcome"]), event["reason"].as_str()))
}
