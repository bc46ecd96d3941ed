//! Chapter 2: a version takes over at once, in another language.

use std::time::{Duration, Instant};

use reqwest::Method;

use super::load::statistics::{Share, failures, sent_from};
use super::load::{Load, Rate, Target};
use super::table::Table;
use super::{Aim, Demo, DemoError, millis};
use crate::engine::strategy::StepName;

const CHAPTER: &str = "swap";
const ID: &str = "visits";
const OLD: &str = "1.0.0";
const NEW: &str = "2.0.0";
const PATH: &str = "/api/visits";

/// Answers to see before and after.
const CALM: usize = 300;

/// How long the switch takes.
const SWITCH: Aim = Aim::new(Duration::from_millis(50), Duration::from_secs(2));

pub(super) async fn tell(demo: &Demo<'_>, table: &mut Table) -> Result<(), DemoError> {
    let (stage, server) = (demo.stage, demo.server);
    stage.begin(2, "Instant: visits 1.0.0 in Lua → 2.0.0 in Rhai, at once, under GET and POST load");
    for version in [OLD, NEW] {
        server.register(demo.modules.later(&format!("{ID}-{version}"))).await?;
    }
    server.activate(&format!("{ID}@{OLD}")).await?.ensure_serves().map_err(DemoError::at(ID))?;
    let url = server.url(PATH);
    let load = Load::start(&[Target::get(url.clone()), Target::post(url)], Rate::STEADY)?;
    demo.goes_on(&load, CALM).await?;
    let asked = Instant::now();
    let (report, _) = demo.follow(&load, server.activate(&format!("{ID}@{NEW}"))).await;
    let (report, taken) = (report?, Instant::now());
    server.confirm(ID).await?;
    demo.goes_on(&load, CALM).await?;
    let answers = load.stop().await?;

    let (failed, told) = failures(&answers);
    table.add(
        CHAPTER,
        "no request fails in the swap",
        format!("GET and POST: {told}"),
        failed.part == 0 && failed.all > CALM,
    );
    let before = Share::of(answers.iter().filter(|answer| answer.ended() < asked), |answer| *answer.version == *OLD);
    let after = Share::of(sent_from(&answers, taken), |answer| *answer.version == *NEW);
    table.add(
        CHAPTER,
        "one version serves at a time",
        format!(
            "before: {} of {} answers from {OLD}; after: {} of {} from {NEW}",
            before.part, before.all, after.part, after.all
        ),
        before.all > 0 && before.part == before.all && after.all > 0 && after.part == after.all,
    );
    let switch = report.steps.iter().find(|step| step.name == StepName::Activate);
    let switch = switch.map(|step| Duration::from_secs_f64(step.ms / 1000.0));
    table.add(
        CHAPTER,
        format!("the traffic moves in one step ({})", SWITCH.promised()),
        format!("{}; {} with start and checks", SWITCH.seen(switch), millis(taken - asked)),
        report.outcome.serves() && SWITCH.is_kept(switch),
    );
    let posts = answers.iter().filter(|answer| answer.method == Method::POST && answer.is_good()).count();
    let count = server.document(PATH, &demo.token).await?["count"].as_u64();
    table.add(
        CHAPTER,
        "both versions count in the same store, and no visit is lost",
        format!("{posts} visits acknowledged, {} counted", count.unwrap_or_default()),
        posts > 0 && count.and_then(|count| usize::try_from(count).ok()) == Some(posts),
    );
    stage.end(&table.summary(CHAPTER));
    Ok(())
}
