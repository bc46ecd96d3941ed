//! What a module asks for, as a resource that decisions are posted to.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::changes::whole;
use super::identity::Asked;
use super::read::{self, Parameters, Placeholders};
use super::reads::tagged;
use super::{App, Problem};
use crate::admin::commands::{DecisionsView, ruling};
use crate::registry::versions::ModuleRef;
use crate::sandbox::permissions::{NoPermission, Permission};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decide {
    decision: String,
    version: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

pub(super) async fn show(
    State(shared): App,
    path: Placeholders,
    Parameters(query): Parameters,
) -> Result<Response, Problem> {
    let (id, version) = (path.id()?, query.get("version").map(|text| read::version(text)).transpose()?);
    tagged(&shared, &id.clone(), || Ok(shared.admin.commands.permissions(&ModuleRef { id, version })?))
}

pub(super) async fn decide(
    State(shared): App,
    Asked(commands): Asked,
    path: Placeholders,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<DecisionsView>, Problem> {
    let id = path.id()?;
    let Decide { decision, version, permissions } = read::json(&headers, body).await?;
    let (ruling, version) = (ruling(&decision)?, version.map(|text| read::version(&text)).transpose()?);
    let permissions: Result<Vec<Permission>, NoPermission> = permissions.iter().map(|text| text.parse()).collect();
    let permissions = permissions
        .map_err(|error| Problem::of("bad-request", error.to_string(), "see GET /v1/modules/{id}/permissions"))?;
    let wanted = ModuleRef { id: id.clone(), version };
    commands.resolve(&wanted)?;
    shared.revisions.accept(&commands, &id, &headers)?;
    whole(async move { commands.decide(&wanted, ruling, &permissions).await }).await
}
