//! Which versions are not well: one that came up may be so a moment later, and is taken back or serves on.

use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::say;
use crate::monitor::Event;
use crate::monitor::health::HealthStatus;

/// Says it of each, for as long as there are events.
pub(super) async fn tell(mut events: Receiver<Arc<Event>>) {
    loop {
        match events.recv().await {
            Ok(event) => {
                if let Event::HealthChanged { instance, status, detail } = &*event
                    && matches!(status, HealthStatus::Unhealthy | HealthStatus::Degraded)
                {
                    say::line(&format!("{}@{} is {}: {detail}", instance.id, instance.version, status.name()));
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
