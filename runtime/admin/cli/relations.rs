//! How versions stand to each other: each question from its arguments to its output.

use reqwest::Method;

use super::args::{FindArgs, Relation};
use super::client::{Body, Client};
use super::output::Output;
use super::requests::{read, show};
use super::{Exit, human};
use crate::admin::CommandError;
use crate::admin::commands::{FoundModule, VersionRow};
use crate::registry::versions::ModuleRef;

pub(super) async fn ask(relation: Relation, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    match relation {
        Relation::Versions { id, compatible_with } => {
            let from = compatible_with.map(|from| ("compatibleWith", from.to_string()));
            let path = format!("/v1/modules/{id}/versions{}", query(from));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let rows: Vec<VersionRow> = read(&answer)?;
            show(output, &answer, || human::versions(&rows))
        }
        Relation::Deps { module: ModuleRef { id, version } } => {
            let version = version.map(|version| ("version", version.to_string()));
            let path = format!("/v1/modules/{id}/dependencies{}", query(version));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let found = read(&answer)?;
            show(output, &answer, || human::dependencies(&found))
        }
        Relation::Plan { module: ModuleRef { id, version }, strategy, set } => {
            let version = version.map(|version| ("version", version.to_string()));
            let strategy = strategy.map(|strategy| ("strategy", strategy.name().to_owned()));
            let set: Vec<_> = set.iter().map(ToString::to_string).collect();
            let set = (!set.is_empty()).then(|| ("set", set.join(";")));
            let path = format!("/v1/modules/{id}/plan{}", query(version.into_iter().chain(strategy).chain(set)));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let found = read(&answer)?;
            show(output, &answer, || human::plan(&found))
        }
        Relation::Why { module: ModuleRef { id, version } } => {
            let version = version.map(|version| ("version", version.to_string()));
            let answer =
                client.send(Method::GET, &format!("/v1/modules/{id}/why{}", query(version)), Body::Empty).await?;
            let found = read(&answer)?;
            show(output, &answer, || human::why(&found))
        }
        Relation::Conflicts { module: ModuleRef { id, version } } => {
            let version = version.map(|version| ("version", version.to_string()));
            let path = format!("/v1/modules/{id}/conflicts{}", query(version));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let found = read(&answer)?;
            show(output, &answer, || human::conflicts(&found))
        }
        Relation::Validate { module: ModuleRef { id, version }, from: None } => {
            let version = version.map(|version| ("version", version.to_string()));
            let path = format!("/v1/modules/{id}/validation{}", query(version));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let found = read(&answer)?;
            show(output, &answer, || human::validation(&found))
        }
        Relation::Validate { module: ModuleRef { id, version }, from: Some(from) } => {
            let version = version.map(|version| ("version", version.to_string()));
            let from = [("from", from.to_string())];
            let path = format!("/v1/modules/{id}/compatibility{}", query(version.into_iter().chain(from)));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let found = read(&answer)?;
            show(output, &answer, || human::compatibility(&found))
        }
        Relation::Find(FindArgs { capability, category, compatible }) => {
            let ranges: Vec<_> = compatible.iter().map(ToString::to_string).collect();
            let compatible = (!ranges.is_empty()).then(|| ("compatible", ranges.join(";")));
            let capability = capability.map(|value| ("capability", value));
            let category = category.map(|value| ("category", value));
            let path = format!("/v1/find{}", query(capability.into_iter().chain(category).chain(compatible)));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let rows: Vec<FoundModule> = read(&answer)?;
            show(output, &answer, || human::found(&rows))
        }
    }
}

/// Parameters as they stand behind a path.
fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { query } else { format!("?{query}") }
}
