//! Granting, narrowing, denying and forgetting.

use std::collections::BTreeMap;

use serde_json::json;

use super::decisions::{Decision, Decisions, Ruled, Standing, Verdict};
use super::error::PermissionError;
use super::manager::PermissionManager;
use super::permission::Permission;
use crate::manifest::Manifest;
use crate::store::audit::{By, Entry, Kind, Who};

/// What is to be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Give all of it.
    Grant,
    /// Give less of it.
    Narrow,
    /// Give nothing of it.
    Deny,
}

impl Ruling {
    /// Its name, as commands say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Narrow => "narrow",
            Self::Deny => "deny",
        }
    }
}

/// A decision that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What was asked for.
    pub permission: Permission,
    /// What was made of it.
    pub verdict: Verdict,
    /// Decisions about less, in whose place this one stands now.
    pub replaces: Vec<Permission>,
}

impl PermissionManager {
    /// Grants all that waits of `manifest`.
    ///
    /// # Errors
    /// It could not be written; nothing is decided then.
    pub async fn grant_all_asked(&self, manifest: &Manifest, who: Who) -> Result<Vec<Decided>, PermissionError> {
        self.decide(manifest, Ruling::Grant, &[], who).await
    }

    /// Decides about what `manifest` asks for, and returns when that is on the disk and in effect. `permissions` are to be
    /// granted or denied just as they are asked for; to narrow, they are the parts that are given. None of them grants all
    /// that waits. What is decided so already stays as it is.
    ///
    /// # Errors
    /// The manifest does not ask for one of them, or it could not be written; nothing is decided then.
    pub async fn decide(
        &self,
        manifest: &Manifest,
        ruling: Ruling,
        permissions: &[Permission],
        by: impl Into<By>,
    ) -> Result<Vec<Decided>, PermissionError> {
        let by = by.into();
        let _turn = self.inner.turn.lock().await;
        let before = self.decisions(&manifest.id);
        let verdicts = verdicts(manifest, &before.rule(manifest), ruling, permissions)?;
        let (mut after, mut decided, at) = (Decisions::clone(&before), Vec::new(), (self.inner.clock)());
        for (permission, verdict) in verdicts {
            if before.made.get(&permission).is_some_and(|made| made.verdict == verdict) {
                continue;
            }
            let replaces = after.decide(permission.clone(), Decision { verdict: verdict.clone(), who: by.who, at });
            decided.push(Decided { permission, verdict, replaces });
        }
        if decided.is_empty() {
            return Ok(decided);
        }
        after.revision += 1;
        for it in &decided {
            self.inner.audit.append(entry(it, manifest, after.revision, by.clone())).await?;
        }
        if let Err(error) = self.inner.records.write(&manifest.id, &before, &after).await {
            self.recant(&decided, manifest, &error.to_string()).await;
            return Err(error.into());
        }
        self.apply(&manifest.id, after);
        Ok(decided)
    }

    /// Forgets what was decided about a module: whoever registers another one under its id later is to be looked at anew.
    ///
    /// # Errors
    /// It could not be written; the decisions hold on.
    pub async fn forget(&self, id: &str, by: impl Into<By>) -> Result<(), PermissionError> {
        let by = by.into();
        let _turn = self.inner.turn.lock().await;
        let before = self.decisions(id);
        if before.made.is_empty() {
            return Ok(());
        }
        let permissions: Vec<_> = before.made.keys().map(ToString::to_string).take(100).collect();
        let data = json!({ "permissions": permissions, "count": before.made.len() });
        self.inner.audit.append(Entry::new(Kind::PermissionsForgotten, by, id).with(data)).await?;
        self.inner.records.forget(id, &before).await?;
        self.apply(id, Decisions { revision: before.revision + 1, made: BTreeMap::new() });
        Ok(())
    }

    /// Forgets what `who` decided, of whichever module; what it was about waits.
    ///
    /// # Errors
    /// As [`PermissionManager::forget`]; what was forgotten until then stays so.
    pub async fn forget_by(&self, who: Who) -> Result<(), PermissionError> {
        for id in self.decided() {
            let _turn = self.inner.turn.lock().await;
            let before = self.decisions(&id);
            let mut after = Decisions::clone(&before);
            after.made.retain(|_, decision| decision.who != who);
            if after.made.len() == before.made.len() {
                continue;
            }
            after.revision += 1;
            let gone = before.made.iter().filter(|(_, decision)| decision.who == who);
            let permissions: Vec<_> = gone.map(|(permission, _)| permission.to_string()).take(100).collect();
            let data = json!({ "permissions": permissions, "count": before.made.len() - after.made.len() });
            let entry = Entry::new(Kind::PermissionsForgotten, Who::Runtime, id.clone()).with(data);
            self.inner.audit.append(entry).await?;
            self.inner.records.write(&id, &before, &after).await?;
            self.apply(&id, after);
        }
        Ok(())
    }

