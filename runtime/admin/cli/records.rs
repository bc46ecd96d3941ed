//! What was done: `confirm`, `history` and `audit`.

use std::path::Path;

use reqwest::Method;
use serde_json::value::{RawValue, to_raw_value};

use super::client::{Body, Client};
use super::output::Output;
use super::requests::{read, runtime, show};
use super::{AuditArgs, Exit, Globals, human};
use crate::admin::CommandError;
use crate::admin::commands::{AUDIT_PAGE, verify_audit};
use crate::store::audit::{self, Verified};

/// How many entries are shown before those that follow.
const BEFORE: usize = 10;

pub(super) async fn confirm(id: &str, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let answer = client.send(Method::POST, &format!("/v1/modules/{id}/confirm"), Body::Empty).await?;
    let done: human::Confirmation = read(&answer)?;
    show(output, &answer, || human::confirmed(&done))
}

pub(super) async fn history(id: &str, limit: u16, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let answer = client.send(Method::GET, &format!("/v1/modules/{id}/history?limit={limit}"), Body::Empty).await?;
    let rows: Vec<human::HistoryRow> = read(&answer)?;
    show(output, &answer, || human::history(id, &rows))
}

/// Shows entries of the audit log, and those that follow until Ctrl-C. A log that cannot be shown whole is a failure.
pub(super) async fn audit(args: AuditArgs, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let limit = args.limit.map_or(if args.follow { BEFORE } else { AUDIT_PAGE }, usize::from);
    let from = args.from.map_or(String::new(), |from| format!("&from={from}"));
    let answer = client.send(Method::GET, &format!("/v1/audit?limit={limit}{from}"), Body::Empty).await?;
    if !args.follow {
        let rows: Vec<human::Row> = read(&answer)?;
        show(output, &answer, || human::entries(&rows, true))?;
        return damage(&rows).map_or(Ok(Exit::Done), Err);
    }
    let mut exit = Exit::Done;
    let mut next = each(output, &answer, true, &mut exit)?.or(args.from).unwrap_or(1);
    while !output.is_over() {
        let path = format!("/v1/audit?from={next}&wait=30s");
        let answer = tokio::select! {
            answer = client.send(Method::GET, &path, Body::Empty) => match answer {
                Err(error) if error.kind == "stopped" => return Err(client.ended("stops")),
                answer => answer?,
            },
            _ = tokio::signal::ctrl_c() => break,
        };
        next = each(output, &answer, false, &mut exit)?.unwrap_or(next);
    }
    Ok(exit)
}

/// Shows each entry on a line of its own, and gives the number after the last. What is damaged is told at once, and makes
/// `exit` a failure.
fn each(output: &mut Output, answer: &RawValue, first: bool, exit: &mut Exit) -> Result<Option<u64>, CommandError> {
    let rows: Vec<human::Row> = read(answer)?;
    let next = rows.last().map(human::Row::next);
    if output.is_json() {
        read::<Vec<Box<RawValue>>>(answer)?.into_iter().for_each(|row| output.result(row.get()));
    } else if first || next.is_some() {
        output.result(&human::entries(&rows, first));
    }
    if let Some(error) = damage(&rows) {
        output.error(&error);
        *exit = Exit::Failed;
    }
    Ok(next)
}

/// The error of rows that do not show the log whole.
fn damage(rows: &[human::Row]) -> Option<CommandError> {
    let mut damages = rows.iter().filter_map(human::Row::damage);
    let (first, more) = (damages.next()?, damages.count());
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    let error = CommandError::new("broken-chain", format!("audit log: {first}{more}"));
    Some(error.with_help("`replug audit verify` names the first place with file and line"))
}

/// Checks the audit log: the runtime does where one runs, and this process does where none can be asked.
pub(super) fn verify(globals: &Globals, output: &mut Output) -> Result<Exit, CommandError> {
    let dir = globals.data.join(audit::FOLDER);
    let asked = runtime()?
        .block_on(async { Client::new(&globals.data)?.send(Method::GET, "/v1/audit/verify", Body::Empty).await });
    let (answer, by) = match asked {
        Err(error) if error.kind == "unreachable" => (verify_here(&dir), "no runtime runs, so the files were read"),
        answer => (answer, "by the runtime that writes it"),
    };
    let answer = answer.map_err(|error| error.in_files(|file| place(&dir, file)))?;
    let Verified { entries, segments, head } = read(&answer)?;
    show(output, &answer, || {
        format!(
            "the audit log is whole: {entries} entries in {segments} segments ({by})\n\
             to hold it to that later, keep this elsewhere: entry {} has the hash {}",
            head.seq, head.hash
        )
    })
}

fn verify_here(dir: &Path) -> Result<Box<RawValue>, CommandError> {
    to_raw_value(&verify_audit(dir)?).map_err(|error| CommandError::new("internal", error.to_string()))
}

fn place(dir: &Path, file: &str) -> String {
    if file == "." { dir.display().to_string() } else { dir.join(file).display().to_string() }
}
