//! The supervisor at the top: store, registry, engine and modules hang on it.
//!
//! Its children hold what others have handles on, and none of them fails by design. If one does, no restart could give
//! those handles back: it is an alarm, and whoever runs the process ends it, so that the next start reads what is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use crate::monitor::{Event, Events};

/// Stops the supervisor, and with it everything that hangs on it, when it is dropped: also where a runtime came only half
/// up.
pub(super) struct Leash {
    actor: ActorRef<()>,
    stops: Stops,
}

/// Whether the runtime stops. It is no message to the supervisor: that could come after the end of a child that it explains.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops(Arc<AtomicBool>);

impl Stops {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Leash {
    /// Starts the supervisor, which tells `broken` why a coordinator ended, unless the runtime stops.
    ///
    /// # Errors
    /// Why it does not start.
    pub(super) async fn start(events: Events, broken: watch::Sender<Option<String>>) -> Result<Self, String> {
        let stops = Stops::default();
        let supervisor = RuntimeSupervisor { events, broken, stops: stops.clone() };
        let (actor, _) = RuntimeSupervisor::spawn(None, supervisor, ()).await.map_err(|error| error.to_string())?;
        Ok(Self { actor, stops })
    }

    pub(super) fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    pub(super) fn stops(&self) -> Stops {
        self.stops.clone()
    }

    /// Children end from here on, and that is no breakdown.
    pub(super) fn expect_ends(&self) {
        self.stops.0.store(true, Ordering::Release);
    }

    pub(super) async fn stop(&self, patience: Duration) {
        let _ = self.actor.stop_and_wait(None, Some(patience)).await;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.expect_ends();
        self.actor.stop(None);
    }
}

/// The actor.
struct RuntimeSupervisor {
    events: Events,
    broken: watch::Sender<Option<String>>,
    stops: Stops,
}

#[ractor::async_trait]
impl Actor for RuntimeSupervisor {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let reason = match event {
            SupervisionEvent::ActorFailed(_, error) => error.to_string(),
            SupervisionEvent::ActorTerminated(_, _, reason) if !self.stops.is_set() => {
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
