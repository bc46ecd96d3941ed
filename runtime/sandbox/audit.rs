//! Incidents on their way to the audit log: what was denied, which limits and quotas were met, and what failed. Whoever
//! meets one never waits for the log: entries are handed over through a bounded channel, and one that does not fit is dropped
//! and its incidents counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::store::audit::{AuditLog, Entry, Kind, Who};

mod incidents;

pub use incidents::{Incident, Incidents};

/// Entries that may wait for the log.
const WAITING: usize = 1024;

/// The way to the log. Clones share it.
#[derive(Clone)]
pub struct IncidentLog {
    sender: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

enum Note {
    Entry(Entry),
    Close(oneshot::Sender<()>),
}

impl IncidentLog {
    /// Starts writing on the present tokio runtime, until [`IncidentLog::close`] or the last handle goes.
    #[must_use]
    pub fn start(log: AuditLog) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(log, receiver, Arc::clone(&dropped)));
        Self { sender, dropped }
    }

    /// Hands an entry over that stands for `count` incidents; those of one that does not fit are counted.
    fn note(&self, entry: Entry, count: u64) {
        if self.sender.try_send(Note::Entry(entry)).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many incidents have no entry and are not yet told in the log.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns when what was handed over is written; what comes later is dropped.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.sender.send(Note::Close(reply)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

async fn write(log: AuditLog, mut notes: mpsc::Receiver<Note>, dropped: Arc<AtomicU64>) {
    let mut told = false;
    while let Some(note) = notes.recv().await {
        let (entry, closes) = match note {
            Note::Entry(entry) => (Some(entry), None),
            Note::Close(reply) => (None, Some(reply)),
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        let lost = (lost > 0)
            .then(|| Entry::new(Kind::IncidentsDropped, Who::Runtime, "runtime").with(json!({ "count": lost })));
        for entry in entry.into_iter().chain(lost) {
            if let Err(error) = log.append(entry).await
                && !told
            {
                // once: that the log takes nothing is an alarm of its own
                told = true;
                tracing::error!(%error, "incidents are not written to the audit log");
            }
        }
        if let Some(reply) = closes {
            let _ = reply.send(());
            return;
        }
    }
}

#[cfg(test)]
mod tests;
