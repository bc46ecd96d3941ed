//! Tells of versions that were taken back, or would have been, by the channels that their manifests name
//! (`lifecycle.rollback.notificationChannels`): by the runtime, by somebody who asked for it, or by the start after an end that
//! interrupted them.
//!
//! | channel | what it is told |
//! |---|---|
//! | `log` | one line, as a warning |
//! | `events` | one [`Event::RolledBack`] |
//! | a URL | a webhook |
//!
//! What an activation comes to is in the log, among the events and in the audit log whatever the channels are. A webhook is told in
//! the background, again and again until it answers 2xx or the tries are used up, which is an alarm; nothing in the engine waits for
//! it. What is on its way when the runtime ends is lost.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinSet;

use self::signature::Secret;
use crate::engine::Engine;
use crate::manifest::{Manifest, NotificationChannel};
use crate::monitor::{Event, Events, InstanceKey};
use crate::registry::Registry;

mod signature;
#[cfg(feature = "http-client")]
mod webhook;
#[cfg(not(feature = "http-client"))]
mod without_client;

#[cfg(feature = "http-client")]
pub(super) use webhook::Post;
#[cfg(not(feature = "http-client"))]
pub(super) use without_client::Post;

/// Deliveries on their way at once; one more is not made, which is an alarm.
const MOST: usize = 64;

/// How long to wait before each try. Receivers that are restarted, or throttled, are back by then.
const TRIES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];

/// Tells of rollbacks for as long as it runs.
pub(super) struct Notifier {
    pub(super) registry: Registry,
    pub(super) engine: Engine,
    pub(super) events: Events,
    pub(super) post: Post,
    /// Signs what is sent; nothing where it could not be read or made.
    pub(super) secret: Option<Arc<Secret>>,
}

/// Why a webhook was not told.
#[derive(Debug)]
struct Failure {
    why: String,
    /// Whether another try would come to the same.
    is_final: bool,
}

/// Something to tell.
#[derive(Clone, Debug)]
struct Notice {
    instance: InstanceKey,
    outcome: &'static str,
    reason: String,
}

impl Notice {
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::ActivationEnded { instance, outcome, reason } if !matches!(*outcome, "active" | "provisional") => {
                Some(Self { instance: instance.clone(), outcome, reason: reason.clone().unwrap_or_default() })
            }
            Event::Frozen { instance, reason, .. } => {
                Some(Self { instance: instance.clone(), outcome: "frozen", reason: reason.clone() })
            }
            _ => None,
        }
    }

    /// The line of the log.
    fn log(&self, serving: Option<&str>) {
        let Self { instance, outcome, reason } = self;
        tracing::warn!(%instance, outcome, %reason, serving, "a version is {outcome}");
    }

    /// The event.
    fn event(&self, serving: Option<String>) -> Event {
        let Self { instance, outcome, reason } = self.clone();
        Event::RolledBack { instance, outcome, reason, serving }
    }

    /// The document that is sent, in the form of [Standard Webhooks](https://www.standardwebhooks.com/).
    fn document(&self, serving: Option<String>, at: SystemTime) -> String {
        let InstanceKey { id, version, generation } = &self.instance;
        let at = OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default();
        let data = json!({
            "module": id, "version": version, "generation": generation, "outcome": self.outcome, "reason": self.reason,
            "serving": serving,
        });
        json!({ "type": format!("module.{}", self.outcome), "timestamp": at, "data": data }).to_string()
    }
}

