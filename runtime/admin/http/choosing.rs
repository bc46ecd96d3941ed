//! Capabilities, and which module is called for one.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Deserialize;

use super::changes::whole;
use super::identity::Asked;
use super::read::{self, Placeholders};
use super::{App, Problem};
use crate::engine::CapabilityView;

pub(super) async fn all(State(shared): App) -> Json<Vec<CapabilityView>> {
    Json(shared.admin.commands.capabilities())
}

pub(super) async fn one(State(shared): App, path: Placeholders) -> Result<Json<CapabilityView>, Problem> {
    Ok(Json(shared.admin.commands.capability(path.text("id"))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choose {
    provider: Option<String>,
}

pub(super) async fn choose(
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<CapabilityView>, Problem> {
    let given: Option<Choose> = read::json(&headers, body).await?;
    let Some(Choose { provider }) = given else {
        let help = "send {\"provider\": \"ID\"}, or null for whichever serves";
        return Err(Problem::of("bad-request", "there is no provider", help));
    };
    let capability = path.text("id").to_owned();
    whole(async move { commands.choose(&capability, provider.as_deref()).await }).await
}
