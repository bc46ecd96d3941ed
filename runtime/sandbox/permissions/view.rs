//! What a version asks for and what is given of it, for people and programs.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::decisions::{Ruled, Standing};
use super::manager::PermissionManager;
use super::refusal::place;
use crate::manifest::{FILE_NAME, Manifest};
use crate::store::audit::Who;

/// The permissions of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionsView {
    /// The module.
    pub id: String,
    /// The version that asks.
    pub version: String,
    /// How often the decisions about the module changed.
    pub revision: u64,
    /// What it asks for, in the order of its manifest.
    pub permissions: Vec<PermissionRow>,
}

/// Something that a version asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionRow {
    /// What, in the form that commands take.
    pub permission: String,
    /// How it stands.
    pub state: Standing,
    /// What is given of it.
    pub effective: Vec<String>,
    /// The manifest's name.
    pub file: Cow<'static, str>,
    /// The line that asks for it; none for a default.
    pub line: Option<usize>,
    /// Who decided, if anybody did.
    pub by: Option<Who>,
    /// When, in milliseconds since 1970.
    pub at: Option<u64>,
}

impl PermissionsView {
    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.permissions.iter().filter(|row| row.state == Standing::Waiting).count()
    }
}

impl PermissionManager {
    /// What `manifest` asks for and what is given of it. Quotas at their defaults, about which nothing was decided, are left
    /// out.
    #[must_use]
    pub fn show(&self, manifest: &Manifest) -> PermissionsView {
        let decisions = self.decisions(&manifest.id);
        let shown = |it: &Ruled| it.asked.line.is_some() || it.standing != Standing::Declared;
        let rows = decisions.rule(manifest).into_iter().filter(shown).map(|it| PermissionRow {
            permission: it.asked.permission.to_string(),
            state: it.standing,
            effective: it.given.iter().map(ToString::to_string).collect(),
            file: Cow::Borrowed(FILE_NAME),
            line: it.asked.line,
            by: it.decided.map(|(who, _)| who),
            at: it.decided.map(|(_, at)| at),
        });
        PermissionsView {
            id: manifest.id.clone(),
            version: manifest.version.to_string(),
            revision: decisions.revision,
            permissions: rows.collect(),
        }
    }

    /// Whether a version of `manifest` may be activated: nothing of what it asks for waits. Where whatever is asked is to be
    /// granted, it is.
    ///
    /// # Errors
    /// What waits, or why it could not be granted.
    pub async fn admit(&self, manifest: &Manifest) -> Result<(), Ungranted> {
        if self.grants_all() {
            let granted = self.grant_all_asked(manifest, Who::Host).await;
            granted.map_err(|error| Ungranted {
                module: manifest.label(),
                waiting: Vec::new(),
                cause: Some(Box::new(error)),
            })?;
        }
        self.all_decided(manifest)
    }

    /// What [`Self::admit`] would say, without granting anything.
    ///
    /// # Errors
    /// As there; that it could not be granted is not known before it is tried.
    pub fn would_admit(&self, manifest: &Manifest) -> Result<(), Ungranted> {
        if self.grants_all() { Ok(()) } else { self.all_decided(manifest) }
    }

    fn all_decided(&self, manifest: &Manifest) -> Result<(), Ungranted> {
        let waiting = self.waiting(manifest);
        if waiting.is_empty() {
            return Ok(());
        }
        Err(Ungranted { module: manifest.label(), waiting, cause: None })
    }
}

/// A version waits for an administrator.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", self.words())]
pub struct Ungranted {
    /// `id@version`.
    pub module: String,
    /// What it waits for.
    pub waiting: Vec<Asked>,
    /// Why it could not be granted, where that was tried.
    pub cause: Option<Box<super::PermissionError>>,
}

impl Ungranted {
    /// The first line of the manifest that asks for something that waits.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.waiting.iter().find_map(|asked| asked.line)
    }

    fn words(&self) -> String {
        let module = &self.module;
        if let Some(cause) = &self.cause {
            return format!("{module} waits for permissions that could not be granted: {cause}");
        }
        let waiting: Vec<_> =
            self.waiting.iter().map(|asked| format!("{} ({})", asked.permission, place(asked.line))).collect();
        format!(
            "{module} asks for what nobody granted yet: {}; look at it and grant it: replug permissions grant {module}",
            waiting.join(", ")
        )
    }
}
