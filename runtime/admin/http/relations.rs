//! How versions stand to each other.

use axum::Json;
use axum::extract::State;

use super::read::{Parameters, Placeholders, module, version};
use super::{App, Problem};
use crate::admin::commands::{self, Conflicts, Dependencies, Why};
use crate::engine::Forecast;
use crate::registry::compatibility::CompatibilityResult;
use crate::registry::validation::ValidationResult;
use crate::registry::versions::ModuleRef;

pub(super) async fn dependencies(
    State(shared): App,
    path: Placeholders,
    parameters: Parameters,
) -> Result<Json<Dependencies>, Problem> {
    Ok(Json(shared.admin.commands.dependencies(&wanted(&path, &parameters)?).await?))
}

pub(super) async fn conflicts(
    State(shared): App,
    path: Placeholders,
    parameters: Parameters,
) -> Result<Json<Conflicts>, Problem> {
    Ok(Json(shared.admin.commands.conflicts(&wanted(&path, &parameters)?)?))
}

pub(super) async fn validation(
    State(shared): App,
    path: Placeholders,
    parameters: Parameters,
) -> Result<Json<ValidationResult>, Problem> {
    Ok(Json(shared.admin.commands.validate_dependencies(&wanted(&path, &parameters)?)?))
}

pub(super) async fn compatibility(
    State(shared): App,
    path: Placeholders,
    parameters: Parameters,
) -> Result<Json<CompatibilityResult>, Problem> {
    let Some(from) = parameters.0.get("from") else {
        return Err(Problem::of(
            "bad-request",
            "from which version it is to take over is not said",
            "give ?from=VERSION",
        ));
    };
    let wanted = wanted(&path, &parameters)?;
    Ok(Json(shared.admin.commands.validate_version_compatibility(&wanted, &version(from)?)?))
}

pub(super) async fn plan(
    State(shared): App,
    path: Placeholders,
    parameters: Parameters,
) -> Result<Json<Forecast>, Problem> {
    let wanted = wanted(&path, &parameters)?;
    let strategy = parameters.0.get("strategy").map(|name| commands::strategy(name)).transpose()?;
    let set = parameters.0.get("set").map(String::as_str).unwrap_or_default();
    let others = set.split(';').filter(|label| !label.is_empty()).map(module).collect::<Result<Vec<_>, _>>()?;
    let commands = &shared.admin.commands;
    Ok(Json(match &*others {
        [] => commands.plan(&wanted, strategy).await?,
        others => commands.plan_set(&wanted, others, strategy).await?,
    }))
}

pub(super) async fn why(State(shared): App, path: Placeholders, parameters: Parameters) -> Result<Json<Why>, Problem> {
    Ok(Json(shared.admin.commands.why(&wanted(&path, &parameters)?).await?))
}

fn wanted(path: &Placeholders, Parameters(query): &Parameters) -> Result<ModuleRef, Problem> {
    Ok(ModuleRef { id: path.id()?, version: query.get("version").map(|text| version(text)).transpose()? })
}
