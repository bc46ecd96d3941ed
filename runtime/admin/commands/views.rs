//! What the commands answer, in the form in which it is sent and printed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Finding;
use crate::engine::{ActivationReport, SlotView, VersionState};
use crate::manifest::{Capability, Manifest};
use crate::registry::{Definition, Problem, Registration};

/// What `register` came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The module.
    pub id: String,
    /// Its version.
    pub version: String,
    /// BLAKE3 of its files.
    pub digest: String,
    /// `false`: the same content was registered already.
    pub fresh: bool,
    /// What is legal in the manifest but probably not meant.
    pub warnings: Vec<Finding>,
}

impl Registered {
    pub(super) fn of(done: &Registration) -> Self {
        Self {
            id: done.definition.manifest.id.clone(),
            version: done.definition.manifest.version.to_string(),
            digest: done.definition.digest.clone(),
            fresh: done.fresh,
            warnings: done.warnings.iter().cloned().map(Finding::from).collect(),
        }
    }
}

/// What `update` came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Updated {
    /// The registration.
    #[serde(flatten)]
    pub registered: Registered,
    /// The activation; none if no version served, or this one did.
    pub activation: Option<ActivationReport>,
}

/// What `unregister` removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unregistered {
    /// The module.
    pub id: String,
    /// The versions that are gone.
    pub versions: Vec<String>,
}

/// A row of `versions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionRow {
    /// The version.
    pub version: String,
    /// Its state; `unusable` when its files are missing, changed or no longer accepted.
    pub state: Cow<'static, str>,
    /// When it was registered, in milliseconds since 1970; unknown of what is unusable.
    pub registered_at: Option<u64>,
    /// BLAKE3 of its files.
    pub digest: String,
    /// Why it is in this state, where there is more to say.
    pub reason: Option<String>,
}

impl VersionRow {
    pub(super) fn of(definition: &Definition, state: VersionState) -> Self {
        Self {
            version: definition.manifest.version.to_string(),
            state: Cow::Borrowed(state.state.name()),
            registered_at: Some(definition.registered_at),
            digest: definition.digest.clone(),
            reason: state.reason,
        }
    }

    pub(super) fn unusable(problem: &Problem) -> Self {
        Self {
            version: problem.version.to_string(),
            state: Cow::Borrowed("unusable"),
            registered_at: None,
            digest: problem.digest.clone(),
            reason: Some(problem.cause.clone()),
        }
    }
}

/// What `show` tells of a version.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleView {
    /// The module.
    pub id: String,
    /// The version.
    pub version: String,
    /// Its state, with reason, time and generation.
    #[serde(flatten)]
    pub state: VersionState,
    /// Its share of the module's traffic, in percent.
    pub weight: u8,
    /// BLAKE3 of its files.
    pub digest: String,
    /// When it was registered, in milliseconds since 1970.
    pub registered_at: u64,
    /// The module's slot; none if no version of it was ever activated.
    pub slot: Option<SlotView>,
    /// What is legal in the manifest but probably not meant.
    pub warnings: Vec<Finding>,
    /// The manifest as it was understood, with all defaults.
    pub manifest: Manifest,
}

impl ModuleView {
    pub(super) fn of(definition: &Definition, state: VersionState, slot: Option<SlotView>) -> Self {
        let version = definition.manifest.version.to_string();
        let weight = slot.as_ref().map_or(0, |slot| match &slot.candidate {
            _ if slot.version == version => slot.weight,
            Some(candidate) if candidate.version == version => candidate.weight,
            _ => 0,
        });
        Self {
            id: definition.manifest.id.clone(),
            version,
            state,
            weight,
            digest: definition.digest.clone(),
            registered_at: definition.registered_at,
            slot,
            warnings: definition.warnings.iter().cloned().map(Finding::from).collect(),
            manifest: definition.manifest.clone(),
        }
    }
}

/// A version that `find` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundModule {
    /// The module.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The version's state.
    pub state: Cow<'static, str>,
    /// What it offers of what was asked for.
    pub capabilities: Vec<FoundCapability>,
    /// The permissions that its manifest asks for; only in the list of all versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
}

/// A capability that `find` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCapability {
    /// The capability.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its category.
    pub category: String,
}

impl FoundModule {
    pub(super) fn of(definition: &Definition, state: &VersionState, meant: impl Fn(&Capability) -> bool) -> Self {
        let offered = definition.manifest.capabilities.iter().filter(|offered| meant(offered));
        let capabilities = offered.map(|offered| FoundCapability {
            id: offered.id.clone(),
            version: offered.version.to_string(),
            category: offered.category.clone(),
        });
        Self {
            id: definition.manifest.id.clone(),
            version: definition.manifest.version.to_string(),
            state: Cow::Borrowed(state.state.name()),
            capabilities: capabilities.collect(),
            asks: Vec::new(),
        }
    }

    pub(super) fn unusable(problem: &Problem) -> Self {
        Self {
            id: problem.id.clone(),
            version: problem.version.to_string(),
            state: Cow::Borrowed("unusable"),
            capabilities: Vec::new(),
            asks: Vec::new(),
        }
    }
}
