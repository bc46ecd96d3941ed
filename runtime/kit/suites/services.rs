//! Services of other modules, played by stand-ins.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use async_trait::async_trait;
use replug_scripts::api::Request;
use replug_scripts::{CallContext, HostError, HostErrorKind, Value};

use super::module::Event;
use super::state::{StandIn, State};
use crate::manifest::ActorSpec;
use crate::sandbox::permissions::Live;
use crate::sandbox::ports::{Application, Reach, Residence, Residents, Services, Timer};
use crate::sandbox::quota::Account;

thread_local! {
    /// Whether this thread runs the module rather than the test.
    pub(super) static IN_MODULE: Cell<bool> = const { Cell::new(false) };
}

/// The services that a test has given stand-ins. One counts as of a dependency or of the host application.
pub(super) struct StandIns(pub(super) Arc<State>);

#[async_trait]
impl Services for StandIns {
    /// Blocks the thread that polls it, which is the script's own: nothing else runs there.
    async fn call(
        &self,
        _: &[String],
        capability: &str,
        method: &str,
        args: Value,
        call: &CallContext,
    ) -> Result<Value, HostError> {
        let service = format!("{capability}.{method}");
        match self.0.stand_in(&service) {
            None => Err(missing(&service)),
            Some(StandIn::Answer(answer)) => {
                self.0.note_call(&service, args)?;
                Ok(answer)
            }
            Some(StandIn::Function) if !IN_MODULE.get() => Err(failed(format!(
                "{service}: only a handler can reach a stand-in that is a function; call one by test.request or \
                 test.call, or let the stand-in be plain data"
            ))),
            Some(StandIn::Function) => {
                self.0.note_call(&service, args.clone())?;
                let (reply, answer) = sync_channel(1);
                let gone = || failed(format!("{service}: the test ended"));
                self.0.events.send(Event::Ask { service: service.clone(), args, reply }).map_err(|_| gone())?;
                let patience = call.deadline.saturating_duration_since(Instant::now());
                answer.recv_timeout(patience).map_err(|_| {
                    HostError::new(
                        HostErrorKind::Timeout,
                        format!("services.call: {service}: the stand-in gave no answer until the deadline"),
                    )
                })?
            }
        }
    }

    async fn ask(&self, capability: &str, method: &str, _: &CallContext) -> Result<Value, HostError> {
        Err(missing(&format!("{capability}.{method}")))
    }

    fn invalidate(&self, _: &str) {}
}

/// The application around the module: there is none in a test.
pub(super) struct Nobody;

impl Nobody {
    fn refuse<T>(function: &str) -> Result<T, HostError> {
        let message = format!("{function}: a test has the module's handlers alone, without actors and other modules");
        Err(HostError::new(HostErrorKind::NotFound, message))
    }
}

#[async_trait]
impl Application for Nobody {
    fn setting(&self, _: &str, _: &str) -> Result<Value, HostError> {
        Self::refuse("config.of")
    }

    async fn request(&self, _: Request, _: Reach, _: &CallContext) -> Result<Value, HostError> {
        Self::refuse("services.request")
    }

    async fn render(&self, _: &str, _: Request, _: &CallContext) -> Result<Value, HostError> {
        Self::refuse("services.render")
    }
}

impl Residents for Nobody {
    fn open(&self, _: &Arc<Live>, _: Arc<Account>) -> Arc<dyn Residence> {
        Arc::new(Self)
    }
}

/// Actors, subscribers and timers live in a slot, which a test has not. Publishing and setting timers work and lead nowhere.
#[async_trait]
impl Residence for Nobody {
    fn send(&self, _: &ActorSpec, _: Value, _: &CallContext) -> Result<(), HostError> {
        Self::refuse("actors.send")
    }

    async fn call(&self, _: &ActorSpec, _: Value, _: &CallContext) -> Result<Value, HostError> {
        Self::refuse("actors.call")
    }

    fn publish(&self, _: &str, _: Value, _: &CallContext) {}

    fn set_timer(&self, timer: Timer, _: &CallContext) -> Result<String, HostError> {
        Ok(timer.id.unwrap_or_else(|| "timer".to_owned()))
    }

    fn cancel_timer(&self, _: &str) -> bool {
        false
    }
}

fn missing(service: &str) -> HostError {
    let message = format!(
        "services.call: nothing stands in for {service} in this test; test.service(\"{service}\", answer) does"
    );
    HostError::new(HostErrorKind::NotFound, message)
}

fn failed(message: String) -> HostError {
    HostError::new(HostErrorKind::Failed, format!("services.call: {message}"))
}
