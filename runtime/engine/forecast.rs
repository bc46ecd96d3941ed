//! What an activation would do, found out without doing it.

use std::collections::BTreeSet;
use std::sync::Arc;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::activate::{definition, schema_key};
use super::board::version_of;
use super::plan::{self, Change};
use super::refusals::Found;
use super::rollback;
use super::sets;
use super::strategy::{self, StepName};
use super::traffic::Weights;
use super::validate;
use super::{Engine, EngineError};
use crate::manifest::{ActivationStrategy, Manifest};
use crate::monitor::InstanceKey;
use crate::registry::Definition;
use crate::registry::resolver::{self, Running};

/// What an activation would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The module.
    pub id: String,
    /// The version that would serve.
    pub version: String,
    /// The one that serves; none: nothing of the module does.
    pub from: Option<String>,
    /// The versions between, which are activated before it, each by its own steps.
    pub via: Vec<String>,
    /// `instant` or `gradual`.
    pub strategy: String,
    /// Why it would be refused now; empty: it would begin.
    pub refused: Vec<String>,
    /// Its steps, in order, each with what it does.
    pub steps: Vec<ForecastStep>,
    /// The weights of the traffic shift in percent; empty: the traffic moves at once.
    pub weights: Vec<u8>,
    /// The copies of requests by which it would be judged at weight 0; none: it would be asked for its health alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<ForecastMirror>,
    /// For how long it could be returned from by itself, in milliseconds; 0: there is nothing to return to.
    pub confirm_window: u64,
    /// What changes for others, one line each.
    pub changes: Vec<String>,
    /// The other running modules that have to do with it, and how.
    pub touched: Vec<Touched>,
    /// The running modules that have nothing to do with it.
    pub untouched: Vec<String>,
    /// What a rollback would come to.
    pub rollback: String,
    /// The same of the others of its set, which take over, are confirmed and return with it as one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Self>,
}

/// Which requests would be copied for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastMirror {
    /// Their methods.
    pub methods: Vec<String>,
    /// How many of them, in percent.
    pub share: u8,
}

/// A step of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastStep {
    /// The specification's name.
    pub name: String,
    /// What it does, one line each.
    pub does: Vec<String>,
}

/// A module that has to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// `id@version`.
    pub module: String,
    /// How.
    pub how: String,
}

