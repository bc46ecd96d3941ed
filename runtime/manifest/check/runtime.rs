//! `runtime`: how the module's instances run.

use std::collections::BTreeMap;

use super::super::{ActorSpec, LimitsSpec, Place, Restart, RestartStrategy, RuntimeSpec, SupervisionSpec};
use super::Checker;
use super::fields::{Fields, Item};
use super::names::is_identifier;

const STRATEGIES: [(&str, RestartStrategy); 3] = [
    ("one_for_one", RestartStrategy::OneForOne),
    ("one_for_all", RestartStrategy::OneForAll),
    ("rest_for_one", RestartStrategy::RestForOne),
];

const RESTARTS: [(&str, Restart); 3] =
    [("permanent", Restart::Permanent), ("transient", Restart::Transient), ("temporary", Restart::Temporary)];

const MINUTE: u64 = 60_000;

impl Checker<'_, '_> {
    /// `runtime`.
    pub(super) fn runtime(&mut self, item: &Item<'_>) -> Option<RuntimeSpec> {
        let default = RuntimeSpec::default();
        let mut fields = Fields::open(self, item)?;
        let entry = fields.read(self, "entry", Self::entry);
        let workers = fields.read(self, "workers", |cx, item| cx.whole(item, 1..=64));
        let concurrency = fields.read(self, "concurrency", |cx, item| cx.whole(item, 1..=1024));
        let limits = fields.read(self, "limits", Self::limits).unwrap_or_default();
        let supervision = fields.read(self, "supervision", Self::supervision).unwrap_or_default();
        let actors = fields.read(self, "actors", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| cx.actor(item, &mut seen))
        });
        fields.close(self);
        Some(RuntimeSpec {
            entry,
            workers: workers.unwrap_or(default.workers),
            concurrency: concurrency.unwrap_or(default.concurrency),
            limits,
            supervision,
            actors: actors.unwrap_or_default(),
        })
    }

    fn entry(&mut self, item: &Item<'_>) -> Option<String> {
        let file = self.file(item)?;
        if file.ends_with(".lua") || file.ends_with(".rhai") {
            return Some(file);
        }
        self.expected(item, "a script, .lua or .rhai");
        None
    }

    fn limits(&mut self, item: &Item<'_>) -> Option<LimitsSpec> {
        let default = LimitsSpec::default();
        let mut fields = Fields::open(self, item)?;
        let ticks = fields.read(self, "ticks", |cx, item| cx.whole(item, 1000..=1_000_000_000_000));
        let cpu_time = fields.read(self, "cpuTime", |cx, item| cx.duration(item, 1..=10 * MINUTE));
        let wall = fields.take(self, "wallTime");
        let wall_time = wall.as_ref().and_then(|item| self.duration(item, 1..=10 * MINUTE));
        let memory = fields.read(self, "memory", |cx, item| cx.size(item, 1 << 20..=1 << 30));
        let queue = fields.read(self, "queue", |cx, item| cx.whole(item, 1..=65_536));
        let streams = fields.read(self, "streams", |cx, item| cx.whole(item, 1..=65_536));
        fields.close(self);
        let limits = LimitsSpec {
            ticks: ticks.unwrap_or(default.ticks),
            cpu_time: cpu_time.unwrap_or(default.cpu_time),
            wall_time: wall_time.unwrap_or(default.wall_time),
            memory: memory.unwrap_or(default.memory),
            queue: queue.unwrap_or(default.queue),
            streams: streams.unwrap_or(default.streams),
        };
        if limits.wall_time < limits.cpu_time {
            let (wall, cpu) = (limits.wall_time, limits.cpu_time);
            let message = format!("{}: a call ends after wallTime {wall:?}, before cpuTime {cpu:?}", item.path);
            self.report.warn(item.node.place, message, Some("give wallTime more than cpuTime".to_owned()));
        }
        Some(limits)
    }

    fn supervision(&mut self, item: &Item<'_>) -> Option<SupervisionSpec> {
        let default = SupervisionSpec::default();
        let mut fields = Fields::open(self, item)?;
        let strategy = fields.read(self, "strategy", |cx, item| cx.choice(item, &STRATEGIES));
        let intensity = fields.read(self, "intensity", |cx, item| cx.whole(item, 0..=1000));
        let period = fields.read(self, "period", |cx, item| cx.duration(item, 1..=60 * MINUTE));
        fields.close(self);
        Some(SupervisionSpec {
            strategy: strategy.unwrap_or(default.strategy),
            intensity: intensity.unwrap_or(default.intensity),
            period: period.unwrap_or(default.period),
        })
    }

    fn actor(&mut self, item: &Item<'_>, seen: &mut BTreeMap<String, Place>) -> Option<ActorSpec> {
        let mut fields = Fields::open(self, item)?;
        let id = fields.required(self, "id", |cx, item| {
            let help = "letters, digits, `_` and `-`, beginning with a letter or underscore";
            let id = cx.word(item, "the name of an actor", help, |text| is_identifier(text, "-"))?;
            cx.unique(seen, "actor", &id, item).then_some(id)
        });
        let restart = fields.read(self, "restart", |cx, item| cx.choice(item, &RESTARTS));
        let mailbox = fields.read(self, "mailbox", |cx, item| cx.whole(item, 1..=65_536));
        fields.close(self);
        let restart = restart.unwrap_or(Restart::Permanent);
        Some(ActorSpec { id: id?, restart, mailbox: mailbox.unwrap_or(1000) })
    }
}
