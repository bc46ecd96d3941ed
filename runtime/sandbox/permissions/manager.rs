//! The permission manager: keeps the decisions, and gives running instances what is left of what they ask for.
//!
//! Decisions go one at a time: written to the audit log, then to the store, then into the running instances of the module,
//! whose next host call meets them. Reading takes no part in that: an instance looks at its own compiled rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;

use super::asked::Asked;
use super::decisions::{Decisions, Standing};
use super::live::{Clock, Live, compiled};
use super::records::Records;
use crate::manifest::Manifest;
use crate::monitor::{InstanceKey, Metrics};
use crate::sandbox::audit::{Incident, IncidentLog, Incidents};
use crate::sandbox::net::NetworkRules;
use crate::sandbox::ports::Usage;
use crate::store::audit::{AuditLog, Kind, Who};
use crate::store::{Store, StoreError};

/// A handle on the manager. Clones share it.
#[derive(Clone)]
pub struct PermissionManager {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) records: Records,
    pub(super) audit: AuditLog,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) usage: Arc<dyn Usage>,
    /// Held by whoever decides, from the first look to the last effect.
    pub(super) turn: tokio::sync::Mutex<()>,
    incidents: IncidentLog,
    /// What the runtime itself turned away.
    turned_away: Incidents,
    grants_all: AtomicBool,
    decisions: Mutex<BTreeMap<String, Arc<Decisions>>>,
    /// The running instances by module, the newest last.
    lives: ArcSwap<HashMap<Arc<str>, Vec<Weak<Live>>>>,
}

impl PermissionManager {
    /// Starts on what `store` holds, on the present tokio runtime. What is decided, and what modules meet, is written to `audit`; `usage`
    /// says what modules use.
    ///
    /// # Errors
    /// The decisions cannot be read.
    pub fn start(
        store: &Store,
        audit: AuditLog,
        (clock, metrics, usage): (Clock, Metrics, Arc<dyn Usage>),
    ) -> Result<Self, StoreError> {
        let records = Records::new(store);
        let decisions = records.all()?.into_iter().map(|(id, made)| (id, Arc::new(made))).collect();
        let incidents = IncidentLog::start(audit.clone());
        let inner = Inner {
            records,
            turned_away: Incidents::of_runtime(incidents.clone()),
            incidents,
            audit,
            clock,
            metrics,
            usage,
            turn: tokio::sync::Mutex::default(),
            grants_all: AtomicBool::new(false),
            decisions: Mutex::new(decisions),
            lives: ArcSwap::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// From now on whatever a manifest asks for is granted when a version of it is activated. For tests and development.
    pub fn grant_whatever_is_asked(&self) {
        self.inner.grants_all.store(true, Ordering::Relaxed);
    }

    pub(super) fn grants_all(&self) -> bool {
        self.inner.grants_all.load(Ordering::Relaxed)
    }

    /// The rules of a new instance of `manifest`, for as long as somebody keeps them.
    #[must_use]
    pub fn open(&self, key: &InstanceKey, manifest: &Manifest) -> Arc<Live> {
        // no decision may come between what is compiled and what is told of later ones
        let decisions = self.table();
        let made = decisions.get(&*key.id).cloned().unwrap_or_default();
        let shared = (self.inner.incidents.clone(), Arc::clone(&self.inner.clock), &self.inner.metrics);
        let live = Arc::new(Live::new(key, manifest, &made, shared));
        self.inner.lives.rcu(|lives| {
            let mut lives = HashMap::clone(lives);
            lives.retain(|_, of| {
                of.retain(|live| live.strong_count() > 0);
                !of.is_empty()
            });
            lives.entry(Arc::clone(&key.id)).or_default().push(Arc::downgrade(&live));
            lives
        });
        live
    }

    /// The decisions about a module.
    #[must_use]
    pub fn decisions(&self, id: &str) -> Arc<Decisions> {
        self.table().get(id).cloned().unwrap_or_default()
    }

    /// How often the decisions about a module changed.
    #[must_use]
    pub fn revision(&self, id: &str) -> u64 {
        self.table().get(id).map_or(0, |made| made.revision)
    }

    /// What of `manifest` nobody decided yet. A version of which something waits is not activated.
    #[must_use]
    pub fn waiting(&self, manifest: &Manifest) -> Vec<Asked> {
        let ruled = self.decisions(&manifest.id).rule(manifest);
        ruled.into_iter().filter(|it| it.standing == Standing::Waiting).map(|it| it.asked).collect()
    }

    /// Where a version may talk to, by what was decided until now.
    #[must_use]
    pub fn network_of(&self, manifest: &Manifest) -> Arc<NetworkRules> {
        Arc::clone(compiled(manifest, &self.decisions(&manifest.id)).reach())
    }

    /// Somebody who is not let in asked the runtime itself for something: it is written to the audit log as other incidents
    /// are. `data`, a JSON object, says of the first and of repeats what was asked.
    pub fn turned_away(&self, reason: &str, data: impl FnOnce() -> serde_json::Value) {
        let incident = Incident { kind: Kind::AccessDenied, who: Who::Runtime, name: reason, call: None };
        self.inner.turned_away.note(&incident, (self.inner.clock)(), |_| data());
    }

    /// Has the repeats of incidents written whose minute is over: call it now and then.
    pub fn flush(&self) {
        self.inner.turned_away.flush((self.inner.clock)());
        self.inner.lives.load().values().flatten().filter_map(Weak::upgrade).for_each(|live| live.flush());
    }

    /// Returns when all incidents so far are written; later ones are lost.
    pub async fn close(&self) {
        self.inner.turned_away.end();
        self.inner.incidents.close().await;
    }

    /// The newest running instance of a module.
    pub(super) fn newest(&self, id: &str) -> Option<Arc<Live>> {
        self.inner.lives.load().get(id)?.iter().rev().find_map(Weak::upgrade)
    }

    /// The newest running instance of that version of a module.
    pub(super) fn of_version(&self, id: &str, version: &str) -> Option<Arc<Live>> {
        let lives = self.inner.lives.load();
        lives.get(id)?.iter().rev().filter_map(Weak::upgrade).find(|live| *live.key().version == *version)
    }

    /// Puts new decisions into effect.
    pub(super) fn apply(&self, id: &str, decisions: Decisions) {
        let mut table = self.table();
        let decisions = Arc::new(decisions);
        table.insert(id.to_owned(), Arc::clone(&decisions));
        let lives = self.inner.lives.load_full();
        lives.get(id).into_iter().flatten().filter_map(Weak::upgrade).for_each(|live| live.decided(&decisions));
    }

    /// The modules about which something is decided.
    pub(super) fn decided(&self) -> Vec<String> {
        let table = self.table();
        table.iter().filter(|(_, made)| !made.made.is_empty()).map(|(id, _)| id.clone()).collect()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Decisions>>> {
        self.inner.decisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PermissionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PermissionManager").field("decided", &self.decided()).finish_non_exhaustive()
    }
}