    /// Forgets what was decided about modules that are not known: a runtime may have ended between the end of the last
    /// version of one and the end of its decisions.
    ///
    /// # Errors
    /// As [`PermissionManager::forget`].
    pub async fn keep_only(&self, is_known: impl Fn(&str) -> bool) -> Result<(), PermissionError> {
        for id in self.decided().iter().filter(|id| !is_known(id)) {
            self.forget(id, Who::Runtime).await?;
        }
        Ok(())
    }

    /// Says in the audit log that what it has did not come about.
    async fn recant(&self, decided: &[Decided], manifest: &Manifest, cause: &str) {
        let permissions: Vec<_> = decided.iter().map(|it| it.permission.to_string()).collect();
        let message = format!("decisions about {} did not come about: {cause}", permissions.join(", "));
        let message: String = message.chars().take(1024).collect();
        let entry = Entry::new(Kind::Alarm, Who::Runtime, manifest.label()).with(json!({ "message": message }));
        if let Err(error) = self.inner.audit.append(entry).await {
            tracing::error!(module = %manifest.id, %error, "the audit log has decisions that did not come about");
        }
    }
}

fn entry(decided: &Decided, manifest: &Manifest, revision: u64, by: By) -> Entry {
    let texts = |all: &[Permission]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (kind, to) = match &decided.verdict {
        Verdict::Granted => (Kind::PermissionGranted, None),
        Verdict::Narrowed(to) => (Kind::PermissionNarrowed, Some(texts(to))),
        Verdict::Denied => (Kind::PermissionDenied, None),
    };
    let replaces = Some(texts(&decided.replaces)).filter(|replaces| !replaces.is_empty());
    let data =
        json!({ "permission": decided.permission.to_string(), "to": to, "replaces": replaces, "revision": revision });
    Entry::new(kind, by, manifest.label()).with(data)
}

/// What is to be decided about each permission that is asked for.
fn verdicts(
    manifest: &Manifest,
    ruled: &[Ruled],
    ruling: Ruling,
    permissions: &[Permission],
) -> Result<BTreeMap<Permission, Verdict>, PermissionError> {
    let module = || manifest.label();
    if permissions.is_empty() {
        let waiting = ruled.iter().filter(|it| it.standing == Standing::Waiting);
        return match ruling {
            Ruling::Grant => Ok(waiting.map(|it| (it.asked.permission.clone(), Verdict::Granted)).collect()),
            Ruling::Narrow | Ruling::Deny => Err(PermissionError::Nothing { module: module() }),
        };
    }
    let asked = || ruled.iter().map(|it| &it.asked);
    let not_asked = |permission: &Permission| {
        let named = asked().filter(|it| it.line.is_some() || it.needs_grant).map(|it| it.permission.clone());
        PermissionError::NotAsked { module: module(), permission: permission.clone(), asked: named.collect() }
    };
    // of what holds all of it and more, the narrowest
    let whole = |permission: &Permission| {
        let wider = asked().map(|it| &it.permission).filter(|it| *it != permission && it.covers(permission));
        wider.reduce(|found, it| if found.covers(it) { it } else { found })
    };
    let mut verdicts: BTreeMap<Permission, Verdict> = BTreeMap::new();
    for permission in permissions {
        let exact = asked().find(|it| it.permission == *permission);
        match (ruling, exact, whole(permission)) {
            (Ruling::Narrow, _, Some(whole)) => {
                suffices(manifest, permission)?;
                let given = verdicts.entry(whole.clone()).or_insert_with(|| Verdict::Narrowed(Vec::new()));
                if let Verdict::Narrowed(parts) = given
                    && !parts.contains(permission)
                {
                    parts.push(permission.clone());
                }
            }
            (Ruling::Narrow, Some(_), None) => {
                return Err(PermissionError::Whole { module: module(), permission: permission.clone() });
            }
            (Ruling::Deny, Some(asked), _) if !asked.needs_grant && matches!(permission, Permission::Quota { .. }) => {
                let Permission::Quota { resource, .. } = *permission else { continue };
                return Err(PermissionError::Own { module: module(), permission: permission.clone(), resource });
            }
            (Ruling::Grant, Some(_), _) => drop(verdicts.insert(permission.clone(), Verdict::Granted)),
            (Ruling::Deny, Some(_), _) => drop(verdicts.insert(permission.clone(), Verdict::Denied)),
            (_, None, None) => return Err(not_asked(permission)),
            (_, None, Some(whole)) => {
                let (permission, whole) = (permission.clone(), whole.clone());
                return Err(PermissionError::Part { module: module(), permission, whole });
            }
        }
    }
    Ok(verdicts)
}

/// Whether a module can do with what it is to be given.
fn suffices(manifest: &Manifest, given: &Permission) -> Result<(), PermissionError> {
    let Permission::Quota { resource, amount } = *given else { return Ok(()) };
    let least = resource.least(manifest);
    if amount >= least {
        return Ok(());
    }
    let (module, permission) = (manifest.label(), given.clone());
    Err(PermissionError::TooLittle { module, permission, memory: manifest.runtime.limits.memory, least })
}
