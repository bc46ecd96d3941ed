//! What modules ask for, and what is decided about it.

use serde::{Deserialize, Serialize};

use super::{CommandError, Commands, Location};
use crate::manifest::{FILE_NAME, Manifest};
use crate::registry::versions::ModuleRef;
use crate::sandbox::permissions::{
    Decided, Permission, PermissionError, PermissionsView, Standing, Ungranted, Verdict,
};

pub use crate::sandbox::permissions::Ruling;

/// Decisions that were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionsView {
    /// The module.
    pub id: String,
    /// The version that asks.
    pub version: String,
    /// How often the decisions about the module changed by now.
    pub revision: u64,
    /// What was decided; nothing if all of it was decided so before.
    pub decided: Vec<DecidedRow>,
    /// What the version waits for still.
    pub waiting: Vec<String>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecidedRow {
    /// What was asked for.
    pub permission: String,
    /// `granted`, `narrowed` or `denied`.
    pub state: Standing,
    /// What it was narrowed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Decisions about less, which are gone with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
}

impl DecidedRow {
    fn of(decided: &Decided) -> Self {
        let texts = |all: &[Permission]| all.iter().map(ToString::to_string).collect();
        let (state, to) = match &decided.verdict {
            Verdict::Granted => (Standing::Granted, Vec::new()),
            Verdict::Narrowed(to) => (Standing::Narrowed, texts(to)),
            Verdict::Denied => (Standing::Denied, Vec::new()),
        };
        Self { permission: decided.permission.to_string(), state, to, replaces: texts(&decided.replaces) }
    }
}

impl Commands {
    /// What a version asks for and what is given of it; without a version of the newest.
    ///
    /// # Errors
    /// It is not registered, or it is but cannot be used.
    pub fn permissions(&self, wanted: &ModuleRef) -> Result<PermissionsView, CommandError> {
        let definition = self.resolve(wanted)?;
        Ok(self.engine.permissions().show(&definition.manifest))
    }

    /// Decides about what a version asks for; see [`PermissionManager::decide`]. Without a version it is the newest one that
    /// asks for all of it.
    ///
    /// # Errors
    /// `not-asked`: no version asks for it so; `bad-request`: nothing was named; `store`, `audit`.
    ///
    /// [`PermissionManager::decide`]: crate::sandbox::permissions::PermissionManager::decide
    pub async fn decide(
        &self,
        wanted: &ModuleRef,
        ruling: Ruling,
        permissions: &[Permission],
    ) -> Result<DecisionsView, CommandError> {
        let newest = self.resolve(wanted)?;
        let first = self.decide_about(&newest.manifest, ruling, permissions).await;
        let Err(PermissionError::NotAsked { .. }) = &first else { return Ok(first?) };
        if wanted.version.is_none() {
            // what runs may be an older version
            let snapshot = self.registry.snapshot();
            for older in snapshot.modules.get(&wanted.id).into_iter().flat_map(|versions| versions.values().rev()) {
                match self.decide_about(&older.manifest, ruling, permissions).await {
                    Err(PermissionError::NotAsked { .. }) => {}
                    decided => return Ok(decided?),
                }
            }
        }
        Ok(first?)
    }

    /// Has the audit log told that a request was not let in.
    pub fn turned_away(&self, reason: &str, data: impl FnOnce() -> serde_json::Value) {
        self.engine.permissions().turned_away(reason, data);
    }

    async fn decide_about(
        &self,
        manifest: &Manifest,
        ruling: Ruling,
        permissions: &[Permission],
    ) -> Result<DecisionsView, PermissionError> {
        let manager = self.engine.permissions();
        let decided = manager.decide(manifest, ruling, permissions, self.by.clone()).await?;
        Ok(DecisionsView {
            id: manifest.id.clone(),
            version: manifest.version.to_string(),
            revision: manager.revision(&manifest.id),
            decided: decided.iter().map(DecidedRow::of).collect(),
            waiting: manager.waiting(manifest).iter().map(|it| it.permission.to_string()).collect(),
        })
    }
}

/// A ruling by its name.
///
/// # Errors
/// There is no such ruling.
pub fn ruling(name: &str) -> Result<Ruling, CommandError> {
    let all = [Ruling::Grant, Ruling::Narrow, Ruling::Deny];
    all.into_iter().find(|ruling| ruling.name() == name).ok_or_else(|| {
        let shown: String = name.chars().take(40).collect();
        let message = format!("there is no decision `{}`", shown.escape_debug());
        CommandError::new("bad-request", message).with_help("give `grant`, `narrow` or `deny`")
    })
}

impl From<Ungranted> for CommandError {
    fn from(error: Ungranted) -> Self {
        let help = format!("replug permissions show {0}, then replug permissions grant {0}", error.module);
        let location = error.line().map(|line| Box::new(Location { file: FILE_NAME.to_owned(), line, column: 1 }));
        Self { location, ..Self::new("ungranted", error.to_string()).with_help(help) }
    }
}

impl From<PermissionError> for CommandError {
    fn from(error: PermissionError) -> Self {
        use PermissionError as E;
        let message = error.to_string();
        match error {
            E::NotAsked { module, .. } | E::Part { module, .. } | E::Whole { module, .. } | E::Own { module, .. } => {
                Self::new("not-asked", message).with_help(format!("replug permissions show {module}"))
            }
            E::Nothing { module } | E::TooLittle { module, .. } => {
                Self::new("bad-request", message).with_help(format!("replug permissions show {module}"))
            }
            E::Store(_) => Self::new("store", message).with_help("see the log of the runtime; nothing was decided"),
            E::Audit(error) => error.into(),
        }
    }
}
