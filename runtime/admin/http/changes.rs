//! Requests that change something.

use std::future::Future;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::identity::Asked;
use super::read::{self, Parameters, Placeholders};
use super::{App, CommandError, Problem, Shared};
use crate::admin::commands::{Unregistered, strategy};
use crate::engine::{ConfirmReport, Evaluated};
use crate::manifest;
use crate::registry::Bundle;
use crate::registry::versions::ModuleRef;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Activate {
    version: Option<String>,
    strategy: Option<String>,
    /// The others of its set, each `ID` or `ID@VERSION`.
    #[serde(default)]
    set: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    to: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Empty {}

pub(super) async fn register(
    State(shared): App,
    Asked(commands): Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bundle = read::bundle(&shared, &headers, body).await?;
    accept(&shared, &bundle, &headers)?;
    let registered = commands.register(bundle).await?;
    let status = if registered.fresh { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/modules/{}/versions/{}", registered.id, registered.version);
    let tag = shared.revisions.tag(&shared.admin.commands, &registered.id);
    Ok((status, [(header::LOCATION, location), (header::ETAG, tag)], Json(registered)).into_response())
}

/// Registers at once, so that faults are this request's answer, and activates as an operation if a version serves.
pub(super) async fn update(
    State(shared): App,
    Asked(commands): Asked,
    Parameters(query): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let strategy = query.get("strategy").map(|name| strategy(name)).transpose()?;
    let bundle = read::bundle(&shared, &headers, body).await?;
    accept(&shared, &bundle, &headers)?;
    let registered = commands.register(bundle).await?;
    let id = registered.id.clone();
    // `If-Match` was answered above; what was registered since is this request's own doing.
    operation(&shared, &HeaderMap::new(), ("update", id, commands.request().cloned()), async move {
        commands.activate_if_serving(registered, strategy).await
    })
}

/// Accepts an upload unless its module changed. Without `If-Match` there is nothing to ask: a version never changes.
fn accept(shared: &Shared, bundle: &Bundle, headers: &HeaderMap) -> Result<(), CommandError> {
    if headers.contains_key(header::IF_MATCH) {
        let id = manifest::load(manifest::FILE_NAME, bundle.manifest())?.manifest.id;
        shared.revisions.accept(&shared.admin.commands, &id, headers)?;
    }
    Ok(())
}

pub(super) async fn unregister(
    State(shared): App,
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
) -> Result<Json<Unregistered>, Problem> {
    let (id, version) = (path.id()?, path.version()?);
    commands.versions(&id)?;
    shared.revisions.accept(&commands, &id, &headers)?;
    whole(async move { commands.unregister(&id, version.as_ref()).await }).await
}

pub(super) async fn confirm(
    State(shared): App,
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ConfirmReport>, Problem> {
    let id = path.id()?;
    let Empty {} = read::json(&headers, body).await?;
    commands.versions(&id)?;
    shared.revisions.accept(&commands, &id, &headers)?;
    whole(async move { commands.confirm(&id).await }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Evaluate {
    code: String,
}

pub(super) async fn evaluate(
    State(shared): App,
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Evaluated>, Problem> {
    let id = path.id()?;
    let given: Option<Evaluate> = read::json(&headers, body).await?;
    let Some(Evaluate { code }) = given else {
        return Err(Problem::of("bad-request", "there is no code to run", "send {\"code\": \"…\"}"));
    };
    commands.versions(&id)?;
    let turn = Arc::clone(&shared.evaluations).acquire_owned().await;
    whole(async move {
        let _turn = turn;
        commands.evaluate(&id, &code).await
    })
    .await
}

/// Runs a command on a task of its own: a client that goes away must not leave it half done.
pub(super) async fn whole<T: Send + 'static>(
    job: impl Future<Output = Result<T, CommandError>> + Send + 'static,
) -> Result<Json<T>, Problem> {
    let done = tokio::spawn(job).await;
    let done =
        done.map_err(|error| Problem::of("internal", format!("the command broke off: {error}"), "see the log"))?;
    Ok(Json(done?))
}

pub(super) async fn activate(
    State(shared): App,
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = path.id()?;
    let Activate { version, strategy: name, set } = read::json(&headers, body).await?;
    let version = version.map(|text| read::version(&text)).transpose()?;
    let strategy = name.map(|name| strategy(&name)).transpose()?;
    let wanted = ModuleRef { id: id.clone(), version };
    let others = set.iter().map(|label| read::module(label)).collect::<Result<Vec<_>, _>>()?;
    commands.members(&wanted, &others)?;
    operation(&shared, &headers, ("activate", id, commands.request().cloned()), async move {
        match &*others {
            [] => commands.activate(&wanted, strategy).await,
            others => commands.activate_set(&wanted, others, strategy).await,
        }
    })
}

pub(super) async fn deactivate(
    State(shared): App,
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = path.id()?;
    let Empty {} = read::json(&headers, body).await?;
    commands.versions(&id)?;
    operation(&shared, &headers, ("deactivate", id.clone(), commands.request().cloned()), async move {
        commands.deactivate(&id).await
    })
}

pub(super) async fn rollback(
    State(shared): App,
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = path.id()?;
    let Rollback { to } = read::json(&headers, body).await?;
    let to = to.map(|text| read::version(&text)).transpose()?;
    match &to {
        Some(_) => drop(commands.resolve(&ModuleRef { id: id.clone(), version: to.clone() })?),
        None => drop(commands.versions(&id)?),
    }
    operation(&shared, &headers, ("rollback", id.clone(), commands.request().cloned()), async move {
        commands.rollback(&id, to.as_ref()).await
    })
}

/// Starts the operation and answers with it.
fn operation<T: Serialize + Send + 'static>(
    shared: &Shared,
    headers: &HeaderMap,
    (verb, id, request): (&'static str, String, Option<Arc<str>>),
    job: impl Future<Output = Result<T, CommandError>> + Send + 'static,
) -> Result<Response, Problem> {
    shared.revisions.accept(&shared.admin.commands, &id, headers)?;
    let view = shared.operations.start(verb, id, request, job)?;
    let location = format!("/v1/operations/{}", view.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)).into_response())
}
