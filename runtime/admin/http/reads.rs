//! Requests that change nothing.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::read::{self, Parameters, Placeholders};
use super::{App, OperationView, Problem, Shared};
use crate::admin::commands::{FoundModule, UsageRow, UsageView};
use crate::engine::{HealthView, SlotView};
use crate::registry::RegistryError;
use crate::registry::versions::ModuleRef;

/// The longest `?wait=`: what is between client and server may cut longer silences.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);

pub(super) async fn list(State(shared): App) -> Json<Vec<SlotView>> {
    Json(shared.admin.commands.list())
}

pub(super) async fn health(State(shared): App) -> Json<Vec<HealthView>> {
    Json(shared.admin.commands.health())
}

pub(super) async fn health_of(State(shared): App, path: Placeholders) -> Result<Response, Problem> {
    let id = path.id()?;
    tagged(&shared, &id, || Ok(shared.admin.commands.health_of(&id)?))
}

/// What is measured blocks for a moment: the first look at a module's files reads its folders.
pub(super) async fn usage(State(shared): App) -> Result<Json<UsageView>, Problem> {
    apart(move || shared.admin.commands.usage()).await
}

pub(super) async fn usage_of(State(shared): App, path: Placeholders) -> Result<Json<UsageRow>, Problem> {
    let id = path.id()?;
    let Json(row) = apart(move || shared.admin.commands.usage_of(&id)).await?;
    Ok(Json(row?))
}

/// Looks at something on a thread where that may block.
pub(super) async fn apart<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Result<Json<T>, Problem> {
    let broken = |error| Problem::of("internal", format!("it broke off: {error}"), "see the log of the runtime");
    tokio::task::spawn_blocking(look).await.map(Json).map_err(broken)
}

pub(super) async fn show(State(shared): App, path: Placeholders) -> Result<Response, Problem> {
    let (id, version) = (path.id()?, path.version()?);
    // The tag comes first: what changes in between makes it stale, never the answer.
    tagged(&shared, &id.clone(), || Ok(shared.admin.commands.show(&ModuleRef { id, version })?))
}

pub(super) async fn versions(
    State(shared): App,
    path: Placeholders,
    Parameters(query): Parameters,
) -> Result<Response, Problem> {
    let id = path.id()?;
    let from = query.get("compatibleWith").map(|text| read::version(text)).transpose()?;
    tagged(&shared, &id, || match &from {
        Some(from) => Ok(shared.admin.commands.compatible_versions(&id, from)?),
        None => Ok(shared.admin.commands.versions(&id)?),
    })
}

pub(super) async fn find(State(shared): App, Parameters(query): Parameters) -> Result<Json<Vec<FoundModule>>, Problem> {
    let mut query = query.iter();
    match (query.next().map(|(name, value)| (name.as_str(), value)), query.next()) {
        (Some(("capability", capability)), None) => Ok(Json(shared.admin.commands.find_by_capability(capability))),
        (Some(("category", category)), None) => Ok(Json(shared.admin.commands.find_by_category(category))),
        (Some(("compatible", ranges)), None) => {
            let wanted = ranges.split(';').map(str::parse).collect::<Result<Vec<_>, RegistryError>>();
            let wanted = wanted.map_err(|error| Problem(error.into()))?;
            Ok(Json(shared.admin.commands.find_compatible(&wanted)?))
        }
        _ => Err(Problem::of(
            "bad-request",
            "what to find is not clear",
            "give one of ?capability=ID, ?category=NAME and ?compatible=ID@RANGE;…, and nothing else",
        )),
    }
}

pub(super) async fn all(State(shared): App) -> Json<Vec<FoundModule>> {
    Json(shared.admin.commands.all())
}

pub(super) async fn operation(
    State(shared): App,
    path: Placeholders,
    Parameters(query): Parameters,
) -> Result<Json<OperationView>, Problem> {
    let wait = query.get("wait").map_or(Ok(Duration::ZERO), |wait| read::duration(wait, MAX_WAIT))?;
    let found = shared.operations.get(path.text("id"), wait).await;
    found.map(Json).ok_or_else(|| {
        let message = if shared.operations.is_of_another(path.text("id")) {
            "the operation was one of a runtime that has ended"
        } else {
            "there is no operation of that id"
        };
        let help = "replug history ID (GET /v1/modules/{id}/history) says what came of it; operations end with the \
                    process, and only the last 1,000 that ended are kept";
        Problem::of("not-found", message, help)
    })
}

pub(super) fn tagged<T: Serialize>(
    shared: &Shared,
    id: &str,
    body: impl FnOnce() -> Result<T, Problem>,
) -> Result<Response, Problem> {
    let tag = shared.revisions.tag(&shared.admin.commands, id);
    Ok(([(header::ETAG, tag)], Json(body()?)).into_response())
}
