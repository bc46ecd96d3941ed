//! What a script answered, or failed to, as an HTTP answer; and how it is counted.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::Response as HttpResponse;
use http::StatusCode;
use replug_scripts::{Handler, HostErrorKind, Response, ScriptError};

use super::problem::Problem;
use super::refusal::Refusal;
use super::stream::{self, Follow};
use super::{Asked, Gateway, Target};
use crate::actors::router::{CallError, Instance, Streaming};
use crate::integration::auth::token;
use crate::integration::ui::{self, Page};

impl Gateway {
    /// The answer to the client.
    pub(super) fn finish(
        &self,
        asked: &Asked<'_>,
        target: &Target,
        result: Result<(Response, Option<Streaming>), CallError>,
    ) -> Result<HttpResponse, Refusal> {
        target.instance.metrics.received.inc_by(bytes(&asked.body.bytes));
        let (mut answer, streaming) = match result {
            Ok(answered) => answered,
            Err(CallError::NoModule(_)) => return Err(Refusal::NoModule),
            Err(error) => {
                log(&asked.id.text, &target.instance, &target.handler, &error);
                let ran = ran(&error);
                let mut problem = problem(error);
                // who comes again has its handler run again
                if ran && !asked.parts.method.is_safe() {
                    problem.retry = None;
                }
                return Ok(problem.into_response(&asked.id.text));
            }
        };
        if target.is_page() {
            let page = Page {
                path: asked.parts.uri.path(),
                route: target.instance.manifest.routes.iter().find(|route| *route.path == *target.pattern),
                module: &target.instance.manifest.name,
                principal: asked.principal.as_deref(),
            };
            ui::dress(&self.router.load(), &page, &mut answer);
        }
        target.instance.metrics.sent.inc_by(bytes(&answer.body));
        let body = match streaming {
            None if answer.stream.is_none() => Body::from(answer.body),
            // nobody reads it; its length is not known all the same
            None => Body::from_stream(futures::stream::empty::<Never>()),
            Some(streaming) => stream::body(streaming, self.follow(asked, target), &answer.headers, self.patience),
        };
        let mut response = HttpResponse::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

impl Gateway {
    /// What is kept of a request for the calls of its stream.
    fn follow(&self, asked: &Asked<'_>, target: &Target) -> Follow {
        let token = asked.principal.as_ref().and_then(|_| token::of(&asked.parts.headers));
        let token = token.map(|(token, _)| token.to_owned());
        let (request_id, permissions) = (Arc::clone(&asked.id.text), Arc::clone(&target.permissions));
        Follow { request_id, auth: self.auth.clone(), token, permissions }
    }
}

/// The pieces of a body that has none.
type Never = Result<Bytes, std::convert::Infallible>;

pub(super) fn bytes(body: &[u8]) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

/// A script's internals are for its operator: the log has them, under the request's id.
fn log(request_id: &str, instance: &Instance, handler: &Handler, error: &CallError) {
    let trace = match error {
        CallError::Script(ScriptError::Problem { status, .. }) if *status < 500 => return,
        _ => trace(error),
    };
    let (module, version) = (&*instance.key.id, &*instance.key.version);
    tracing::warn!(request_id, module, version, %handler, %error, trace, "a request failed");
}

/// Where a script failed.
pub(super) fn trace(error: &CallError) -> &str {
    match error {
        CallError::Script(ScriptError::Thrown { trace, .. } | ScriptError::Host { trace, .. }) => trace,
        _ => "",
    }
}

/// Whether the handler of a request that came to nothing may have run. Who sends the same again has it run again.
const fn ran(error: &CallError) -> bool {
    let before = matches!(
        error,
        CallError::Overloaded { .. }
            | CallError::Throttled { .. }
            | CallError::HeapFull { .. }
            | CallError::Unready { .. }
            | CallError::Closed(_)
            | CallError::NoModule(_)
    );
    !before
}

/// What the client may know.
fn problem(error: CallError) -> Problem {
    match error {
        CallError::Overloaded { .. } => Problem::overloaded("the module's queue is full"),
        CallError::Crowded { .. } => Problem::overloaded("the module has as many open streams as it may have"),
        CallError::NoRoom { .. } => Problem::overloaded("the module has no memory for one more stream"),
        CallError::Throttled { wait, .. } => Problem::throttled(wait),
        CallError::HeapFull { .. } => Problem::overloaded("the module has used up its memory"),
        CallError::Unready { .. } => Problem::overloaded("the module has no room to begin with"),
        CallError::Cramped { .. } => {
            Problem::overloaded("others of the module have the memory that this request needed")
        }
        CallError::Displaced(_) => Problem::overloaded("another request took the memory that this one needed"),
        CallError::Closed(_) | CallError::NoModule(_) => Problem::overloaded("the module is being replaced"),
        CallError::Timeout(_) => Problem::timeout("the module did not get to this request in time"),
        CallError::Crashed(_) => Problem::script_error(),
        CallError::Script(error) if error.is_stop() => Problem::overloaded("the module was stopped"),
        CallError::Script(ScriptError::Limit(verdict)) => Problem::new(
            "limit-exceeded",
            StatusCode::SERVICE_UNAVAILABLE,
            "Limit exceeded",
            format!("the module met its limit `{}`", verdict.limit()),
        ),
        CallError::Script(ScriptError::Problem { status, title, detail }) => Problem {
            kind: "about:blank",
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            title: title.into(),
            detail: detail.into(),
            retry: None,
        },
        CallError::Script(ScriptError::Host { error, .. }) => match error.kind {
            HostErrorKind::Timeout => Problem::timeout("something that the module waited for did not answer in time"),
            HostErrorKind::Overloaded => Problem::overloaded("something that the module needs takes no more calls"),
            _ => Problem::script_error(),
        },
        CallError::Script(ScriptError::Thrown { .. } | ScriptError::Contract(_) | ScriptError::Engine(_)) => {
            Problem::script_error()
        }
    }
}
