//! Chapter 4: scripts that never end by themselves, and what their neighbour notices.

use std::time::Duration;

use super::load::statistics::{Share, failures, percentile};
use super::load::{Answer, Load, Rate, Target};
use super::table::Table;
use super::{Demo, DemoError, millis};

const CHAPTER: &str = "limits";

/// Answers of the neighbour that a 99th percentile is read from.
const SAMPLES: usize = 600;

/// Requests to the module that is no good, at least.
const FEWEST: usize = 4;

/// How much slower than when it is calm the neighbour should get, and how slow it may get on a machine that does something
/// else as well.
const SLOWER: u32 = 3;
const MOST: Duration = Duration::from_millis(250);

/// A script that never ends by itself.
struct Hog {
    path: &'static str,
    what: &'static str,
    /// How its answers end when a limit ended it.
    limits: &'static [&'static str],
}

const HOGS: [Hog; 2] = [
    Hog { path: "/api/hog/spin", what: "loops for ever", limits: &["`cpuTime`", "`wallTime`", "`ticks`"] },
    Hog { path: "/api/hog/eat", what: "eats memory", limits: &["`memory`"] },
];

pub(super) async fn tell(demo: &Demo<'_>, table: &mut Table) -> Result<(), DemoError> {
    let (stage, server) = (demo.stage, demo.server);
    stage.begin(4, "Limits: a script that loops for ever and one that eats memory, beside a neighbour");
    server.register(demo.modules.later("hog-1.0.0")).await?;
    server.activate("hog@1.0.0").await?.ensure_serves().map_err(DemoError::at("hog"))?;
    let calm = neighbour(demo, None).await?;
    stage.say(&format!("p99 of its neighbour, visits, when it is calm: {}", p99(&calm)));
    for hog in &HOGS {
        let load = Load::start(&[Target::get(server.url(hog.path))], Rate::RELENTLESS)?;
        let beside = neighbour(demo, Some(&load)).await?;
        let answers = load.stop().await?;
        stage.say(&format!("p99 of the neighbour beside a script that {}: {}", hog.what, p99(&beside)));
        let ended = Share::of(&answers, |answer| {
            answer.status == 503 && hog.limits.iter().any(|limit| answer.detail.ends_with(limit))
        });
        let typical = percentile(&answers, 50).map_or_else(String::new, millis);
        let detail = answers.first().map_or("", |answer| &answer.detail);
        table.add(
            CHAPTER,
            format!("a script that {} is ended by its limit, each time", hog.what),
            format!("{} of {}, after {typical} (median, its wait included): {detail}", ended.part, ended.all),
            ended.all >= FEWEST && ended.part == ended.all,
        );
        let (failed, told) = failures(&beside);
        let (before, now) = (percentile(&calm, 99), percentile(&beside, 99));
        let missed = before.zip(now).is_some_and(|(before, now)| now > before * SLOWER);
        let missed = if missed { ", AIM MISSED" } else { "" };
        table.add(
            CHAPTER,
            format!("its neighbour goes on: none fails, p99 (aim {SLOWER}x of calm, at most {} ms)", MOST.as_millis()),
            format!("{told}, p99 {} beside {} when calm{missed}", p99(&beside), p99(&calm)),
            failed.part == 0 && failed.all >= SAMPLES && now.is_some_and(|now| now <= MOST),
        );
    }
    stage.end(&table.summary(CHAPTER));
    Ok(())
}

/// What the neighbour answers, while `beside` runs if there is one.
async fn neighbour(demo: &Demo<'_>, beside: Option<&Load>) -> Result<Vec<Answer>, DemoError> {
    let load = Load::start(&[Target::get(demo.server.url("/api/visits"))], Rate::STEADY)?;
    let wanted = async {
        load.goes_on(SAMPLES).await?;
        match beside {
            Some(beside) => beside.goes_on(FEWEST.saturating_sub(beside.count())).await,
            None => Ok(()),
        }
    };
    let (reached, _) = demo.follow(&load, wanted).await;
    reached?;
    load.stop().await
}

fn p99(answers: &[Answer]) -> String {
    percentile(answers, 99).map_or_else(|| "unknown".to_owned(), millis)
}
