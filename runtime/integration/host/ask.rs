//! One call of a service of the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, HostError, HostErrorKind, Mirrored, Value};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::{HostService, ServiceContext};

/// What of the time that is left is kept for the script: a tenth of it, at most this. The call of a script ends at its own
/// deadline for good, so that one which shall hear of a timeout must hear of it earlier.
const KEPT: Duration = Duration::from_millis(100);

/// Calls `method` on behalf of `call.module`. What the host does for it, `admits` too, runs as a task of its own: neither a
/// panic nor code that does not yield reaches whoever waits, and dropping this future ends it.
///
/// # Errors
/// `permission-denied` for a module that the host does not admit, `timeout`, `failed` after a panic, or what the host says.
pub(in crate::integration) async fn ask(
    host: &Arc<dyn HostService>,
    capability: &str,
    method: &str,
    args: Value,
    call: &CallContext,
) -> Result<Value, HostError> {
    let service: Arc<str> = format!("{capability}.{method}").into();
    let left = call.deadline.saturating_duration_since(Instant::now());
    let deadline = call.deadline - KEPT.min(left / 10);
    let mut chain = call.chain.clone();
    chain.push(Arc::clone(&call.module));
    let context = ServiceContext {
        service: Arc::clone(&service),
        module: Arc::clone(&call.module),
        version: Arc::clone(&call.version),
        request_id: Arc::clone(&call.request_id),
        deadline,
        principal: call.principal.clone(),
        chain,
        hops: call.hops,
        mirrored: call.mirrored.clone(),
    };
    let (host, method) = (Arc::clone(host), method.to_owned());
    let mut task = Task(tokio::spawn(async move {
        if !host.admits(&context.module) {
            return Err(denied(&context));
        }
        match context.mirrored.as_ref().filter(|_| !host.reads(&method)) {
            Some(copy) => Err(refused(copy, &context)),
            None => host.call(&method, args, context).await,
        }
    }));
    let failed = |kind, what: &str| Err(HostError::new(kind, format!("services.call: {service}: {what}")));
    match timeout_at(deadline.into(), &mut task.0).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.is_panic() => {
            let (request_id, module) = (&*call.request_id, &*call.module);
            tracing::error!(request_id, module, %service, %error, "a service of the host panicked");
            let what = format!("the host application failed; its log says why, under request {request_id}");
            failed(HostErrorKind::Failed, &what)
        }
        Ok(Err(_)) => failed(HostErrorKind::Failed, "the host application is shutting down"),
        Err(_) => failed(HostErrorKind::Timeout, "the host application gave no answer until the deadline"),
    }
}

fn denied(context: &ServiceContext) -> HostError {
    let ServiceContext { service, module, .. } = context;
    HostError::refusal(format!(
        "permission denied: services.call: {service} is a service of the host application, which does not offer it to {module}; \
         whoever runs the host would have to"
    ))
}

fn refused(copy: &Mirrored, context: &ServiceContext) -> HostError {
    let mut error = copy.refuse(&format!("services.call: {}", context.service));
    error.message += "; the host application says that the method only reads by `HostService::reads`, if it does";
    error
}

/// A task that ends when nobody waits for it any more.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
