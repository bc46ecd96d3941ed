//! What belongs to other modules, played by stand-ins.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use async_trait::async_trait;
use replug_scripts::api::Request;
use replug_scripts::{CallContext, HostError, HostErrorKind, Value};

use super::http::response;
use super::module::Event;
use super::state::{StandIn, State};
use crate::sandbox::ports::{Application, Reach, Services, Suppliers};

thread_local! {
    /// Whether this thread runs the module rather than the test.
    pub(super) static IN_MODULE: Cell<bool> = const { Cell::new(false) };
}

/// The stand-ins that a test has given. That of a service has its name, and counts as of a dependency or of the host
/// application; any other one is named by the function and what it is asked for: `db.of shop`.
pub(super) struct StandIns(pub(super) Arc<State>);

impl StandIns {
    /// What stands in under `name` answers a call of `function`. Blocks the thread, which is the script's own: nothing else
    /// runs there.
    pub(super) fn answer(
        &self,
        function: &str,
        name: &str,
        args: Value,
        deadline: Instant,
    ) -> Result<Value, HostError> {
        let failed = |why: &str| HostError::new(HostErrorKind::Failed, format!("{function}: {name}: {why}"));
        match self.0.stand_in(name) {
            None => Err(missing(function, name)),
            Some(StandIn::Answer(answer)) => {
                self.0.note_call(function, name, args)?;
                Ok(answer)
            }
            Some(StandIn::Function) if !IN_MODULE.get() => Err(failed(
                "only a handler can reach a stand-in that is a function; call one by test.request or test.call, or let the \
                 stand-in be plain data",
            )),
            Some(StandIn::Function) => {
                self.0.note_call(function, name, args.clone())?;
                let (reply, answer) = sync_channel(1);
                let ask = Event::Ask { service: name.to_owned(), args, reply };
                self.0.events.send(ask).map_err(|_| failed("the test ended"))?;
                let patience = deadline.saturating_duration_since(Instant::now());
                answer.recv_timeout(patience).map_err(|_| {
                    let message = format!("{function}: {name}: the stand-in gave no answer until the deadline");
                    HostError::new(HostErrorKind::Timeout, message)
                })?
            }
        }
    }
}

#[async_trait]
impl Services for StandIns {
    async fn call(
        &self,
        _: &Suppliers,
        capability: &str,
        method: &str,
        args: Value,
        call: &CallContext,
    ) -> Result<Value, HostError> {
        self.answer("services.call", &format!("{capability}.{method}"), args, call.deadline)
    }

    async fn ask(&self, capability: &str, method: &str, _: &CallContext) -> Result<Value, HostError> {
        Err(missing("services.call", &format!("{capability}.{method}")))
    }

    fn invalidate(&self, _: &str) {}
}

#[async_trait]
impl Application for StandIns {
    fn setting(&self, module: &str, key: &str) -> Result<Value, HostError> {
        let args = Value::map([("module", Value::from(module)), ("key", Value::from(key))]);
        self.answer("config.of", &format!("config.of {module}.{key}"), args, self.0.end)
    }

    async fn request(&self, request: Request, _: Reach, call: &CallContext) -> Result<Value, HostError> {
        let name = format!("services.request {} {}", request.method, request.path);
        respond("services.request", &name, self.answer("services.request", &name, seen(&request), call.deadline)?)
    }

    async fn render(&self, component: &str, request: Request, call: &CallContext) -> Result<Value, HostError> {
        let name = format!("services.render {component}");
        respond("services.render", &name, self.answer("services.render", &name, seen(&request), call.deadline)?)
    }
}

/// What a stand-in answers to a request, as a whole.
fn respond(function: &str, name: &str, answer: Value) -> Result<Value, HostError> {
    response(answer).ok_or_else(|| {
        let message = format!("{function}: {name}: a stand-in for it answers a map {{status, headers, body}}");
        HostError::new(HostErrorKind::Failed, message)
    })
}

/// A request, as a stand-in and `test.calls` see it.
fn seen(request: &Request) -> Value {
    let pairs = |pairs: &[(String, String)]| {
        Value::map(pairs.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))))
    };
    let headers = request.headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?.into())));
    Value::map([
        ("method", Value::from(request.method.as_str())),
        ("path", request.path.as_str().into()),
        ("params", pairs(&request.params)),
        ("query", pairs(&request.query)),
        ("headers", Value::map::<&str>(headers)),
        ("body", String::from_utf8_lossy(&request.body).into_owned().into()),
    ])
}

fn missing(function: &str, name: &str) -> HostError {
    let message =
        format!("{function}: nothing stands in for {name} in this test; test.service(\"{name}\", answer) does");
    HostError::new(HostErrorKind::NotFound, message)
}

#[cfg(feature = "sqlite")]
mod database {
    use std::sync::Arc;
    use std::time::Instant;

    use replug_scripts::{HostError, Value};

    use super::super::state::State;
    use super::super::world::CALLER;
    use super::StandIns;
    use crate::integration::database::Databases;
    use crate::sandbox::ports::{Database, Guest, Statement};

    /// The databases of a test: the module's own, and that of whoever calls it. Those of others are played.
    pub(in crate::kit::suites) struct TestDatabase(
        pub(in crate::kit::suites) Databases,
        pub(in crate::kit::suites) Arc<State>,
    );

    impl Database for TestDatabase {
        fn run_within(
            &self,
            room: u64,
            module: &str,
            guest: Option<Guest<'_>>,
            statements: &[Statement],
            deadline: Instant,
        ) -> Result<Vec<Value>, HostError> {
            if guest.is_none() || module == CALLER {
                return self.0.run_within(room, module, guest, statements, deadline);
            }
            let answer = |statement: &Statement| {
                let params = Value::List(statement.params.clone());
                let args = Value::map([("sql", Value::from(statement.sql.as_str())), ("params", params)]);
                StandIns(Arc::clone(&self.1)).answer("db.of", &format!("db.of {module}"), args, deadline)
            };
            statements.iter().map(answer).collect()
        }

        fn size(&self, module: &str) -> u64 {
            self.0.size(module)
        }

        fn check(&self, module: &str, deadline: Instant) -> Result<(), HostError> {
            self.0.check(module, deadline)
        }
    }
}

#[cfg(feature = "sqlite")]
pub(super) use database::TestDatabase;
