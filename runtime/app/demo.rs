//! `replug demo`: shows what the product promises, on runtimes that it starts itself, and measures whether it keeps it.
//!
//! | chapter | what it shows |
//! |---|---|
//! | `gradual` | a version takes over step by step, judged at each weight |
//! | `swap` | a version takes over at once, in another language |
//! | `rollback` | a version that fails is taken back by itself |
//! | `limits` | scripts that never end, and what their neighbour notices |
//! | `recovery` | a process that is killed in the middle of an activation |
//!
//! Each chapter tells what it does on `stage` while `load` sends requests over sockets, and adds to `table` what was promised
//! and what was seen. What was seen comes from the answers, the events and the reports of this run alone.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::engine::ShiftReport;
use crate::monitor::Event;

mod aim;
mod child;
mod error;
mod gradual;
mod limits;
mod load;
mod modules;
mod recovery;
mod rollback;
mod server;
mod shift;
mod stage;
mod swap;
mod table;

pub use error::DemoError;

use aim::{Aim, millis};
use load::Load;
use modules::Modules;
use server::Server;
use shift::Seen;
use stage::Stage;
use table::Table;

use super::signals::told_to_stop;

/// How often the line that lives is written anew.
const TICK: Duration = Duration::from_millis(100);

/// How the name of the temporary folder begins.
const FOLDER: &str = "replug-demo-";

/// Runs the demo and writes its table to standard output, as one JSON document if `json` says so. Gives whether every promise
/// was kept. Whatever happens, its processes are ended and its temporary folder is removed.
///
/// # Errors
/// Something that it needs could not be done, or it was told to stop by SIGTERM, SIGHUP or Ctrl-C.
pub async fn demo(json: bool) -> Result<bool, DemoError> {
    let (began, stage) = (Instant::now(), Stage::new());
    // asked from the beginning: a signal that comes while something starts waits for its end
    let stop = tokio::spawn(told_to_stop());
    let folder =
        tempfile::Builder::new().prefix(FOLDER).tempdir().map_err(DemoError::at("making a temporary folder"))?;
    let told = run(&stage, folder.path(), stop).await;
    drop(stage);
    let removed = folder.close().map_err(DemoError::at("removing the temporary folder"));
    let (table, took) = (told?, began.elapsed());
    removed?;
    let text = if json { table.json(took) } else { table.text(took) };
    write(&text).map_err(DemoError::at("standard output"))?;
    Ok(table.is_kept())
}

async fn run(stage: &Stage, folder: &Path, stop: tokio::task::JoinHandle<()>) -> Result<Table, DemoError> {
    let modules = Modules::unpack(&folder.join("modules"))?;
    let server = Server::start(&folder.join("data"), &modules.first()).await?;
    let told = tokio::select! {
        told = tell(stage, &server, &modules, folder) => told,
        _ = stop => Err(DemoError::Interrupted),
    };
    let closed = server.close().await;
    let table = told?;
    closed?;
    Ok(table)
}

async fn tell(stage: &Stage, server: &Server, modules: &Modules, folder: &Path) -> Result<Table, DemoError> {
    let token = server.sign_up().await?;
    let demo = Demo { stage, server, modules, folder, token };
    let mut table = Table::default();
    gradual::tell(&demo, &mut table).await?;
    swap::tell(&demo, &mut table).await?;
    rollback::tell(&demo, &mut table).await?;
    limits::tell(&demo, &mut table).await?;
    recovery::tell(&demo, &mut table).await?;
    Ok(table)
}

/// What the chapters work with.
struct Demo<'a> {
    stage: &'a Stage,
    server: &'a Server,
    modules: &'a Modules,
    /// The temporary folder.
    folder: &'a Path,
    /// A token of somebody who may do everything.
    token: String,
}

impl Demo<'_> {
    /// Waits for `more` further answers to `load`, and shows how far it is.
    async fn goes_on(&self, load: &Load, more: usize) -> Result<(), DemoError> {
        self.follow(load, load.goes_on(more)).await.0
    }

    /// Waits for `work` while `load` runs, shows how far that is and how the traffic shifts, and gives what happened until
    /// `work` ended.
    async fn follow<T>(&self, load: &Load, work: impl Future<Output = T>) -> (T, Vec<Seen>) {
        let (mut events, mut seen, mut open) = (self.server.events(), Vec::new(), true);
        let mut ticks = tokio::time::interval(TICK);
        tokio::pin!(work);
        let ended = loop {
            tokio::select! {
                event = events.recv(), if open => match event {
                    Ok(event) => {
                        seen.push((Instant::now(), Arc::clone(&event)));
                        self.show(&event);
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => open = false,
                },
                _ = ticks.tick() => self.stage.live(load.progress()),
                ended = &mut work => break ended,
            }
        };
        // what happened before the end, and was not yet looked at
        loop {
            match events.try_recv() {
                Ok(event) => {
                    self.show(&event);
                    seen.push((Instant::now(), event));
                }
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        (ended, seen)
    }

    fn show(&self, event: &Event) {
        match event {
            Event::TrafficShifted { instance, weight } => {
                let (id, version) = (&instance.id, &instance.version);
                self.stage.say(&format!("{weight:3} % of the requests go to {id} {version}"));
            }
            Event::Judged { weight, verdict, detail, .. } if *weight > 0 => {
                let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
                self.stage.say(&format!("      judged at {weight} %: {verdict}{detail}"));
            }
            Event::StateChanged { instance, to: "provisional", .. } => {
                self.stage.say(&format!("100 % of the requests go to {} {}", instance.id, instance.version));
            }
            _ => {}
        }
    }
}

/// The weights of a shift and what was said of them, such as `10 % pass, 30 % fail`.
fn verdicts(shift: &[ShiftReport]) -> String {
    let told = shift.iter().map(|report| format!("{} % {}", report.weight, report.verdict));
    told.collect::<Vec<_>>().join(", ")
}

fn write(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}
