//! Chapter 1: a version takes over step by step, under load.

use std::time::Instant;

use reqwest::Method;

use super::load::statistics::{Share, failures, sent_from};
use super::load::{Answer, Load, Rate, Target};
use super::shift::{held, share};
use super::table::Table;
use super::{Demo, DemoError, millis, verdicts};
use crate::engine::{SlotView, State};

const CHAPTER: &str = "gradual";
const ID: &str = "analytics-advanced";
const NEW: &str = "1.3.0";

/// What is posted.
const REPORT: &str = r#"{"name":"Visits of the demo","metric":"visits"}"#;

/// Answers to see before and after.
const CALM: usize = 100;

/// Requests under a weight below which its share says nothing.
const FEWEST: usize = 30;

pub(super) async fn tell(demo: &Demo<'_>, table: &mut Table) -> Result<(), DemoError> {
    let (stage, server) = (demo.stage, demo.server);
    stage.begin(1, "Gradual: analytics-advanced 1.2.0 → 1.3.0 under GET and POST load, judged each second");
    server.register(demo.modules.later("analytics-advanced-1.3.0")).await?;
    let targets = targets(demo);
    let load = Load::start(&targets, Rate::STEADY)?;
    demo.goes_on(&load, CALM).await?;
    let (report, seen) = demo.follow(&load, server.activate(&format!("{ID}@{NEW}"))).await;
    let (report, taken) = (report?, Instant::now());
    let confirming = Instant::now();
    let confirmed = server.confirm(ID).await?;
    stage.say(&format!("{ID} {} confirmed in {}", confirmed.version, millis(confirming.elapsed())));
    demo.goes_on(&load, CALM).await?;
    let answers = load.stop().await?;

    let (failed, told) = failures(&answers);
    table.add(
        CHAPTER,
        "no request fails while a version takes over",
        format!("GET and POST: {told}"),
        failed.part == 0 && failed.all > CALM,
    );
    let held = held(&seen, taken);
    let shares: Vec<_> = held.iter().map(|held| (held.weight, share(&answers, NEW, held))).collect();
    let slack = targets.len() * Rate::STEADY.connections;
    let fits = |(weight, share): &(u8, Share)| share.all >= FEWEST && share.fits(*weight, slack);
    let told = shares.iter().map(|(weight, share)| format!("{weight} %: {:.1} % of {}", share.percent(), share.all));
    table.add(
        CHAPTER,
        "each weight is the share that reaches the new version (within chance)",
        told.collect::<Vec<_>>().join(", "),
        shares.len() > 1 && shares.iter().all(fits),
    );
    let new = Share::of(sent_from(&answers, taken), |answer| *answer.version == *NEW);
    table.add(
        CHAPTER,
        "a version that does well at each weight takes everything",
        format!("{}; then {} of {} answers came from {NEW}", verdicts(&report.traffic_shift), new.part, new.all),
        report.outcome.serves() && new.all > 0 && new.part == new.all,
    );
    let slot = server.slot(ID)?;
    table.add(
        CHAPTER,
        "confirmed, it is what serves from now on",
        describe(&slot),
        confirmed.version == NEW && serves_alone(&slot, NEW),
    );
    let acknowledged = acknowledged(&answers);
    let totals = server.document("/api/analytics/metrics", &demo.token).await?;
    let stored = totals["totals"]["reports"].as_u64().and_then(|count| usize::try_from(count).ok());
    table.add(
        CHAPTER,
        "what was acknowledged is there, whichever version took it",
        format!("{acknowledged} reports acknowledged, {} stored", stored.unwrap_or_default()),
        acknowledged > 0 && stored == Some(acknowledged),
    );
    stage.end(&table.summary(CHAPTER));
    Ok(())
}

/// The load on the module: lists are read, reports are stored.
pub(super) fn targets(demo: &Demo<'_>) -> [Target; 2] {
    let url = demo.server.url("/api/analytics/reports");
    let token = Some(demo.token.clone());
    let get = Target { token: token.clone(), ..Target::get(format!("{url}?limit=10")) };
    let post = Target { token, body: Some(REPORT), ..Target::post(url) };
    [get, post]
}

fn acknowledged(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.method == Method::POST && answer.is_good()).count()
}

/// Whether `version` serves, confirmed, and no other has a share.
pub(super) fn serves_alone(slot: &SlotView, version: &str) -> bool {
    slot.version == version && slot.state == State::Active && slot.weight == 100 && slot.candidate.is_none()
}

/// A slot in words.
pub(super) fn describe(slot: &SlotView) -> String {
    let candidate = slot.candidate.as_ref().map_or_else(
        || "no other version has a share".to_owned(),
        |other| format!("{} has {} %", other.version, other.weight),
    );
    format!("{} is {} at {} %, {candidate}", slot.version, slot.state.name(), slot.weight)
}
