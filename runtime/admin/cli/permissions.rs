//! `permissions`: what a module asks for, and decisions about it.

use reqwest::Method;

use super::client::{Body, Client};
use super::output::Output;
use super::requests::{read, show};
use super::{Exit, PermissionAction, PermissionArgs, human};
use crate::admin::CommandError;
use crate::admin::commands::{DecisionsView, Ruling};
use crate::sandbox::permissions::PermissionsView;

pub(super) async fn permissions(
    args: PermissionArgs,
    client: &Client,
    output: &mut Output,
) -> Result<Exit, CommandError> {
    let PermissionArgs { action, module, permissions } = args;
    let path = format!("/v1/modules/{}/permissions", module.id);
    let ruling = match action {
        PermissionAction::Show if !permissions.is_empty() => {
            let help = format!("replug permissions show {module}");
            return Err(CommandError::new("bad-request", "`show` takes no permissions: it shows all").with_help(help));
        }
        PermissionAction::Show => {
            let version = module.version.as_ref().map_or(String::new(), |version| {
                let query = form_urlencoded::byte_serialize(version.to_string().as_bytes()).collect::<String>();
                format!("?version={query}")
            });
            let answer = client.send(Method::GET, &format!("{path}{version}"), Body::Empty).await?;
            let view: PermissionsView = read(&answer)?;
            return show(output, &answer, || human::permissions(&view));
        }
        PermissionAction::Grant => Ruling::Grant,
        PermissionAction::Narrow => Ruling::Narrow,
        PermissionAction::Deny => Ruling::Deny,
    };
    let body = serde_json::json!({
        "decision": ruling.name(),
        "version": module.version.map(|version| version.to_string()),
        "permissions": permissions.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    let answer = client.send(Method::POST, &path, Body::Json(body)).await?;
    let view: DecisionsView = read(&answer)?;
    show(output, &answer, || human::decisions(&view))
}
