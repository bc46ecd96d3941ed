//! Orders for a traffic shift, from their arguments to their output.

use reqwest::Method;
use serde_json::json;

use super::args::Steer;
use super::client::{Body, Client};
use super::output::Output;
use super::requests::{read, show};
use super::{Exit, human};
use crate::admin::CommandError;
use crate::engine::SteerReport;

pub(super) async fn steer(steer: Steer, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let (id, order, body) = match steer {
        Steer::Pause { id } => (id, "pause", Body::Empty),
        Steer::Resume { id } => (id, "resume", Body::Empty),
        Steer::Promote { id, full } => (id, "promote", Body::Json(json!({ "full": full }))),
        Steer::Abort { id } => (id, "abort", Body::Empty),
    };
    let answer = client.send(Method::POST, &format!("/v1/modules/{id}/{order}"), body).await?;
    let done: SteerReport = read(&answer)?;
    show(output, &answer, || human::steered(&done))
}
