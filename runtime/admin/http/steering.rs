//! Orders for a traffic shift.

use axum::Json;
use axum::body::Body;
use axum::http::HeaderMap;
use serde::Deserialize;

use super::changes::{Empty, whole};
use super::identity::Asked;
use super::read::{self, Placeholders};
use super::{App, Problem, Shared};
use crate::engine::{Order, SteerReport};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Promote {
    #[serde(default)]
    full: bool,
}

/// An order that says all there is to say.
pub(super) async fn plain(
    order: Order,
    (shared, asked, path, headers): (App, Asked, Placeholders, HeaderMap),
    body: Body,
) -> Result<Json<SteerReport>, Problem> {
    let Empty {} = read::json(&headers, body).await?;
    steer(&shared, asked, &path, &headers, order).await
}

pub(super) async fn promote(
    shared: App,
    asked: Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SteerReport>, Problem> {
    let Promote { full } = read::json(&headers, body).await?;
    steer(&shared, asked, &path, &headers, Order::Promote { full }).await
}

async fn steer(
    shared: &Shared,
    Asked(commands): Asked,
    path: &Placeholders,
    headers: &HeaderMap,
    order: Order,
) -> Result<Json<SteerReport>, Problem> {
    let id = path.id()?;
    commands.versions(&id)?;
    shared.revisions.accept(&commands, &id, headers)?;
    whole(async move { commands.steer(&id, order).await }).await
}
