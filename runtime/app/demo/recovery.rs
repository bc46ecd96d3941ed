//! Chapter 5: a process that is killed in the middle of an activation, and what the next one makes of its data.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::child::Child;
use super::load::statistics::{Share, failures, sent_from};
use super::load::{Answer, Load, Rate, Target};
use super::table::Table;
use super::{Aim, Demo, DemoError, millis};

const CHAPTER: &str = "recovery";
const ID: &str = "visits";
const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";
const PATH: &str = "/api/visits";

/// Versions that are registered before, besides those that serve.
const REGISTERED: [&str; 3] = ["2.0.1", "2.0.2", "2.0.3"];

/// Answers to see before the kill, during the shift, and after the recovery.
const CALM: usize = 100;

/// How long the candidate may take to get its first share.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the recovery takes: every slot is settled within 10 s.
const RECOVERY: Aim = Aim::new(Duration::from_secs(1), Duration::from_secs(10));

/// When the process was there.
struct Lives {
    killed: Instant,
    ready: Instant,
}

pub(super) async fn tell(demo: &Demo<'_>, table: &mut Table) -> Result<(), DemoError> {
    let stage = demo.stage;
    stage.begin(5, "Recovery: a runtime in a process of its own is killed with -9 while visits 1.0.0 → 2.0.0 shifts");
    let mut child = Child::new(demo.folder, demo.modules.later(&format!("{ID}-{OLD}")))?;
    let took = child.start().await?;
    stage.say(&format!("a child process serves {ID} {OLD}, ready after {}", millis(took)));
    let registered = register(demo, &child).await?;
    let url = child.url(PATH);
    let load = Load::start(&[Target::get(url.clone()), Target::post(url)], Rate::STEADY)?;
    demo.goes_on(&load, CALM).await?;
    child.run(&["activate", &format!("{ID}@{NEW}"), "--strategy", "gradual", "--no-wait"]).await?;
    shifts(&child).await?;
    demo.goes_on(&load, CALM).await?;
    let before = child.run(&["audit", "verify"]).await?;
    let weight = weight(&child).await?.unwrap_or_default();
    let killed = Instant::now();
    child.kill();
    stage.say(&format!("killed with {NEW} at {weight} % of the requests"));
    let took = child.start().await?;
    let lives = Lives { killed, ready: Instant::now() };
    stage.say(&format!("started again, ready after {}", millis(took)));
    demo.goes_on(&load, CALM).await?;
    let answers = load.stop().await?;

    add_service(table, &child, &answers, &lives).await?;
    table.add(
        CHAPTER,
        format!("it serves again soon ({})", RECOVERY.promised()),
        format!("{} from the start of the process", RECOVERY.seen(Some(took))),
        RECOVERY.is_kept(Some(took)),
    );
    add_kept(table, &child, &answers, &registered).await?;
    add_audit(table, &child, &before).await?;
    stage.end(&table.summary(CHAPTER));
    Ok(())
}

/// Registers what is to outlive the kill; gives each version with its digest, as it was acknowledged.
async fn register(demo: &Demo<'_>, child: &Child) -> Result<Vec<(Value, Value)>, DemoError> {
    let mut dirs = vec![demo.modules.later(&format!("{ID}-{NEW}"))];
    for version in REGISTERED {
        dirs.push(demo.modules.copy_of_visits(version)?);
    }
    let mut registered = Vec::new();
    for dir in dirs {
        let done = child.run(&["register", &dir.display().to_string()]).await?;
        registered.push((done["version"].clone(), done["digest"].clone()));
    }
    Ok(registered)
}

