//! What was done: history, operations, the audit log.

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::read::{self, Parameters, Placeholders};
use super::reads::MAX_WAIT;
use super::{App, OperationView, Problem};
use crate::admin::commands::AUDIT_PAGE;
use crate::engine::HistoryEntry;
use crate::store::audit::{MAX_READ, Row, Verified};

/// How many entries of a history, and how many operations, are sent unless it is said.
const PAGE: usize = 20;
const OPERATIONS: usize = 100;

pub(super) async fn history(
    State(shared): App,
    path: Placeholders,
    Parameters(query): Parameters,
) -> Result<Json<Vec<HistoryEntry>>, Problem> {
    let (id, limit) = (path.id()?, read::limit(&query, PAGE, 1000)?);
    Ok(Json(shared.admin.commands.history(&id, limit).await?))
}

pub(super) async fn operations(
    State(shared): App,
    Parameters(query): Parameters,
) -> Result<Json<Vec<OperationView>>, Problem> {
    let limit = read::limit(&query, OPERATIONS, 2000)?;
    Ok(Json(shared.operations.list(query.get("module").map(String::as_str), limit)))
}

pub(super) async fn audit(State(shared): App, Parameters(query): Parameters) -> Result<Json<Vec<Row>>, Problem> {
    let (from, limit) = (read::number(&query, "from")?, read::limit(&query, AUDIT_PAGE, MAX_READ)?);
    let wait = query.get("wait").map_or(Ok(Duration::ZERO), |wait| read::duration(wait, MAX_WAIT))?;
    let records = shared.admin.commands.audit(from, limit, wait);
    if wait.is_zero() {
        return Ok(Json(records.await?));
    }
    tokio::select! {
        records = records => Ok(Json(records?)),
        () = shared.stopping() => {
            Err(Problem::of("stopped", "the runtime stops, so nothing more is waited for", "start it again: replug serve"))
        }
    }
}

pub(super) async fn verify(State(shared): App) -> Result<Json<Verified>, Problem> {
    Ok(Json(shared.admin.commands.verify_audit().await?))
}
