//! `watch`: what happens, as it happens.
//!
//! | what is watched | until |
//! |---|---|
//! | everything | Ctrl-C |
//! | a module | its activation in flight, or the next one, ends |
//! | an operation | it ends, which it may have done before |

use std::time::Duration;

use futures::FutureExt as _;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::{Body, Client};
use super::human::{self, Activation, Slot};
use super::output::Output;
use super::{Exit, requests};
use crate::admin::CommandError;

mod missed;

use missed::Outcomes;

/// How often to look whether an activation has ended, once its end may have passed unseen.
const LOOK: Duration = Duration::from_secs(1);

/// Shows events: those of a module or an operation until its end, or all of them until Ctrl-C.
pub(super) async fn watch(subject: Option<&str>, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let Some(subject) = subject else { return everything(client, output).await };
    if !is_operation(subject) {
        return module(subject, client, output).await;
    }
    match client.send(Method::GET, &format!("/v1/operations/{subject}"), Body::Empty).await {
        Ok(begun) => operation(&begun, client, output).await,
        // a module may be named like an operation
        Err(none) if none.kind == "not-found" => match module(subject, client, output).await {
            Err(error) if error.kind == "not-registered" => Err(none),
            done => done,
        },
        Err(error) => Err(error),
    }
}

/// Whether a text looks like the id of an operation: the start of its server in milliseconds, in base 16, and a number.
fn is_operation(text: &str) -> bool {
    text.split_once('-').is_some_and(|(epoch, number)| {
        epoch.len() >= 11
            && epoch.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

async fn everything(client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let mut events = client.events(None).await?;
    while !output.is_over() {
        let next = tokio::select! {
            next = events.next() => next,
            _ = tokio::signal::ctrl_c() => break,
        };
        show(&arrived(next, client)?, output);
    }
    Ok(Exit::Done)
}

async fn module(id: &str, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let mut events = client.events(Some(id)).await?;
    // asked after the stream began, so that no end is missed in between
    let before = Outcomes::of(id, client).await?;
    if !is_in_flight(id, client).await? {
        output.note(&format!("nothing is in flight for {id}; waiting for the next activation"));
    }
    let mut lost = false;
    while !output.is_over() {
        let document = tokio::select! {
            next = events.next() => {
                let document = show(&arrived(next, client)?, output);
                lost |= document["event"] == "lagged";
                document
            }
            () = tokio::time::sleep(LOOK), if lost => Value::Null,
        };
        if let Some(ended) = ended(&document) {
            return ended.into_failure().map_or(Ok(Exit::Done), Err);
        }
        if lost {
            let now = Outcomes::of(id, client).await?;
            if let Some(event) = now.first_end_since(&before, id) {
                let document = show(&event.to_string(), output);
                return ended(&document).and_then(Activation::into_failure).map_or(Ok(Exit::Done), Err);
            }
            lost = now.any_runs();
        }
    }
    Ok(Exit::Done)
}

/// Shows what concerns the module of an operation until it ends, and then what the command that began it would have shown.
async fn operation(begun: &RawValue, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    #[derive(Deserialize)]
    struct Begun {
        verb: String,
        module: String,
        state: String,
    }
    let Begun { verb, module, state } = requests::read(begun)?;
    let answer = if state == "running" {
        let mut events = client.events(Some(&module)).await?;
        let mut end = std::pin::pin!(client.wait(begun));
        let answer = loop {
            if output.is_over() {
                return Ok(Exit::Done);
            }
            let next = tokio::select! {
                answer = &mut end => break answer,
                next = events.next() => next,
            };
            show(&arrived(next, client)?, output);
        };
        // what happened before the end is shown before it, as far as it has arrived
        while let Some(Ok(Some(text))) = events.next().now_or_never() {
            show(&text, output);
        }
        answer
    } else {
        client.wait(begun).await
    };
    requests::ended(&verb, &answer?, output)
}

/// The document of an event, unless the stream ended.
fn arrived(next: Result<Option<String>, &'static str>, client: &Client) -> Result<String, CommandError> {
    match next {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(client.ended("stops")),
        Err(cause) => Err(client.ended(cause)),
    }
}

fn show(text: &str, output: &mut Output) -> Value {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    if output.is_json() {
        output.result(text);
    } else {
        // a message of several lines is not to look like several events
        output.result(&human::event(&document).replace('\n', "\n      "));
    }
    document
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