/// Waits until the candidate has a share.
async fn shifts(child: &Child) -> Result<(), DemoError> {
    let shifted = async {
        while weight(child).await?.is_none_or(|weight| weight == 0) {}
        Ok(())
    };
    let late = |_| DemoError::step(ID, format!("{NEW} got no requests in {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, shifted).await.map_err(late)?
}

/// The candidate's share in percent, while there is one.
async fn weight(child: &Child) -> Result<Option<u64>, DemoError> {
    Ok(slot(child).await?["candidate"]["weight"].as_u64())
}

async fn slot(child: &Child) -> Result<Value, DemoError> {
    let rows = child.run(&["list"]).await?;
    let found = rows.as_array().and_then(|rows| rows.iter().find(|row| row["id"] == ID));
    found.cloned().ok_or_else(|| DemoError::step(ID, "it has no slot"))
}

/// What serves after the kill, and what clients saw of it.
async fn add_service(table: &mut Table, child: &Child, answers: &[Answer], lives: &Lives) -> Result<(), DemoError> {
    let slot = slot(child).await?;
    let history = child.run(&["history", ID]).await?;
    let interrupted = history
        .as_array()
        .and_then(|entries| entries.iter().find(|entry| entry["command"] == "activate" && entry["version"] == NEW));
    let outcome = interrupted.map_or(&Value::Null, |entry| &entry["outcome"]);
    let old = Share::of(sent_from(answers, lives.ready), |answer| *answer.version == *OLD);
    let new = answers.iter().filter(|answer| answer.ended() < lives.killed && *answer.version == *NEW).count();
    let word = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    table.add(
        CHAPTER,
        "the interrupted activation is undone: one version serves",
        format!(
            "{} {}; {NEW}, which had answered {new} requests, is {}; {} of {} answers from {OLD}",
            word(&slot["version"]),
            word(&slot["state"]),
            word(outcome),
            old.part,
            old.all
        ),
        slot["version"] == OLD
            && slot["state"] == "active"
            && slot["weight"] == 100
            && slot["candidate"].is_null()
            && outcome == "rolled-back"
            && old.all > 0
            && old.part == old.all,
    );
    let alive = answers.iter().filter(|answer| answer.ended() < lives.killed || answer.began >= lives.ready);
    let (failed, told) = failures(alive);
    table.add(
        CHAPTER,
        "no request fails but while the process is dead",
        format!(
            "{told}; it was dead for {}, {} requests fell into that",
            millis(lives.ready - lives.killed),
            answers.len() - failed.all
        ),
        failed.part == 0 && failed.all > CALM,
    );
    Ok(())
}

/// Whether everything that was acknowledged is there.
async fn add_kept(
    table: &mut Table,
    child: &Child,
    answers: &[Answer],
    registered: &[(Value, Value)],
) -> Result<(), DemoError> {
    let versions = child.run(&["versions", ID]).await?;
    let is_there = |(version, digest): &&(Value, Value)| {
        versions.as_array().is_some_and(|rows| {
            rows.iter().any(|row| row["version"] == *version && row["digest"] == *digest && row["state"] != "unusable")
        })
    };
    let found = registered.iter().filter(is_there).count();
    let posts = Share::of(answers.iter().filter(|answer| answer.method == Method::POST), Answer::is_good);
    // one that was cut off may have been counted, and nobody was told
    let cut = posts.all - posts.part;
    let counted = child.document(PATH).await?["count"].as_u64().and_then(|count| usize::try_from(count).ok());
    table.add(
        CHAPTER,
        "nothing that was acknowledged is lost",
        format!(
            "{found} of {} registrations; {} visits acknowledged, {cut} cut off, {} counted",
            registered.len(),
            posts.part,
            counted.unwrap_or_default()
        ),
        found == registered.len()
            && posts.part > 0
            && counted.is_some_and(|counted| (posts.part..=posts.all).contains(&counted)),
    );
    Ok(())
}

/// Whether the audit log is whole and still has what it had.
async fn add_audit(table: &mut Table, child: &Child, before: &Value) -> Result<(), DemoError> {
    let after = child.run(&["audit", "verify"]).await?;
    let newest = &before["head"]["seq"];
    let read = child.run(&["audit", "--from", &newest.to_string(), "--limit", "1"]).await?;
    let same = !newest.is_null() && read[0]["seq"] == *newest && read[0]["hash"] == before["head"]["hash"];
    let entries = |verified: &Value| verified["entries"].as_u64().unwrap_or_default();
    table.add(
        CHAPTER,
        "the audit log is whole: its chain holds across the kill",
        format!(
            "{} entries verified before, {} after; entry {newest} has {} hash",
            entries(before),
            entries(&after),
            if same { "the same" } else { "ANOTHER" }
        ),
        same && entries(&after) > entries(before),
    );
    Ok(())
}
