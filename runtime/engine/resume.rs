//! The start of a runtime: what served when the last one ended serves again.

use semver::Version;

use super::activation::Command;
use super::{Engine, EngineError, Outcome};
use crate::monitor::Event;
use crate::registry::resolver::{Running, start_order};

impl Engine {
    /// Starts what served when the last runtime ended, what is needed before who needs it. What does not start raises an
    /// alarm and is tried again by the next runtime; the rest serves.
    pub async fn resume(&self) {
        let slots = self.shared.board.slots();
        let serving: Running =
            slots.iter().filter_map(|(id, slot)| Some((id.clone(), slot.record.as_ref()?.serving.clone()?))).collect();
        let snapshot = self.shared.registry.snapshot();
        let order = start_order(&serving, &snapshot).unwrap_or_else(|cycle| {
            self.alarm("slots", &cycle.to_string());
            serving.keys().cloned().collect()
        });
        for id in order {
            let (Some(version), Some(slot)) = (serving.get(&id).cloned(), slots.get(&id)) else { continue };
            let strategy = slot.record.clone().unwrap_or_default().strategy();
            let command = Command::Resume { id: id.clone(), version: version.clone(), strategy };
            match self.activated(command).await {
                Ok(report) if report.outcome == Outcome::Active => {}
                Ok(report) => self.not_resumed(&id, &version, report.reason.as_deref().unwrap_or("no reason")),
                Err(EngineError::Stopped) => return,
                Err(error) => self.not_resumed(&id, &version, &error.to_string()),
            }
        }
    }

    fn not_resumed(&self, id: &str, version: &Version, reason: &str) {
        let what = format!("it served when the runtime ended and does not start again: {reason}");
        self.alarm(&format!("{id}@{version}"), &what);
    }

    fn alarm(&self, subject: &str, message: &str) {
        self.shared.events.emit(Event::Alarm { subject: subject.to_owned(), message: message.to_owned() });
    }
}
