//! Denials on their way to the audit log. Whoever is denied never waits for the log: entries are handed over through a
//! bounded channel, and one that does not fit is dropped and counted.
//!
//! A script may ask in a loop. So the first denial of each reason is written at once, and its repeats are counted and written
//! as one entry at most once a minute and when the instance ends. Of one instance 64 reasons are told apart; all
//! further ones count as one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use replug_scripts::CallContext;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::monitor::InstanceKey;
use crate::store::audit::{AuditLog, Entry, Kind, Who};

/// Entries that may wait for the log.
const WAITING: usize = 1024;

/// Reasons that are told apart of one instance.
const REASONS: usize = 64;

/// How long repeats are counted before they are written, in milliseconds.
const INTERVAL: u64 = 60_000;

/// The longest reason that is written, in characters.
const LONGEST: usize = 1024;

/// What stands for the reasons that are not told apart.
const OTHERS: &str = "further denials, each for another reason";

/// The way to the log. Clones share it.
#[derive(Clone)]
pub struct DenialLog {
    sender: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

enum Note {
    Entry(Entry),
    Close(oneshot::Sender<()>),
}

impl DenialLog {
    /// Starts writing on the present tokio runtime, until [`DenialLog::close`] or the last handle goes.
    #[must_use]
    pub fn start(log: AuditLog) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(log, receiver, Arc::clone(&dropped)));
        Self { sender, dropped }
    }

    /// Hands an entry over; one that does not fit is counted.
    pub fn note(&self, entry: Entry) {
        if self.sender.try_send(Note::Entry(entry)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many entries were dropped and are not yet told in the log.
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
        let lost = (lost > 0).then(|| {
            Entry::new(Kind::CallDenied, Who::Runtime, "runtime")
                .with(json!({ "reason": "denials came faster than the \
                log can be written, so some have no entry", "count": lost }))
        });
        for entry in entry.into_iter().chain(lost) {
            if let Err(error) = log.append(entry).await
                && !told
            {
                // once: that the log takes nothing is an alarm of its own
                told = true;
                tracing::error!(%error, "denials are not written to the audit log");
            }
        }
        if let Some(reply) = closes {
            let _ = reply.send(());
            return;
        }
    }
}

/// The denials of one instance.
pub struct Denials {
    log: DenialLog,
    key: InstanceKey,
    seen: Mutex<HashMap<Box<str>, Repeats>>,
}

/// Denials that have no entry yet.
struct Repeats {
    count: u64,
    /// When the last entry was written.
    told: u64,
    last: Value,
    who: Who,
}

impl Denials {
    /// None so far.
    #[must_use]
    pub fn new(log: DenialLog, key: InstanceKey) -> Self {
        Self { log, key, seen: Mutex::default() }
    }

    /// Notes that `function` was denied at `now`, in milliseconds since 1970, why, and who asked.
    pub fn note(&self, who: Who, function: &str, reason: &str, call: Option<&CallContext>, now: u64) {
        let mut seen = self.seen();
        // a script may have had its say in it
        let end = reason.char_indices().nth(LONGEST).map_or(reason.len(), |(end, _)| end);
        let reason = &reason[..end];
        let reason = if seen.len() < REASONS || seen.contains_key(reason) { reason } else { OTHERS };
        let details = || {
            json!({
                "call": function,
                "reason": reason,
                "requestId": call.map(|call| &*call.request_id),
                "caller": call.and_then(|call| call.caller.as_deref()),
                "principal": call.and_then(|call| call.principal.as_ref()).map(|principal| &principal.subject),
                "generation": self.key.generation,
            })
        };
        let Some(repeats) = seen.get_mut(reason) else {
            let details = details();
            self.write(who, &details, 1);
            seen.insert(reason.into(), Repeats { count: 0, told: now, last: details, who });
            return;
        };
        if repeats.count == 0 {
            (repeats.last, repeats.who) = (details(), who);
        }
        repeats.count += 1;
        if now.saturating_sub(repeats.told) >= INTERVAL {
            self.tell(repeats, now);
        }
    }

    /// Writes the repeats whose minute is over.
    pub fn flush(&self, now: u64) {
        for repeats in self.seen().values_mut() {
            if repeats.count > 0 && now.saturating_sub(repeats.told) >= INTERVAL {
                self.tell(repeats, now);
            }
        }
    }

    fn tell(&self, repeats: &mut Repeats, now: u64) {
        self.write(repeats.who, &repeats.last, repeats.count);
        (repeats.count, repeats.told) = (0, now);
    }

    fn write(&self, who: Who, details: &Value, count: u64) {
        let mut data = details.clone();
        data["count"] = count.into();
        let subject = format!("{}@{}", self.key.id, self.key.version);
        self.log.note(Entry::new(Kind::CallDenied, who, subject).with(data));
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Box<str>, Repeats>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Denials {
    /// The instance ended: what was counted is written.
    fn drop(&mut self) {
        let seen = self.seen.get_mut().unwrap_or_else(PoisonError::into_inner);
        for repeats in std::mem::take(seen).into_values().filter(|repeats| repeats.count > 0) {
            self.write(repeats.who, &repeats.last, repeats.count);
        }
    }
}

#[cfg(test)]
mod tests;
