//! What `test.…` does.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use replug_scripts::{Handler, Host, HostError, HostErrorKind, ScriptError, Stage, Step, SuiteFn, Value, streamed};

use super::course::{self, Course, Next};
use super::gateway::{self, Routed};
use super::module::{Answer, Call, Event, ModuleThread};
use super::report::told;
use super::residence::{Delivery, Waiting};
use super::state::{StandIn, State, locked};
use super::world::{CALLER, World};

/// The stage of one test.
pub(super) struct TestStage {
    world: Arc<World>,
    state: Arc<State>,
    host: Arc<dyn Host>,
    events: Mutex<Receiver<Event>>,
    module: Mutex<Option<ModuleThread>>,
    /// What the module does.
    course: Mutex<Course>,
}

impl TestStage {
    pub(super) fn new(world: &Arc<World>, state: &Arc<State>, host: Arc<dyn Host>, events: Receiver<Event>) -> Self {
        Self {
            world: Arc::clone(world),
            state: Arc::clone(state),
            host,
            events: Mutex::new(events),
            module: Mutex::default(),
            course: Mutex::default(),
        }
    }

    fn call(&self, what: String, call: Call) -> Result<Step, HostError> {
        self.run(&what.clone(), Course::to(what, call))
    }

    /// Has the module do what `course` leads through.
    fn run(&self, what: &str, course: Course) -> Result<Step, HostError> {
        if self.state.is_asked() {
            let message = format!("{what}: a stand-in cannot call the module that waits for it");
            return Err(HostError::new(HostErrorKind::Failed, message));
        }
        *locked(&self.course) = course;
        match self.go_on()? {
            Some(done) => Ok(done),
            None => self.wait(),
        }
    }

    /// Begins what is next; what came of all, where nothing is. A function of the test that fails leaves nothing for the next.
    fn go_on(&self) -> Result<Option<Step>, HostError> {
        self.begin_next().inspect_err(|_| self.state.deliveries.clear(&self.state.held))
    }

    fn begin_next(&self) -> Result<Option<Step>, HostError> {
        let call = match locked(&self.course).next(&self.state) {
            Next::Nothing(done) => return done.map(|value| Some(Step::Done(value))),
            Next::Call(call) => call,
            Next::Deliver(Waiting::Message(message)) => {
                self.state.actors.run(message, &self.state.events)?;
                return Ok(None);
            }
            Next::Deliver(Waiting::Event(delivery)) => {
                let handler = Handler::Event(delivery.topic.as_str().into());
                let context = course::context(&delivery, self.world.call_within(self.state.end));
                let (args, must_be_heard) = (vec![delivery.message()], delivery.must_be_heard);
                if must_be_heard { Call::Run(handler, args, context) } else { Call::Deliver(handler, args, context) }
            }
        };
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
        Ok(None)
    }

    /// Waits for the module, whose limits and deadline bound that.
    fn wait(&self) -> Result<Step, HostError> {
        loop {
            let event = locked(&self.events).recv();
            if let Ok(Event::Ask { service, args, reply }) = event {
                *locked(&self.state.asking) = Some(reply);
                return Ok(Step::Answer { service, args });
            }
            let mut course = locked(&self.course);
            let (what, is_asked) = (course.now.clone(), course.is_asked());
            let outcome = match event {
                Ok(Event::Done(Some(Ok(Answer::Value(value))))) if is_asked && what.starts_with(STREAM) => {
                    piece(&what, value)
                }
                Ok(Event::Done(Some(Ok(Answer::Value(value))))) => Ok(value),
                Ok(Event::Done(Some(Ok(Answer::Response(response))))) => Ok(gateway::answer(&response)),
                Ok(Event::Done(Some(Err(ScriptError::Problem { status, title, detail }))))
                    if is_asked && !what.starts_with("service ") && !what.starts_with(STREAM) =>
                {
                    Ok(gateway::problem(status, &title, &detail))
                }
                Ok(Event::Done(Some(Err(error)))) => Err(told(&what, &error)),
                Ok(Event::Done(None) | Event::Ask { .. }) | Err(_) => Err(HostError::new(
                    HostErrorKind::Failed,
                    format!("{what}: the host failed; this is a fault of Replug"),
                )),
            };
            // what an actor threw meanwhile came before
            let outcome = self.state.actors.take_failure().map_or(outcome, Err);
            course.ended(outcome, &self.state);
            drop(course);
            if let Some(done) = self.go_on()? {
                return Ok(done);
            }
        }
    }

    /// Hands the module an event, as one that `topic` belongs to publishes it.
    fn publish(&self, topic: String, payload: Value) -> Result<Step, HostError> {
        let manifest = &self.world.manifest;
        let ids = manifest.dependencies.iter().map(|one| one.id.as_str()).chain([manifest.id.as_str()]);
        let theirs = ids.filter(|id| topic.strip_prefix(id).is_some_and(|rest| rest.starts_with('.')));
        let Some(publisher) = theirs.max_by_key(|id| id.len()).map(str::to_owned) else {
            let message = format!(
                "test.publish: {topic}: the module hears its own topics, `{}.…`, and those of the modules it depends on",
                manifest.id
            );
            return Err(HostError::new(HostErrorKind::InvalidArgument, message));
        };
        if !self.state.is_asked() {
            let event = Delivery { topic, payload, publisher, hops: 1, must_be_heard: true };
            self.state.deliveries.push("test.publish", Waiting::Event(event), &self.state.held)?;
        }
        self.run("test.publish", Course::to_events())
    }

    /// Lets time pass. While the module waits, its timers wait with it.
    fn advance(&self, millis: u64) -> Result<Step, HostError> {
        if self.state.is_asked() {
            self.state.pass_to(self.state.deliveries.passed().saturating_add(millis));
            return Ok(Step::Done(Value::Null));
        }
        self.run("test.clock.advance", Course::through(millis, &self.state))
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

/// How the names of streams begin.
const STREAM: &str = "streams[";

/// What a stream gave, if the gateway would take it.
fn piece(what: &str, value: Value) -> Result<Value, HostError> {
    match streamed::read(value.clone()) {
        Ok(_) => Ok(value),
        Err(fault) => Err(HostError::new(HostErrorKind::Failed, format!("{what}: {fault}"))),
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
                return self.call(format!("service {service}"), Call::Run(handler, vec![second], context));
            }
            F::Stream => {
                let handler = Handler::Stream(text(&first, 1)?.into());
                let context = self.world.call_within(self.state.end);
                return self.call(handler.to_string(), Call::Run(handler, vec![second], context));
            }
            F::Health => {
                let context = self.world.call_within(self.state.end);
                return self.call("health".into(), Call::Run(Handler::Health, Vec::new(), context));
            }
            F::Service => {
                let stand_in = match second {
                    Value::Bool(true) => StandIn::Function,
                    _ => StandIn::Answer(third),
                };
                self.state.set_stand_in(path, &text(&first, 1)?, stand_in)?;
            }
            F::Publish => return self.publish(text(&first, 1)?, second),
            F::Published => return Ok(Step::Done(Value::List(self.state.deliveries.published(&text(&first, 1)?)))),
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
            F::ClockAdvance => return self.advance(whole(&first)?),
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
        if let Some(reply) = locked(&self.state.asking).take() {
            // whoever asked may have given up at its deadline
            let _ = reply.send(answer);
        }
        self.wait()
    }
}
