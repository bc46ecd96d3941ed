//! What `test.…` does.

use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex};

use replug_scripts::{Handler, Host, HostError, HostErrorKind, ScriptError, Stage, Step, SuiteFn, Value};

use super::gateway::{self, Routed};
use super::module::{Answer, Call, Event, ModuleThread};
use super::report::told;
use super::state::{StandIn, State, locked};
use super::world::{CALLER, World};

/// The stage of one test.
pub(super) struct TestStage {
    world: Arc<World>,
    state: Arc<State>,
    host: Arc<dyn Host>,
    events: Mutex<Receiver<Event>>,
    module: Mutex<Option<ModuleThread>>,
    /// Who waits for a function of the test.
    asking: Mutex<Option<SyncSender<Result<Value, HostError>>>>,
    /// What was called, for messages.
    called: Mutex<String>,
}

impl TestStage {
    pub(super) fn new(world: &Arc<World>, state: &Arc<State>, host: Arc<dyn Host>, events: Receiver<Event>) -> Self {
        Self {
            world: Arc::clone(world),
            state: Arc::clone(state),
            host,
            events: Mutex::new(events),
            module: Mutex::default(),
            asking: Mutex::default(),
            called: Mutex::default(),
        }
    }

    fn call(&self, what: String, call: Call) -> Result<Step, HostError> {
        if locked(&self.asking).is_some() {
            let message = format!("{what}: a stand-in cannot call the module that waits for it");
            return Err(HostError::new(HostErrorKind::Failed, message));
        }
        *locked(&self.called) = what;
        let mut module = locked(&self.module);
        let thread = match &*module {
            Some(thread) => thread,
            None => {
                let started =
                    ModuleThread::start(&self.world, Arc::clone(&self.host), self.state.events.clone(), self.state.end);
                module.insert(started.map_err(|cause| HostError::new(HostErrorKind::Failed, cause))?)
            }
        };
        thread.send(call);
        drop(module);
        self.wait()
    }

    /// Waits for the module, whose limits and deadline bound that.
    fn wait(&self) -> Result<Step, HostError> {
        let event = locked(&self.events).recv();
        let what = locked(&self.called).clone();
        match event {
            Ok(Event::Ask { service, args, reply }) => {
                *locked(&self.asking) = Some(reply);
                Ok(Step::Answer { service, args })
            }
            Ok(Event::Done(Some(Ok(Answer::Value(value))))) => Ok(Step::Done(value)),
            Ok(Event::Done(Some(Ok(Answer::Response(response))))) => Ok(Step::Done(gateway::answer(&response))),
            Ok(Event::Done(Some(Err(ScriptError::Problem { status, title, detail }))))
                if !what.starts_with("service ") =>
            {
                Ok(Step::Done(gateway::problem(status, &title, &detail)))
            }
            Ok(Event::Done(Some(Err(error)))) => Err(told(&what, &error)),
            Ok(Event::Done(None)) | Err(_) => Err(HostError::new(
                HostErrorKind::Failed,
                format!("{what}: the host failed; this is a fault of Replug"),
            )),
        }
    }

    fn respond(&self, routed: Routed) -> Result<Step, HostError> {
        match routed {
            Routed::Answer(answer) => Ok(Step::Done(answer)),
            Routed::Call { what, handler, request } => {
                let mut context = self.world.call_within(self.state.end);
                context.principal.clone_from(&request.principal);
                self.call(what, Call::Respond(handler, request, context))
            }
        }
    }
}

impl Stage for TestStage {
    fn begin(&self, function: SuiteFn, args: Vec<Value>) -> Result<Step, HostError> {
        use SuiteFn as F;
        let path = function.function().path;
        let mut args = args.into_iter();
        let (first, second, third) =
            (args.next().unwrap_or_default(), args.next().unwrap_or_default(), args.next().unwrap_or_default());
        let text = |value: &Value, position: usize| {
            let wrong = || HostError::argument(path, position, "a string", value.kind());
            value.as_str().map(str::to_owned).ok_or_else(wrong)
        };
        let whole = |value: &Value| {
            let whole = value.as_i64().and_then(|number| u64::try_from(number).ok());
            whole.ok_or_else(|| HostError::argument(path, 1, "a whole number from 0 on", value.kind()))
        };
        match function {
            F::Request => return self.respond(self.world.gateway.route(&self.world.manifest, &first)?),
            F::Page => return self.respond(gateway::page(&text(&first, 1)?, &second)?),
            F::Call => {
                let service = text(&first, 1)?;
                let mut context = self.world.call_within(self.state.end);
                context.caller = Some(CALLER.into());
                let handler = Handler::Service(service.as_str().into());
                return self.call(format!("service {service}"), Call::Call(handler, vec![second], context));
            }
            F::Health => {
                let context = self.world.call_within(self.state.end);
                return self.call("health".into(), Call::Call(Handler::Health, Vec::new(), context));
            }
            F::Service => {
                let stand_in = match second {
                    Value::Bool(true) => StandIn::Function,
                    _ => StandIn::Answer(third),
                };
                self.state.set_stand_in(path, &text(&first, 1)?, stand_in)?;
            }
            F::Calls => return Ok(Step::Done(Value::List(self.state.calls(&text(&first, 1)?)))),
            F::Config => {
                let key = text(&first, 1)?;
                if !self.world.manifest.config.schema.contains_key(&key) {
                    let message = format!("{path}: the manifest's config.schema has no key `{key}`");
                    return Err(HostError::new(HostErrorKind::NotFound, message));
                }
                self.state.set_setting(path, &key, second)?;
            }
            F::ClockSet => self.state.clock.set(whole(&first)?),
            F::ClockAdvance => self.state.clock.advance(whole(&first)?),
            F::HttpRespond => {
                let Value::Map(_) = third else {
                    return Err(HostError::argument(path, 3, "a map {status, headers, body}", third.kind()));
                };
                let (method, url) = (text(&first, 1)?, text(&second, 2)?);
                self.state.http.respond(path, (&method, &url), third, &self.state.held)?;
            }
            F::HttpRequests => return Ok(Step::Done(self.state.http.requests())),
            F::AssertEqual | F::AssertOk | F::AssertContains | F::AssertFails => {}
        }
        Ok(Step::Done(Value::Null))
    }

    fn resume(&self, answer: Result<Value, HostError>) -> Result<Step, HostError> {
        if let Some(reply) = locked(&self.asking).take() {
            // whoever asked may have given up at its deadline
            let _ = reply.send(answer);
        }
        self.wait()
    }
}
