//! Asks one check once, within its timeout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use replug_scripts::{CallContext, Handler, HostError, HostErrorKind, Request, ScriptError, Value};

use super::schedule::Answer;
use crate::actors::error::CallError;
use crate::actors::instance::Instance;
use crate::manifest::{HealthCheck, HealthCheckKind};
use crate::monitor::HealthStatus;

/// How long to wait until a full queue is tried again: much traffic says nothing about health, and an overloaded module
/// must be able to get its fix.
const AGAIN: Duration = Duration::from_millis(10);

/// The request id of questions, under which the log has what they cause.
const PURPOSE: &str = "health";

/// From this HTTP status on, the answer of an endpoint is a failure.
const FIRST_FAILURE: u16 = 400;

/// Why a question has no answer that passes.
enum Fault {
    /// What was asked is not well; why.
    Failed(String),
    /// A queue is full, which may pass; what was said.
    Full(String),
    /// There was no answer in time.
    Late,
    /// The instance takes no more calls, and is not ill because of that.
    Closed,
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Overloaded { .. }
            | CallError::Throttled { .. }
            | CallError::HeapFull { .. }
            | CallError::Cramped { .. }
            | CallError::Unready { .. } => Self::Full(error.to_string()),
            CallError::Timeout(_) => Self::Late,
            CallError::Closed(_) => Self::Closed,
            CallError::Script(error) if error.is_stop() => Self::Closed,
            CallError::Script(ScriptError::Problem { status, title, detail }) if detail.is_empty() => {
                Self::Failed(format!("{status} {title}"))
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<HostError> for Fault {
    fn from(error: HostError) -> Self {
        match error.kind {
            HostErrorKind::Overloaded => Self::Full(error.message),
            _ => Self::Failed(error.message),
        }
    }
}

/// Asks `check` of `instance` and counts how long the answer took, which is the second value. A full queue is tried again
/// until the check's timeout has passed; if it is full then, the answer says nothing.
pub(in crate::actors) async fn ask(instance: &Arc<Instance>, check: &HealthCheck) -> (Answer, Duration) {
    let started = Instant::now();
    let deadline = started + check.timeout;
    let late = || Answer::failed(format!("no answer within {} ms", check.timeout.as_millis()));
    let answer = loop {
        let call = CallContext { deadline, ..instance.context(PURPOSE, check.timeout) };
        let said = once(instance, &check.kind, call).await;
        let is_late = Instant::now() >= deadline;
        match said {
            Err(Fault::Closed) => break Answer { status: HealthStatus::Unknown, detail: String::new() },
            Err(Fault::Full(_)) if Instant::now() + AGAIN < deadline => tokio::time::sleep(AGAIN).await,
            Err(Fault::Full(detail)) => break Answer { status: HealthStatus::Unknown, detail },
            Err(Fault::Late) => break late(),
            // also the verdict of a limit that the deadline set
            _ if is_late => break late(),
            Ok(answer) => break answer,
            Err(Fault::Failed(detail)) => break Answer::failed(detail),
        }
    };
    let took = started.elapsed();
    let answer = answer.clipped();
    if answer.status != HealthStatus::Unknown {
        instance.metrics.health_check_seconds(&check.id).observe(took.as_secs_f64());
    }
    (answer, took)
}

async fn once(instance: &Arc<Instance>, kind: &HealthCheckKind, call: CallContext) -> Result<Answer, Fault> {
    match kind {
        HealthCheckKind::Endpoint { path } => endpoint(instance, path, call).await,
        HealthCheckKind::Database => database(instance, call.deadline).await,
        HealthCheckKind::Service { service } => self::service(instance, service, call).await,
        HealthCheckKind::Custom => health(instance, "the script has no `health`", call).await,
    }
}

/// The module's own api of that path, in this instance whatever version serves, and without the gateway: nobody has to
/// sign in. Without such an api it is `health`.
async fn endpoint(instance: &Arc<Instance>, path: &str, call: CallContext) -> Result<Answer, Fault> {
    let handler = Handler::Api(format!("{} {path}", Method::GET).into());
    let declared = instance.manifest.apis.iter().any(|api| api.path == path && api.methods.iter().any(|m| m == "GET"));
    if !declared {
        let missing = format!("the module has neither an api GET {path} nor a `health` in its script");
        return health(instance, &missing, call).await;
    }
    let request = Request {
        id: Arc::clone(&call.request_id),
        method: Method::GET,
        path: path.to_owned(),
        params: Vec::new(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        principal: None,
    };
    let status = instance.probe(handler, Box::new(request), call).await?.status;
    let passes = status.as_u16() < FIRST_FAILURE;
    Ok(if passes { Answer::passed() } else { Answer::failed(format!("answered {status}")) })
}

async fn health(instance: &Arc<Instance>, missing: &str, call: CallContext) -> Result<Answer, Fault> {
    if !instance.exports().has(&Handler::Health) {
        return Err(Fault::Failed(missing.to_owned()));
    }
    Ok(read(&instance.call(Handler::Health, Vec::new(), call).await?))
}

/// SQLite blocks, so it is asked where blocking harms nobody. One that hangs for ever keeps one thread, not one for each
/// question.
async fn database(instance: &Arc<Instance>, deadline: Instant) -> Result<Answer, Fault> {
    let Some(database) = instance.supplies.as_ref().and_then(|supplies| supplies.database.clone()) else {
        return Err(Fault::Failed("this runtime has no databases; build it with the feature `sqlite`".to_owned()));
    };
    let (module, look) = (Arc::clone(&instance.key.id), Arc::clone(&instance.look));
    let named = instance.named.clone();
    let looked = async {
        // the semaphore is never closed
        let alone = look.acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let check = || database.check(&module, deadline);
            let found = named.as_ref().map_or_else(check, |named| named.during(check));
            drop(alone);
            found
        })
        .await
    };
    match tokio::time::timeout_at(deadline.into(), looked).await {
        Err(_) => Err(Fault::Late),
        Ok(Err(error)) => Err(Fault::Failed(format!("the look at the database did not end: {error}"))),
        Ok(Ok(found)) => Ok(found.map(|()| Answer::passed())?),
    }
}

/// What this module provides is asked of this instance; anything else of whoever provides it.
async fn service(instance: &Arc<Instance>, service: &str, call: CallContext) -> Result<Answer, Fault> {
    let Some((capability, method)) = service.rsplit_once('.') else {
        return Err(Fault::Failed(format!("`{service}` is no capability and method")));
    };
    if instance.manifest.capabilities.iter().any(|own| own.id == capability) {
        let handler = Handler::Service(service.into());
        if !instance.exports().has(&handler) {
            return Err(Fault::Failed(format!("the script has no {handler}")));
        }
        instance.call(handler, vec![Value::Map(std::collections::BTreeMap::new())], call).await?;
        return Ok(Answer::passed());
    }
    let Some(supplies) = &instance.supplies else {
        return Err(Fault::Failed(format!("nothing that serves provides {capability}")));
    };
    supplies.services.ask(capability, method, &call).await?;
    Ok(Answer::passed())
}

/// `{status, detail?}`, a bare status, or a truth value; nothing at all means healthy.
fn read(answer: &Value) -> Answer {
    let status = match answer {
        Value::Null | Value::Bool(true) => HealthStatus::Healthy,
        Value::Text(name) => HealthStatus::parse(name),
        Value::Map(map) => match map.get("status").and_then(Value::as_str) {
            Some(name) => HealthStatus::parse(name),
            None => return Answer::failed("health answered a map without a status"),
        },
        _ => HealthStatus::Unhealthy,
    };
    let detail = answer.get("detail").and_then(Value::as_str).unwrap_or_default();
    Answer { status, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_may_answer_in_several_shapes() {
        use HealthStatus::{Degraded, Healthy, Unhealthy};
        let map = |status: &str| Value::map([("status", Value::from(status)), ("detail", Value::from("so"))]);
        let table = [
            (Value::Null, Healthy, ""),
            (Value::Bool(true), Healthy, ""),
            (Value::Bool(false), Unhealthy, ""),
            (Value::from("degraded"), Degraded, ""),
            (Value::from("splendid"), Unhealthy, ""),
            (map("healthy"), Healthy, "so"),
            (map("unhealthy"), Unhealthy, "so"),
            (Value::map([("detail", Value::from("so"))]), Unhealthy, "health answered a map without a status"),
        ];
        for (value, status, detail) in table {
            assert_eq!(read(&value), Answer { status, detail: detail.into() }, "{value:?}");
        }
    }
}
