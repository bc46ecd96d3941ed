//! The supervisor at the top: store, registry, engine and modules hang on it.
//!
//! Its children hold what others have handles on, and none of them fails by design. If one does, no restart could give
//! those handles back: it is an alarm, and whoever runs the process ends it, so that the next start reads what is kept.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use crate::monitor::{Event, Events};

/// Stops the supervisor, and with it everything that hangs on it, when it is dropped: also where a runtime came only half
/// up.
pub(super) struct Leash(pub(super) ActorRef<()>);

impl Leash {
    /// Children end from here on, and that is no breakdown.
    pub(super) fn expect_ends(&self) {
        // one that is gone expects nothing any more
        let _ = self.0.send_message(());
    }

    pub(super) async fn stop(&self, patience: Duration) {
        let _ = self.0.stop_and_wait(None, Some(patience)).await;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.expect_ends();
        self.0.stop(None);
    }
}

/// The actor.
pub(super) struct RuntimeSupervisor {
    pub(super) events: Events,
    /// Told why a coordinator ended, unless the runtime stops.
    pub(super) broken: watch::Sender<Option<String>>,
}

#[ractor::async_trait]
impl Actor for RuntimeSupervisor {
    /// `()` says that the runtime stops: from then on children may end.
    type Msg = ();
    type State = bool;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<bool, ActorProcessingErr> {
        Ok(false)
    }

    async fn handle(&self, _: ActorRef<()>, (): (), stopping: &mut bool) -> Result<(), ActorProcessingErr> {
        *stopping = true;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        stopping: &mut bool,
    ) -> Result<(), ActorProcessingErr> {
        let reason = match event {
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            SupervisionEvent::ActorTerminated(_, _, reason) if !*stopping => {
                reason.unwrap_or_else(|| "a coordinator ended".to_owned())
            }
            _ => return Ok(()),
        };
        let message = format!("a coordinator is gone ({reason}); restart the runtime");
        self.events.emit(Event::Alarm { subject: "runtime".to_owned(), message });
        self.broken.send_replace(Some(reason));
        Ok(())
    }
}
