//! `top`: what modules use, once or again and again.

use std::time::Duration;

use reqwest::Method;
use serde_json::value::RawValue;

use super::client::{Body, Client};
use super::output::Output;
use super::requests::{read, show};
use super::{Exit, TopArgs, human};
use crate::admin::CommandError;
use crate::admin::commands::UsageRow;

/// Shows it; with `--watch` until Ctrl-C, or until the runtime cannot be reached any more.
pub(super) async fn top(args: TopArgs, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let path = args.id.as_ref().map_or("/v1/usage".to_owned(), |id| format!("/v1/modules/{id}/usage"));
    loop {
        let answer = client.send(Method::GET, &path, Body::Empty).await?;
        if args.watch {
            output.clear();
        }
        frame(&answer, args.id.is_some(), output)?;
        if !args.watch || output.is_over() {
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(u64::from(args.every))) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

fn frame(answer: &RawValue, is_of_one: bool, output: &mut Output) -> Result<Exit, CommandError> {
    if is_of_one {
        let row: UsageRow = read(answer)?;
        return show(output, answer, || human::usages(&[row]));
    }
    let view = read(answer)?;
    show(output, answer, || human::usage(&view))
}
