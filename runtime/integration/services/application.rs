//! Settings, apis, pages and components of modules, for modules that are granted them: inside the process, as a part of the
//! call that asks. What is asked of so inherits request id, deadline and principal, and counts in depth and circles as a
//! service does; but it does not learn who asks, since whoever asks consented to nothing.

use std::sync::Arc;

use http::HeaderMap;
use replug_scripts::api::Request;
use replug_scripts::{CallContext, Handler, HostError, HostErrorKind as Kind, Response, ScriptError, Value};

use super::{ServiceCalls, bucket, standstill};
use crate::actors::router::{CallError, Endpoint, Instance, LOOKS, Way};
use crate::integration::counted::count;
use crate::integration::decode::params;
use crate::sandbox::ports::{Application, Reach};

/// The functions as scripts name them.
const REQUEST: &str = "services.request";
const RENDER: &str = "services.render";
const CONFIG: &str = "config.of";

/// Whom to ask, and the path's parameters.
struct Aim {
    instance: Arc<Instance>,
    handler: Handler,
    params: Vec<(String, String)>,
    bucket: u16,
}

#[async_trait::async_trait]
impl Application for ServiceCalls {
    fn setting(&self, module: &str, key: &str) -> Result<Value, HostError> {
        let not_found = |what: String| failed(CONFIG, Kind::NotFound, what);
        let Some(instance) = self.router.load().instance(module, 0).cloned() else {
            return Err(not_found(format!("{module} does not serve; activate it")));
        };
        let config = &instance.manifest.config;
        let Some(setting) = config.schema.get(key) else {
            return Err(not_found(format!("{module} has no setting `{key}`")));
        };
        if setting.secret {
            let what = format!("permission denied: {CONFIG}: `{key}` of {module} is a secret, which no grant opens");
            return Err(HostError::refusal(what));
        }
        let value = config.defaults().remove(key).unwrap_or_default();
        serde_json::from_value(value).map_err(|error| failed(CONFIG, Kind::Failed, error.to_string()))
    }

    async fn request(&self, request: Request, reach: Reach, call: &CallContext) -> Result<Value, HostError> {
        let what = format!("{} {}", request.method, request.path);
        for _ in 0..LOOKS {
            let aim = self.aim(&what, &request, &reach, call)?;
            let request = Request { params: aim.params.clone(), ..request.clone() };
            if let Some(answer) = self.ask_for(REQUEST, &what, &aim, request, call).await? {
                return Ok(answer);
            }
        }
        Err(failed(REQUEST, Kind::NotFound, format!("{what}: its module is being replaced; try again")))
    }

    async fn render(&self, component: &str, request: Request, call: &CallContext) -> Result<Value, HostError> {
        let handler = Handler::Page(component.into());
        for _ in 0..LOOKS {
            let aim = {
                let snapshot = self.router.load();
                let having = snapshot.slots.iter().filter_map(|(id, slot)| {
                    let bucket = bucket(id, slot, call);
                    let instance = snapshot.instance_with(id, bucket, &handler)?;
                    instance.exports().has(&handler).then(|| (Arc::clone(instance), bucket))
                });
                let having: Vec<_> = having.collect();
                match having.as_slice() {
                    [] => {
                        let what = format!("nothing that serves draws {component}; activate the module that does");
                        return Err(failed(RENDER, Kind::NotFound, what));
                    }
                    [(instance, bucket)] => {
                        let (instance, handler) = (Arc::clone(instance), handler.clone());
                        Aim { instance, handler, params: Vec::new(), bucket: *bucket }
                    }
                    [(one, _), (other, _), ..] => {
                        let what = format!("{} and {} both draw {component}", one.key.id, other.key.id);
                        return Err(failed(RENDER, Kind::Conflict, what));
                    }
                }
            };
            if let Some(answer) = self.ask_for(RENDER, component, &aim, request.clone(), call).await? {
                return Ok(answer);
            }
        }
        Err(failed(RENDER, Kind::NotFound, format!("{component}: its module is being replaced; try again")))
    }
}

