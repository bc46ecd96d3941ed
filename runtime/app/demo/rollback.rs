//! Chapter 3: a version that fails is taken back by itself, before many have met it.

use std::time::{Duration, Instant};

use super::gradual::{describe, serves_alone, targets};
use super::load::statistics::{Share, failures, sent_from};
use super::load::{Answer, Load, Rate};
use super::shift::{Seen, allowance, given_back, held};
use super::table::Table;
use super::{Aim, Demo, DemoError};
use crate::engine::strategy::StepName;
use crate::engine::{ActivationReport, Outcome};

const CHAPTER: &str = "rollback";
const ID: &str = "analytics-advanced";
const GOOD: &str = "1.3.0";
const BROKEN: &str = "1.4.0";

/// Answers to see before and after.
const CALM: usize = 100;

/// How long the way back takes once the verdict is there.
const BACK: Aim = Aim::new(Duration::from_millis(100), Duration::from_secs(2));

/// How long clients meet the fault: an interval and the way back. Under little traffic the verdict waits for its samples.
const EXPOSED: Aim = Aim::new(Duration::from_millis(1100), Duration::from_secs(10));

pub(super) async fn tell(demo: &Demo<'_>, table: &mut Table) -> Result<(), DemoError> {
    let (stage, server) = (demo.stage, demo.server);
    stage.begin(3, "Rollback: analytics-advanced 1.4.0 loses every third list; nobody watches");
    server.register(demo.modules.later("analytics-advanced-1.4.0")).await?;
    let load = Load::start(&targets(demo), Rate::STEADY)?;
    demo.goes_on(&load, CALM).await?;
    let (report, seen) = demo.follow(&load, server.activate(&format!("{ID}@{BROKEN}"))).await;
    let (report, ended) = (report?, Instant::now());
    demo.goes_on(&load, CALM).await?;
    let answers = load.stop().await?;

    let reason = report.reason.as_deref().unwrap_or_default();
    let held = held(&seen, ended);
    let caught = held.last().map_or_else(|| "no weight".to_owned(), |held| format!("{} %", held.weight));
    table.add(
        CHAPTER,
        "a version that fails is taken back by its error rate",
        format!("{} at {caught}: {reason}", report.outcome.name()),
        report.outcome == Outcome::RolledBack && reason.contains("errorRateExceeded") && !held.is_empty(),
    );
    let met = answers.iter().filter(|answer| !answer.is_good() && *answer.version == *BROKEN).count();
    let took = answers.iter().filter(|answer| *answer.version == *BROKEN).count();
    let most = allowance(&answers, &held);
    table.add(
        CHAPTER,
        "no more requests meet the fault than its share of the traffic",
        format!("{met} met it, {most} is its share; {BROKEN} took {took} requests in all"),
        met > 0 && met <= most,
    );
    let back = time_back(&report, &seen, &answers);
    table.add(
        CHAPTER,
        format!("from the verdict to all traffic on {GOOD} ({})", BACK.promised()),
        format!("{} (the longest of what engine, events and clients say)", BACK.seen(back)),
        BACK.is_kept(back),
    );
    let exposed = time_exposed(&answers);
    table.add(
        CHAPTER,
        format!("from the first failure to the last request that can meet one ({})", EXPOSED.promised()),
        EXPOSED.seen(exposed),
        EXPOSED.is_kept(exposed),
    );
    let (others, told) = failures(answers.iter().filter(|answer| *answer.version != *BROKEN));
    table.add(CHAPTER, "no other request fails", told, others.part == 0 && others.all > CALM);
    let (slot, good) = (server.slot(ID)?, Share::of(sent_from(&answers, ended), |answer| *answer.version == *GOOD));
    table.add(
        CHAPTER,
        "what served before serves as before",
        format!("{}; {} of {} answers from {GOOD}", describe(&slot), good.part, good.all),
        serves_alone(&slot, GOOD) && good.all > 0 && good.part == good.all,
    );
    stage.end(&table.summary(CHAPTER));
    Ok(())
}

/// How long the way back took at most. Three accounts of it are compared, since each can be too short: the step that the
/// engine timed, the time between the events, which may have been seen late, and the clients' own.
fn time_back(report: &ActivationReport, seen: &[Seen], answers: &[Answer]) -> Option<Duration> {
    let (verdict, apart) = given_back(seen)?;
    let step = report.rollback.iter().find(|step| step.name == StepName::StopTraffic)?;
    let last = answers.iter().filter(|answer| *answer.version == *BROKEN).map(|answer| answer.began).max()?;
    let step = Duration::from_secs_f64(step.ms / 1000.0);
    Some(apart.max(step).max(last.saturating_duration_since(verdict)))
}

/// How long clients met the fault.
fn time_exposed(answers: &[Answer]) -> Option<Duration> {
    let broken = || answers.iter().filter(|answer| *answer.version == *BROKEN);
    let first = broken().filter(|answer| !answer.is_good()).map(Answer::ended).min()?;
    Some(broken().map(|answer| answer.began).max()?.saturating_duration_since(first))
}
