//! A traffic shift that somebody steers: pauses, resumes, moves on, or gives up.
//!
//! An order goes to the shift itself, between two of its looks, so that one that was answered holds: a shift that was paused takes no
//! further step until it is resumed. While it is paused it is judged as ever, and a failure returns from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{Engine, EngineError};
use crate::actors::gate::Pass;
use crate::monitor::InstanceKey;
use crate::store::audit::{By, Kind};

/// Orders that wait for one shift.
const WAITING: usize = 16;

/// What to do with a traffic shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase")]
pub enum Order {
    /// Stay at the present weight.
    Pause,
    /// Go on.
    Resume,
    /// Go to the next weight without waiting for the interval; `full`: give the candidate everything.
    Promote {
        /// Whether to skip all weights.
        full: bool,
    },
    /// Give the baseline everything.
    Abort,
}

impl Order {
    /// The verb's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote { .. } => "promote",
            Self::Abort => "abort",
        }
    }

    /// What happened to the shift by it.
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Promote { .. } => "promoted",
            Self::Abort => "aborted",
        }
    }
}

/// What an order came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SteerReport {
    /// The module.
    pub id: String,
    /// The version whose traffic is shifted.
    pub version: String,
    /// `paused`, `resumed`, `promoted` or `aborted`.
    pub done: String,
    /// Its share of the traffic when the order was taken, in percent.
    pub weight: u8,
    /// The share that follows at once; 100: it takes everything.
    pub next: u8,
}

impl Engine {
    /// Steers the traffic shift of a module: pauses it, lets it go on, moves it on, or gives it up. Returns once the shift has taken
    /// the order; what comes of the activation is the answer of [`Engine::activate`].
    ///
    /// # Errors
    /// No traffic of the module is being shifted, or the order cannot be written to the audit log.
    pub async fn steer(&self, id: &str, order: Order) -> Result<SteerReport, EngineError> {
        let Some(_running) = Pass::enter(Arc::clone(&self.commands)) else { return Err(EngineError::Stopped) };
        let answer = self.shared.helms.give(id, order, self.by.clone()).await;
        if let Err(error) = &answer {
            self.shared.refused(Kind::CommandRefused, &self.by, id.to_owned(), (order.name(), error)).await;
        }
        answer
    }
}

/// An order on its way.
pub(super) struct Given {
    pub(super) order: Order,
    pub(super) by: By,
    pub(super) reply: oneshot::Sender<Result<SteerReport, EngineError>>,
}

/// The shifts that can be steered, by module.
#[derive(Default)]
pub(super) struct Helms(Mutex<BTreeMap<Arc<str>, Helm>>);

#[derive(Clone)]
struct Helm {
    orders: mpsc::Sender<Given>,
    paused: Arc<AtomicBool>,
}

/// The shift's end of it. The shift can be steered as long as this lives.
pub(super) struct Steered<'a> {
    helms: &'a Helms,
    id: Arc<str>,
    orders: mpsc::Receiver<Given>,
    paused: Arc<AtomicBool>,
}

impl Helms {
    /// Lets a shift be steered. A module has one command at a time, so it has one shift.
    pub(super) fn open(&self, key: &InstanceKey) -> Steered<'_> {
        let (sender, orders) = mpsc::channel(WAITING);
        let (id, paused) = (Arc::clone(&key.id), Arc::default());
        self.all().insert(Arc::clone(&id), Helm { orders: sender, paused: Arc::clone(&paused) });
        Steered { helms: self, id, orders, paused }
    }

    /// Gives an order and waits until the shift has taken it.
    ///
    /// # Errors
    /// Nothing shifts, or no more since it was given.
    pub(super) async fn give(&self, id: &str, order: Order, by: By) -> Result<SteerReport, EngineError> {
        let nothing = || EngineError::NothingShifts { id: id.to_owned() };
        let helm = self.all().get(id).cloned().ok_or_else(nothing)?;
        let (reply, answer) = oneshot::channel();
        helm.orders.send(Given { order, by, reply }).await.map_err(|_| nothing())?;
        drop(helm);
        answer.await.unwrap_or_else(|_| Err(nothing()))
    }

    pub(super) fn is_paused(&self, id: &str) -> bool {
        self.all().get(id).is_some_and(|helm| helm.paused.load(Ordering::Relaxed))
    }

    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Helm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Steered<'_> {
    /// The next order.
    pub(super) async fn order(&mut self) -> Given {
        match self.orders.recv().await {
            Some(given) => given,
            // the other end is dropped with this one
            None => std::future::pending().await,
        }
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

impl Drop for Steered<'_> {
    fn drop(&mut self) {
        self.helms.all().remove(&self.id);
    }
}
