//! What the runtime itself writes to the audit log: its start, its stop, and alarms.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::monitor::{Event, Events};
use crate::store::audit::{AuditError, AuditFault, AuditLog, Entry, Found, Kind, MAX_DATA, MAX_SUBJECT, Who};

/// What the runtime and its log are called in entries and alarms.
const RUNTIME: &str = "runtime";
const LOG: &str = "audit log";

/// What is said where there is a store and no log.
const MISSING: &str =
    "the store is older than the log, which begins anew; unless you moved it away yourself, look for who did";

/// Writes alarms to the audit log for as long as the runtime lives.
pub(super) struct Chronicle {
    log: AuditLog,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Chronicle {
    /// Writes that the runtime starts, and what was found in the log; `is_missing` says that a log should have been there. What
    /// is wrong with it is an alarm, and returned.
    ///
    /// # Errors
    /// The log takes no entries.
    pub(super) async fn begin(
        log: AuditLog,
        events: Events,
        is_missing: bool,
    ) -> Result<(Self, Option<String>), AuditError> {
        let alarms = events.subscribe();
        let found = log.found();
        let fault = found.fault.as_ref().map(broken).or_else(|| is_missing.then(|| MISSING.to_owned()));
        log.append(started(found, fault.as_deref())).await?;
        let trouble = fault.as_ref().map(|fault| format!("{LOG}: {fault}"));
        if let Some(message) = fault {
            events.emit(Event::Alarm { subject: LOG.to_owned(), message });
        }
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(note(log.clone(), events, alarms, stopped));
        Ok((Self { log, stop, task }, trouble))
    }

    pub(super) fn log(&self) -> AuditLog {
        self.log.clone()
    }

    /// Writes what is left and that the runtime stopped, `clean` or not, and closes the log.
    ///
    /// # Errors
    /// Not everything could be written.
    pub(super) async fn end(self, clean: bool) -> Result<(), AuditError> {
        let _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "alarms were not written to the audit log");
        }
        let stopped = Entry::new(Kind::RuntimeStopped, Who::Runtime, RUNTIME).with(json!({ "clean": clean }));
        let written = self.log.append(stopped).await;
        self.log.close().await?;
        written.map(drop)
    }
}

fn started(found: &Found, fault: Option<&str>) -> Entry {
    let cut = found.cut.as_ref().map(|cut| json!({ "file": cut.file, "bytes": cut.bytes }));
    let data = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "cut": cut,
        "fault": fault,
    });
    Entry::new(Kind::RuntimeStarted, Who::Runtime, RUNTIME).with(data)
}

fn broken(fault: &AuditFault) -> String {
    format!("{fault}; nothing was changed there and the log goes on: keep a copy of it, replug audit verify says more")
}

async fn note(
    log: AuditLog,
    events: Events,
    mut alarms: broadcast::Receiver<Arc<Event>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut told = false;
    loop {
        let next = tokio::select! {
            // what was raised before the stop is written before it ends
            biased;
            next = alarms.recv() => next,
            _ = &mut stopped => return,
        };
        let entry = match next {
            Ok(event) => match &*event {
                Event::Alarm { subject, message } => alarm(subject, message),
                _ => continue,
            },
            Err(RecvError::Lagged(missed)) => alarm(LOG, &format!("{missed} events passed unseen, perhaps alarms too")),
            Err(RecvError::Closed) => return,
        };
        if let Err(error) = log.append(entry).await
            && !told
        {
            // once: this alarm cannot be written either
            told = true;
            events.emit(Event::Alarm { subject: LOG.to_owned(), message: error.to_string() });
        }
    }
}

fn alarm(subject: &str, message: &str) -> Entry {
    let short = |text: &str, limit| text.chars().take(limit).collect::<String>();
    let entry = Entry::new(Kind::Alarm, Who::Runtime, short(subject, MAX_SUBJECT / 4));
    entry.with(json!({ "message": short(message, MAX_DATA / 16) }))
}