impl Notifier {
    /// Listens to `events`, from the start of the runtime on.
    pub(super) async fn run(self, mut events: broadcast::Receiver<Arc<Event>>) {
        let (this, mut deliveries) = (Arc::new(self), JoinSet::new());
        loop {
            let next = tokio::select! {
                next = events.recv() => next,
                Some(_) = deliveries.join_next() => continue,
            };
            match next {
                Ok(event) => {
                    if let Some(notice) = Notice::of(&event) {
                        this.tell(&notice, &mut deliveries);
                    }
                }
                Err(RecvError::Lagged(missed)) => this.alarm(
                    "notifications",
                    format!("{missed} events passed unseen, perhaps rollbacks that a webhook should have heard of"),
                ),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn tell(self: &Arc<Self>, notice: &Notice, deliveries: &mut JoinSet<()>) {
        let InstanceKey { id, version, .. } = &notice.instance;
        let snapshot = self.registry.snapshot();
        let version = version.parse().ok();
        let Some(definition) = version.and_then(|version| snapshot.get(id, &version).cloned()) else { return };
        let serving = self.engine.serving(id).map(|version| version.to_string());
        let document = notice.document(serving.clone(), SystemTime::now());
        for channel in &definition.manifest.lifecycle.rollback.notification_channels {
            let url = match channel {
                NotificationChannel::Log => {
                    notice.log(serving.as_deref());
                    continue;
                }
                NotificationChannel::Events => {
                    self.events.emit(notice.event(serving.clone()));
                    continue;
                }
                NotificationChannel::Webhook(url) => url,
            };
            if deliveries.len() >= MOST {
                let message =
                    format!("{MOST} webhooks are being told already, so one of them is not told: {}", notice.reason);
                self.alarm(&notice.instance.to_string(), message);
                continue;
            }
            let (this, url, notice, document) = (Arc::clone(self), url.clone(), notice.clone(), document.clone());
            let definition = Arc::clone(&definition);
            deliveries.spawn(async move { this.deliver(&definition.manifest, &url, &notice, &document).await });
        }
    }

    /// Tells one webhook; what cannot be told is an alarm.
    async fn deliver(&self, manifest: &Manifest, url: &str, notice: &Notice, document: &str) {
        let key = &notice.instance;
        let told = match &self.secret {
            None => Err("there is no secret to sign with; see the log of the runtime's start".to_owned()),
            Some(secret) => self.try_to(secret, (manifest, key), url, document).await,
        };
        if let Err(why) = told {
            // a path may hold a secret of the receiver's
            let host = url.split(['/', '?', '#']).nth(2).unwrap_or("a webhook");
            let message = format!("{host} was not told that it is {}: {why}", notice.outcome);
            self.alarm(&key.to_string(), message);
        }
    }

    async fn try_to(
        &self,
        secret: &Secret,
        (manifest, key): (&Manifest, &InstanceKey),
        url: &str,
        document: &str,
    ) -> Result<(), String> {
        let id = signature::message_id()?;
        let mut last = String::new();
        for wait in TRIES {
            tokio::time::sleep(wait).await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let signed = secret.sign(&id, now, document.as_bytes());
            match self.post.send((manifest, key), url, (&id, now, &signed), document).await {
                Ok(()) => return Ok(()),
                Err(Failure { why, is_final: true }) => return Err(why),
                Err(Failure { why, .. }) => {
                    tracing::debug!(instance = %key, %why, "a webhook was not told");
                    last = why;
                }
            }
        }
        Err(format!("{last}; it was tried {} times", TRIES.len()))
    }

    fn alarm(&self, subject: &str, message: String) {
        self.events.emit(Event::Alarm { subject: subject.to_owned(), message });
    }
}

/// The secret of a data directory; without one webhooks are not told, and why is logged.
pub(super) fn secret(data: &std::path::Path) -> Option<Arc<Secret>> {
    match crate::admin::token::webhook_secret(data) {
        Ok(text) => Secret::read(&text).map(Arc::new),
        Err(error) => {
            tracing::error!(%error, "webhooks are not told of rollbacks: there is no secret to sign with");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> InstanceKey {
        InstanceKey { id: "a".into(), version: "1.1.0".into(), generation: 3 }
    }

    #[test]
    fn what_was_taken_back_or_would_have_been_is_told_and_nothing_else() {
        let ended = |outcome| Event::ActivationEnded { instance: key(), outcome, reason: Some("it fails".to_owned()) };
        for outcome in ["rolled-back", "failed", "failed-to-restore"] {
            assert_eq!(Notice::of(&ended(outcome)).map(|notice| notice.outcome), Some(outcome));
        }
        let frozen = Event::Frozen { instance: key(), migration: "1.1.0".into(), reason: "it fails".into() };
        assert_eq!(Notice::of(&frozen).map(|notice| notice.outcome), Some("frozen"));
        for outcome in ["active", "provisional"] {
            assert!(Notice::of(&ended(outcome)).is_none());
        }
        assert!(Notice::of(&Event::TrafficShifted { instance: key(), weight: 10 }).is_none());
    }

    #[test]
    fn a_document_says_what_happened_when_and_what_serves() {
        let notice = Notice { instance: key(), outcome: "rolled-back", reason: "it \"fails\"".to_owned() };
        let document = notice.document(Some("1.0.0".to_owned()), UNIX_EPOCH + Duration::from_millis(1_500));
        let read: serde_json::Value = serde_json::from_str(&document).unwrap();
        let expected = json!({ "type": "module.rolled-back", "timestamp": "1970-01-01T00:00:01.5Z", "data": {
            "module": "a", "version": "1.1.0", "generation": 3, "outcome": "rolled-back", "reason": "it \"fails\"",
            "serving": "1.0.0" } });
        assert_eq!(read, expected);
    }
}
