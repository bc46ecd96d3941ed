//! Why an activation would be refused, found out without beginning it.

use std::sync::Arc;

use semver::Version;

use super::activate::{definition, schema_key};
use super::board::version_of;
use super::through;
use super::validate;
use super::{Engine, EngineError};
use super::{sets, strategy};
use crate::manifest::ActivationStrategy;
use crate::registry::Definition;

/// What keeps a version from being activated, and what was found out with it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) refused: Vec<EngineError>,
    /// The versions to go through before it, in order.
    pub(super) via: Vec<Arc<Definition>>,
    /// The migrations that are its own to apply: those of the versions before it are applied by then.
    pub(super) pending: Vec<Version>,
}

impl Engine {
    /// Everything for which [`Engine::activate`] would refuse this version now, the first of which it would tell; empty: it
    /// would begin, or the version serves already. Nothing is changed.
    ///
    /// # Errors
    /// The version is not registered.
    pub async fn refusals(
        &self,
        id: &str,
        version: &Version,
        strategy: Option<ActivationStrategy>,
    ) -> Result<Vec<EngineError>, EngineError> {
        let definition = definition(&self.shared, id, version)?;
        let slot = self.shared.board.slot(id);
        if slot.state.serving.as_ref().and_then(version_of).as_ref() == Some(version) && !slot.is_stuck() {
            return Ok(Vec::new());
        }
        let (snapshot, placed) = (self.shared.registry.snapshot(), self.shared.board.placed());
        let fits = validate::fits(&definition, &snapshot, &placed);
        Ok(self.looked_over(&definition, strategy, false, fits).await.refused)
    }

    /// Looks at everything that an activation looks at before it begins, in the same order, and goes on after what is in the
    /// way. Whether the version fits is known; `joins`: it is to be one of a set.
    pub(super) async fn looked_over(
        &self,
        definition: &Arc<Definition>,
        strategy: Option<ActivationStrategy>,
        joins: bool,
        fits: Result<(), EngineError>,
    ) -> Found {
        let manifest = &definition.manifest;
        let (id, version) = (manifest.id.as_str(), &manifest.version);
        let (snapshot, placed) = (self.shared.registry.snapshot(), self.shared.board.placed());
        let slot = self.shared.board.slot(id);
        let mut found = Found::default();
        found.note(sets::alone(id, &slot, || format!("activated at {version}")));
        let serving = slot.state.serving.as_ref().and_then(version_of).filter(|serving| serving != version);
        if let Some(before) = serving.as_ref().and_then(|serving| snapshot.get(id, serving)) {
            found.note(validate::reversible(before, definition));
        }
        // what stands by follows nothing: the module returns to it
        let stands_by = slot.stands_by(version);
        if let Some(from) = serving.filter(|_| !stands_by) {
            match through::stops(&snapshot, definition, &from) {
                Ok(stops) => found.via = stops,
                Err(error) => found.note(Err(error)),
            }
        }
        if let Some(stop) = found.via.first().filter(|_| joins) {
            let stop = stop.manifest.version.to_string();
            found.note(Err(EngineError::Set { reason: sets::by_way_of(manifest, Some(&stop)) }));
        }
        let mut applied = Vec::new();
        for leg in found.via.clone() {
            found.note(validate::fits(&leg, &snapshot, &placed));
            let pending = self.looked_at(&leg, strategy, &applied, &mut found).await;
            applied.extend(pending);
        }
        found.note(fits);
        if !stands_by {
            found.pending = self.looked_at(definition, strategy, &applied, &mut found).await;
        }
        found
    }

    /// Looks at one version alone. Gives the migrations that are pending besides those that are `applied` before it.
    async fn looked_at(
        &self,
        definition: &Arc<Definition>,
        strategy: Option<ActivationStrategy>,
        applied: &[Version],
        found: &mut Found,
    ) -> Vec<Version> {
        let (manifest, hands) = (&definition.manifest, &self.shared.hands);
        found.note(validate::configured(manifest));
        found.note(hands.supplies.permissions.would_admit(manifest).map_err(EngineError::from));
        let checked = match validate::read(Arc::clone(definition), &hands.supplies.aborts).await {
            Ok(checked) => checked,
            Err(error) => {
                found.note(Err(error));
                return Vec::new();
            }
        };
        let Some(migrator) = &hands.migrator else { return Vec::new() };
        let mut pending = match migrator.pending(&checked.subject(schema_key(manifest))).await {
            Ok(pending) => pending,
            Err(error) => {
                found.note(Err(EngineError::Port { module: manifest.label(), cause: error.to_string() }));
                return Vec::new();
            }
        };
        pending.retain(|migration| !applied.contains(migration));
        let strategy = strategy.unwrap_or(manifest.lifecycle.activation.strategy);
        if !strategy::steps(strategy).contains(&strategy::StepName::Migrate) {
            found.note(validate::migrates(manifest, strategy, &pending));
        }
        pending
    }
}

impl Found {
    fn note(&mut self, checked: Result<(), EngineError>) {
        self.refused.extend(checked.err());
    }
}
