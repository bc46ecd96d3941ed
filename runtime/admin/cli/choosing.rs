//! `capabilities` and `choose`, from their arguments to their output.

use reqwest::Method;
use serde_json::json;

use super::args::Choosing;
use super::client::{Body, Client};
use super::output::Output;
use super::requests::{read, show};
use super::{Exit, human};
use crate::admin::CommandError;
use crate::engine::CapabilityView;

pub(super) async fn run(choosing: Choosing, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    match choosing {
        Choosing::Capabilities { capability: None } => {
            let answer = client.send(Method::GET, "/v1/capabilities", Body::Empty).await?;
            let views: Vec<CapabilityView> = read(&answer)?;
            show(output, &answer, || human::capabilities(&views))
        }
        Choosing::Capabilities { capability: Some(capability) } => {
            let answer = client.send(Method::GET, &path(&capability), Body::Empty).await?;
            let view: CapabilityView = read(&answer)?;
            show(output, &answer, || human::capabilities(&[view]))
        }
        Choosing::Choose { capability, id, any: _ } => {
            let body = Body::Json(json!({ "provider": id }));
            let answer = client.send(Method::PUT, &path(&capability), body).await?;
            let view: CapabilityView = read(&answer)?;
            show(output, &answer, || human::chosen(&view))
        }
    }
}

fn path(capability: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(capability.as_bytes()).collect();
    format!("/v1/capabilities/{encoded}")
}