impl Engine {
    /// What [`Engine::activate`] would do, without doing it: the steps, what changes, and what has to do with it.
    ///
    /// # Errors
    /// The version is not registered, or what it needs to know cannot be read. What an activation would be refused for is part of
    /// the forecast.
    pub async fn forecast(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError> {
        let definition = definition(&self.shared, id, version)?;
        let (snapshot, placed) = (self.shared.registry.snapshot(), self.shared.board.placed());
        let fits = validate::fits(&definition, &snapshot, &placed);
        self.forecast_of(&definition, strategy, (&placed.running, false), fits).await
    }

    /// What [`Engine::activate_set`] would do, without doing it: the forecast of the first member, with those of the others in it.
    /// What keeps the set from taking over is told by the first.
    ///
    /// # Errors
    /// As [`Engine::forecast`], and what is no set is refused.
    pub async fn forecast_set(
        &self,
        members: &[(String, Version)],
        strategy: Option<ActivationStrategy>,
    ) -> Result<Forecast, EngineError> {
        sets::named(members)?;
        let find = |(id, version): &(String, Version)| definition(&self.shared, id, version);
        let set = members.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let (snapshot, placed) = (self.shared.registry.snapshot(), self.shared.board.placed());
        let mut fits = validate::fit_together(&set, &snapshot, &placed);
        let moves = members.iter().map(|(id, version)| (id.clone(), Some(version.clone()))).collect();
        let running = resolver::moved(&placed.running, &moves);
        let mut forecasts = Vec::new();
        for definition in &set {
            let fits = std::mem::replace(&mut fits, Ok(()));
            forecasts.push(self.forecast_of(definition, strategy, (&running, set.len() > 1), fits).await?);
        }
        let others = forecasts.split_off(1);
        let first = forecasts.pop().ok_or_else(|| EngineError::Internal("a set without members".to_owned()))?;
        Ok(Forecast { set: others, ..first })
    }

    /// The forecast of one version beside what runs then, alone or as one of a set; whether it fits is known.
    async fn forecast_of(
        &self,
        definition: &Arc<Definition>,
        strategy_asked: Option<ActivationStrategy>,
        (running, joins): (&Running, bool),
        fits: Result<(), EngineError>,
    ) -> Result<Forecast, EngineError> {
        let shared = &self.shared;
        let manifest = &definition.manifest;
        let (id, version) = (manifest.id.as_str(), &manifest.version);
        let strategy = strategy_asked.unwrap_or(manifest.lifecycle.activation.strategy);
        let snapshot = shared.registry.snapshot();
        let slot = shared.board.slot(id);
        let serving = slot.state.serving.as_ref().and_then(version_of);
        let before = serving.as_ref().and_then(|version| snapshot.get(id, version));

        let Found { refused, via, pending } = self.looked_over(definition, strategy_asked, joins, fits).await;
        let mut refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        let via = via.iter().map(|stop| stop.manifest.version.to_string()).collect();
        let serves = serving.as_ref() == Some(version) && !slot.is_stuck();
        if serves {
            refused.push(format!("{} serves already: nothing would be done", manifest.label()));
        }

        let generation = slot.versions.values().map(|record| record.generation).max().unwrap_or(0) + 1;
        let key = InstanceKey { generation, ..schema_key(manifest) };
        // the module returns to what stands by
        let stands_by = slot.stands_by(version);
        let steps = if stands_by { &[StepName::Activate][..] } else { strategy::steps(strategy) };
        let keeps_standby = !stands_by && slot.keeps_standby();
        let plan = plan::activate(&key, &slot.state, steps, &pending, keeps_standby);
        let mut steps: Vec<_> = plan.steps.iter().map(|step| ForecastStep::of(step, manifest)).collect();
        if let (true, Some(newer), Some(step)) = (stands_by, before, steps.last_mut()) {
            let owed = rollback::owed(newer, definition);
            step.does.extend(owed.map(|owed| format!("takes back the migrations {}", list(&owed.migrations))));
        }
        let (touched, untouched) = surroundings(definition, &snapshot, running);
        let stays = slot.state.standby.as_ref().and_then(version_of).or(serving.clone());
        let returns_to = stays.filter(|_| keeps_standby);
        let shifts = strategy == ActivationStrategy::Gradual && keeps_standby && serving.is_some() && !joins;
        let shifting = &manifest.lifecycle.activation.traffic_shifting;
        let mirror = shifting.mirror.as_ref().filter(|_| shifts);
        let window = manifest.lifecycle.activation.confirm_window.as_millis();
        Ok(Forecast {
            id: id.to_owned(),
            version: version.to_string(),
            from: serving.as_ref().map(ToString::to_string),
            via,
            strategy: if strategy == ActivationStrategy::Gradual && !stands_by { "gradual" } else { "instant" }
                .to_owned(),
            refused,
            steps,
            weights: if shifts { Weights::of(shifting).collect() } else { Vec::new() },
            mirror: mirror.map(|mirror| ForecastMirror { methods: mirror.methods.clone(), share: mirror.share }),
            confirm_window: if returns_to.is_some() || joins { u64::try_from(window).unwrap_or(u64::MAX) } else { 0 },
            changes: changes(before.map(|before| &before.manifest), manifest),
            touched,
            untouched,
            set: Vec::new(),
            rollback: way_back(definition, returns_to.as_ref().and_then(|it| snapshot.get(id, it)).map(|it| &**it)),
        })
    }
}

impl ForecastStep {
    fn of(step: &plan::Step, manifest: &Manifest) -> Self {
        let does = match step.name {
            StepName::Validate => vec!["checks dependencies, conflicts, paths, permissions and scripts".to_owned()],
            _ => step.changes.iter().map(|change| words(change, manifest)).collect(),
        };
        let does = if does.is_empty() { vec!["nothing to do".to_owned()] } else { does };
        Self { name: step.name.name().to_owned(), does }
    }
}

fn list(versions: &[Version]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn words(change: &Change, manifest: &Manifest) -> String {
    let label = |key: &InstanceKey| format!("{}@{}", key.id, key.version);
    match change {
        Change::Prepare(key) => format!("prepares what the integrations hold for {}", label(key)),
        Change::Start(key) => match manifest.runtime.actors.len() {
            0 => format!("compiles {}, makes a VM and runs `init`", label(key)),
            _ => {
                let ids: Vec<_> = manifest.runtime.actors.iter().map(|actor| actor.id.as_str()).collect();
                format!("compiles {}, makes a VM and runs `init`; its actors are {}", label(key), ids.join(", "))
            }
        },
        Change::Bind(key) => format!("binds the handlers of {}; nothing is visible yet", label(key)),
        Change::Migrate(_, versions) => format!("applies the migrations {}", list(versions)),
        Change::Warm(key) => format!("runs `warmup` of {}", label(key)),
        Change::Route(route) => {
            let serving = |state: &plan::SlotState| state.serving.as_ref().map(label);
            match (serving(&route.from), serving(&route.to)) {
                (Some(from), Some(to)) => format!("moves the traffic from {from} to {to}"),
                (None, Some(to)) => format!("gives {to} the traffic"),
                (_, None) => format!("takes {} out of service", route.id),
            }
        }
        Change::Verify(key) => format!("asks the health checks of {}", label(key)),
        Change::Release(_) | Change::Stop(_) | Change::Unbind(_) | Change::Revert(..) | Change::Restore(..) => {
            "takes back what was done".to_owned()
        }
    }
}

/// What comes and goes with the version, one line each.
fn changes(before: Option<&Manifest>, after: &Manifest) -> Vec<String> {
    type Parts = fn(&Manifest) -> BTreeSet<String>;
    let parts: [(&str, Parts); 5] = [
        ("page", |manifest| manifest.routes.iter().map(|route| route.path.clone()).collect()),
        ("api", |manifest| {
            let apis = manifest.apis.iter();
            apis.flat_map(|api| api.methods.iter().map(|method| format!("{method} {}", api.path))).collect()
        }),
        ("capability", |manifest| {
            manifest.capabilities.iter().map(|offered| format!("{}@{}", offered.id, offered.version)).collect()
        }),
        ("actor", |manifest| manifest.runtime.actors.iter().map(|actor| actor.id.clone()).collect()),
        ("setting", |manifest| manifest.config.schema.keys().cloned().collect()),
    ];
    let mut lines = Vec::new();
    for (name, of) in parts {
        let (old, new) = (before.map(of).unwrap_or_default(), of(after));
        lines.extend(new.difference(&old).map(|part| format!("+ {name} {part}")));
        lines.extend(old.difference(&new).map(|part| format!("- {name} {part}")));
    }
    lines
}

/// The running modules that need it or that it needs, and the others.
fn surroundings(
    definition: &Definition,
    snapshot: &crate::registry::Snapshot,
    running: &Running,
) -> (Vec<Touched>, Vec<String>) {
    let (mut touched, mut untouched) = (Vec::new(), Vec::new());
    let manifest = &definition.manifest;
    for (id, version) in running.iter().filter(|(id, _)| **id != manifest.id) {
        let Some(other) = snapshot.get(id, version) else { continue };
        let uses = resolver::uses(&other.manifest, manifest)
            .map(|what| format!("uses {what} of it, from then on of this version"));
        let used = || resolver::uses(manifest, &other.manifest).map(|what| format!("gives it {what}"));
        match uses.or_else(used) {
            Some(how) => touched.push(Touched { module: other.label(), how }),
            None => untouched.push(other.label()),
        }
    }
    (touched, untouched)
}

fn way_back(newer: &Definition, returns_to: Option<&Definition>) -> String {
    let Some(older) = returns_to else {
        return "there is nothing to return to: a failure takes it out of service".to_owned();
    };
    let version = &older.manifest.version;
    match validate::one_way(newer, Some(older)) {
        None => format!("returns to {version}"),
        Some(migration) => format!(
            "returns to {version} before it takes over; from then on the module freezes with an alarm instead, since migration \
             {migration} cannot be taken back"
        ),
    }
}