impl ServiceCalls {
    /// What the request leads to at this moment, if whoever stands behind the call may see it.
    fn aim(&self, what: &str, request: &Request, reach: &Reach, call: &CallContext) -> Result<Aim, HostError> {
        let snapshot = self.router.load();
        let (method, path) = (&request.method, request.path.as_str());
        let mut chosen = 0;
        let way = match snapshot.find(method, path) {
            Way::Shared(module, _) => {
                chosen = snapshot.slots.get(module).map_or(0, |slot| bucket(module, slot, call));
                snapshot.find_shared(module, chosen, method, path)
            }
            way => way,
        };
        let (instance, endpoint, raw) = match way {
            Way::To(instance, endpoint, raw) => (instance, endpoint, raw),
            Way::OtherMethods(methods) => {
                let methods: Vec<_> = methods.iter().map(ToString::to_string).collect();
                let what = format!("{what}: the path takes {} only", methods.join(", "));
                return Err(failed(REQUEST, Kind::NotFound, what));
            }
            Way::Shared(..) | Way::Nothing => {
                return Err(failed(REQUEST, Kind::NotFound, format!("{what}: nothing that serves has this path")));
            }
        };
        permit(what, endpoint, reach, call)?;
        let params = params(raw).map_err(|_| {
            failed(REQUEST, Kind::InvalidArgument, format!("{what}: a parameter of the path is no UTF-8"))
        })?;
        Ok(Aim { instance: Arc::clone(instance), handler: endpoint.handler.clone(), params, bucket: chosen })
    }

    /// Asks one instance. `None`: it is being replaced.
    async fn ask_for(
        &self,
        function: &str,
        what: &str,
        aim: &Aim,
        request: Request,
        call: &CallContext,
    ) -> Result<Option<Value>, HostError> {
        let key = &aim.instance.key;
        if let Some(copy) = &call.mirrored {
            return Err(copy.refuse(&format!("{function}: {what}")));
        }
        let mut inner = CallContext {
            module: Arc::clone(&key.id),
            version: Arc::clone(&key.version),
            caller: None,
            ..call.clone()
        };
        inner.chain.push(Arc::clone(&call.module));
        if let Some(circle) = standstill(&self.router, &key.id, aim.bucket, &aim.handler, &inner.chain) {
            let why = format!("{what}: {circle} ask each other in a circle and no worker of the last is free");
            return Err(failed(function, Kind::Overloaded, why));
        }
        let held = aim.instance.metrics.hold();
        let answer = aim.instance.respond(aim.handler.clone(), Box::new(request), inner).await;
        count(held, answer.as_ref());
        match answer {
            Ok(response) if response.stream.is_some() => {
                let why = format!("{what}: {} streams its answer, which only clients over HTTP can have", key.id);
                Err(failed(function, Kind::InvalidArgument, why))
            }
            Ok(response) => Ok(Some(told(response))),
            // its own words for whoever asks, as the gateway passes them on
            Err(CallError::Script(ScriptError::Problem { status, title, detail })) => {
                let problem =
                    [("title", title.into()), ("status", i64::from(status).into()), ("detail", detail.into())];
                Ok(Some(problem_of(status, Value::map(problem))))
            }
            Err(CallError::Closed(_) | CallError::NoModule(_)) => Ok(None),
            Err(error) => Err(super::translate(function, what, &key.id, error, call)),
        }
    }
}

/// Whether what stands at the path is of a kind that is granted, and whether whoever signed in may see it.
fn permit(what: &str, endpoint: &Endpoint, reach: &Reach, call: &CallContext) -> Result<(), HostError> {
    if endpoint.is_page() {
        reach.pages.clone()?
    } else {
        reach.apis.clone()?
    }
    let holds = |permission: &&String| call.principal.as_ref().is_some_and(|principal| principal.may(permission));
    match endpoint.permissions.iter().find(|permission| !holds(permission)) {
        None => Ok(()),
        Some(missing) => Err(HostError::refusal(format!(
            "permission denied: {REQUEST}: {what} needs `{missing}` of whoever signed in, who has not got it"
        ))),
    }
}

/// A problem that a script threw, in the form in which the gateway sends it.
fn problem_of(status: u16, problem: Value) -> Value {
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let headers = Value::map([("content-type", Value::from("application/problem+json"))]);
    Value::map([("status", Value::Int(status.into())), ("headers", headers), ("body", Value::Text(body))])
}

/// `{status, headers, body}` as scripts answer, too.
fn told(response: Response) -> Value {
    let body = match String::from_utf8(response.body.to_vec()) {
        Ok(text) => Value::Text(text),
        Err(bytes) => Value::Bytes(bytes.into_bytes().into()),
    };
    let status = Value::Int(i64::from(response.status.as_u16()));
    Value::map([("status", status), ("headers", headers(&response.headers)), ("body", body)])
}

fn headers(headers: &HeaderMap) -> Value {
    let joined = |name: &http::HeaderName| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        Value::Text(values.collect::<Vec<_>>().join(", "))
    };
    Value::map(headers.keys().map(|name| (name.as_str(), joined(name))))
}

fn failed(function: &str, kind: Kind, what: String) -> HostError {
    HostError::new(kind, format!("{function}: {what}"))
}
