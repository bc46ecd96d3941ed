//! Chapter 3: a version that fails is taken back by itself, before many have met it.

use std::time::{Duration, Instant};

use super::gradual::{describe, serves_alone, targets};
use super::load::statistics::{Share, failures, sent_from};
use super::load::{Answer, Load, Rate};
use super::shift::{Seen, allowance, given_back, held};
use super::table::Table;
use super::{Demo, DemoError, millis};
use crate::engine::strategy::StepName;
use crate::engine::{ActivationReport, Outcome};

const CHAPTER: &str = "rollback";
const ID: &str = "analytics-advanced";
const GOOD: &str = "1.3.0";
const BROKEN: &str = "1.4.0";

/// Answers to see before and after.
const CALM: usize = 100;

/// How long the way back should take, and how long it may take on a machine that does something else as well.
const AIM: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(2);

pub(super) async fn tell(demo: &Demo<'_>, table: &mut Table) -> Result<(), DemoError> {
    let (stage, server) = (demo.stage, demo.server);
    stage.begin(3, "Rollback: analytics-advanced 1.4.0 loses every third list; nobody watches");
    server.register(demo.modules.later("analytics-advanced-1.4.0")).await?;
    let load = Load::start(&targets(demo), Rate::STEADY)?;
    load.goes_on(CALM).await?;
    let (report, seen) = demo.follow(&load, server.activate(&format!("{ID}@{BROKEN}"))).await;
    let (report, ended) = (report?, Instant::now());
    load.goes_on(CALM).await?;
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
        format!("from the verdict to all traffic on {GOOD} (aim {} ms, at most {} s)", AIM.as_millis(), MOST.as_secs()),
        back.map_or_else(
            || "never".to_owned(),
            |back| format!("{} at most, by engine, events and clients", millis(back)),
        ),
        back.is_some_and(|back| back <= MOST),
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
