//! Calls from module to module, and from module to the host application.
//!
//! A caller waits in [`ServiceCalls::call`] while the provider's worker runs. The call inherits the caller's deadline and
//! never extends it, so that a circle of modules whose workers all wait for each other ends when the first
//! of them gives up; a full queue refuses at once. Which capabilities exist, and which version of their provider serves,
//! is read from one snapshot.

use std::sync::Arc;

use replug_scripts::{CallContext, Handler, HostError, HostErrorKind, ScriptError, Value};

use super::auth::{self, Authenticator};
use super::chance;
use super::host::{self, HostServices};
use crate::actors::router::{self, CallError, Instance, LOOKS, Router, Slot};
use crate::manifest::{Capability, StickyBy};
use crate::sandbox::ports::{Services, Suppliers};

mod application;

#[cfg(all(test, feature = "lua"))]
mod tests;

/// The function that scripts call.
const CALL: &str = "services.call";

/// The services of whichever modules serve, and those of the host.
pub struct ServiceCalls {
    router: Arc<Router>,
    hosts: HostServices,
    auth: Authenticator,
}

impl ServiceCalls {
    /// Finds providers through `router`, but asks `hosts` for what those offer; `auth` forgets what it knows when its
    /// capability is withdrawn.
    #[must_use]
    pub const fn new(router: Arc<Router>, hosts: HostServices, auth: Authenticator) -> Self {
        Self { router, hosts, auth }
    }

    /// Who is called: one instance, out of the same moment in which it was found to fit. A switch may come before the call does, and
    /// then it is still this one. It has the service.
    fn provider(
        &self,
        allowed: &Suppliers,
        capability: &str,
        handler: &Handler,
        call: &CallContext,
        companions: bool,
    ) -> Result<Provider, HostError> {
        let (snapshot, caller) = (self.router.load(), &call.module);
        let providers = snapshot.providers(capability);
        let depends = |id: &str| {
            let mut ranges = allowed.modules.iter().filter(|(one, _)| one == id);
            ranges.any(|(_, range)| range.as_ref().is_none_or(|range| snapshot.serves(id, range)))
        };
        let requires = |id: &str| {
            let ranges = allowed.capabilities.iter().filter(|(needed, _)| needed == capability);
            ranges.map(|(_, range)| range).any(|range| snapshot.offers(id, capability, range))
        };
        let serving = providers.iter().find(|id| id != &caller && (depends(id) || requires(id)));
        // what a caller began with the versions that it fits it ends with them
        let in_range = |instance: &Instance| {
            let mut ranges = allowed.modules.iter().filter(|(one, _)| **one == *instance.key.id);
            ranges.any(|(_, range)| range.as_ref().is_none_or(|range| range.matches(&instance.manifest.version)))
        };
        let fits = |instance: &Instance| {
            let mut own = instance.manifest.capabilities.iter().filter(|own| own.id == capability);
            let requires = |own: &Capability| {
                allowed.capabilities.iter().any(|(needed, range)| needed == capability && range.matches(&own.version))
            };
            serving.is_none_or(|id| *id == instance.key.id)
                && own.any(|own| in_range(instance) || requires(own))
                && instance.exports().has(handler)
        };
        if companions && let Some(instance) = snapshot.companion((caller, &call.version), fits) {
            return Ok(Provider { instance, gave_way: true });
        }
        let Some(module) = serving else {
            return Err(match providers {
                [] => missing(allowed, capability),
                [own, ..] if own == caller => failed(
                    HostErrorKind::PermissionDenied,
                    format_args!("{caller} provides {capability} itself; call the function, not the service"),
                ),
                [other, ..]
                    if let Some((_, Some(range))) = allowed.modules.iter().find(|(one, _)| **one == **other) =>
                {
                    failed(
                        HostErrorKind::NotFound,
                        format_args!(
                            "{capability} is provided by {other}, which does not serve in a version {range}, as `dependencies` of {caller} \
                         asks for it"
                        ),
                    )
                }
                [other, ..] => HostError::refusal(format!(
                    "permission denied: services.call: {capability} is provided by {other}, on which {caller} does not \
                     depend; `dependencies: [{{ id: {other} }}]` in module.manifest.yaml would grant it, or `requirements: \
                     [{capability}]` of a capability of its own"
                )),
            });
        };
        let slot = snapshot.slots.get(module).ok_or_else(|| missing(allowed, capability))?;
        let bucket = bucket(module, slot, call);
        let instance = snapshot.instance_with(module, bucket, handler).ok_or_else(|| missing(allowed, capability))?;
        if !instance.exports().has(handler) {
            let key = &instance.key;
            let what =
                format_args!("{}@{} provides {capability}, but its script has no {handler}", key.id, key.version);
            return Err(failed(HostErrorKind::NotFound, what));
        }
        Ok(Provider { instance: Arc::clone(instance), gave_way: false })
    }

    /// Finds the provider of a service and calls it. One that gave way with the caller and has ended meanwhile is replaced by
    /// what serves, if that fits.
    async fn reach(
        &self,
        allowed: &Suppliers,
        (capability, service): (&str, &str),
        args: Value,
        call: &CallContext,
    ) -> Result<Value, HostError> {
        let handler = Handler::Service(service.into());
        let mut inner = CallContext { caller: Some(Arc::clone(&call.module)), ..call.clone() };
        inner.chain.push(Arc::clone(&call.module));
        let (mut companions, mut closed) = (true, missing(allowed, capability));
        for _ in 0..LOOKS {
            let Provider { instance, gave_way } = self.provider(allowed, capability, &handler, call, companions)?;
            // whoever is called serves clients, and remembers what it was asked
            if let Some(copy) = &call.mirrored {
                return Err(copy.refuse(&format!("{CALL}: {service}")));
            }
            let module = &instance.key.id;
            if inner.chain.contains(module) && !instance.pool.has_spare() {
                return Err(stands_still(service, module, &inner.chain));
            }
            let translated = |error| translate(CALL, service, module, error, call);
            match router::serve(&instance, &handler, vec![args.clone()], inner.clone()).await {
                Err(error @ CallError::Closed(_)) => closed = translated(error),
                result => return result.map_err(translated),
            }
            companions = !gave_way;
        }
        Err(closed)
    }
}

/// The refusal of a call that closes a circle of modules none of which has a worker free.
fn stands_still(service: &str, module: &Arc<str>, chain: &[Arc<str>]) -> HostError {
    let circle = chain.iter().chain([module]).map(|id| &**id).collect::<Vec<_>>().join(" -> ");
    let what = format_args!(
        "{service}: {circle} call each other in a circle and every worker of {module} is busy; break the circle"
    );
    failed(HostErrorKind::Overloaded, what)
}

/// Who is called.
struct Provider {
    instance: Arc<Instance>,
    /// Whether it gave way together with the caller, so that it is not what serves.
    gave_way: bool,
}

/// The bucket of a call. Whoever stands behind it has the one that their requests have; all other calls of one request
/// have one, so that what a request begins with a version it ends there.
pub(crate) fn bucket(module: &str, slot: &Slot, call: &CallContext) -> u16 {
    match (slot.sticky_by(), &call.principal) {
        (None, _) => chance::bucket(),
        (Some(StickyBy::Principal), Some(principal)) => chance::sticky(module, principal.subject.as_bytes()),
        (Some(_), _) => chance::sticky(module, call.request_id.as_bytes()),
    }
}

/// The circle that a call closes, if it comes back to a module which waits for it and has no worker free: all of them may wait
/// in such circles, and then none would ever become so.
pub(crate) fn standstill(
    router: &Router,
    module: &Arc<str>,
    bucket: u16,
    handler: &Handler,
    chain: &[Arc<str>],
) -> Option<String> {
    if !chain.contains(module) {
        return None;
    }
    let instance = router.load().instance_with(module, bucket, handler).cloned();
    if instance.is_none_or(|instance| instance.pool.has_spare()) {
        return None;
    }
    Some(chain.iter().chain([module]).map(|id| &**id).collect::<Vec<_>>().join(" -> "))
}

#[async_trait::async_trait]
impl Services for ServiceCalls {
    async fn call(
        &self,
        allowed: &Suppliers,
        capability: &str,
        method: &str,
        args: Value,
        call: &CallContext,
    ) -> Result<Value, HostError> {
        let service = format!("{capability}.{method}");
        if let Some(host) = self.hosts.get(capability) {
            return host::ask(host, capability, method, args, call).await;
        }
        self.reach(allowed, (capability, &service), args, call).await
    }

    async fn ask(&self, capability: &str, method: &str, call: &CallContext) -> Result<Value, HostError> {
        let nothing = Value::Map(std::collections::BTreeMap::new());
        if let Some(host) = self.hosts.get(capability) {
            return host::ask(host, capability, method, nothing, call).await;
        }
        let service = format!("{capability}.{method}");
        let modules = self.router.load().providers(capability).iter().map(|id| (id.to_string(), None)).collect();
        let anyone = Suppliers { modules, capabilities: Vec::new() };
        self.reach(&anyone, (capability, &service), nothing, call).await
    }

    fn invalidate(&self, capability: &str) {
        if capability == auth::CAPABILITY {
            self.auth.invalidate();
        }
    }
}

fn failed(kind: HostErrorKind, what: impl std::fmt::Display) -> HostError {
    HostError::new(kind, format!("{CALL}: {what}"))
}

/// Nothing that serves provides it.
fn missing(allowed: &Suppliers, capability: &str) -> HostError {
    let what = if allowed.modules.is_empty() {
        format!("nothing that serves provides {capability}; declare its module under `dependencies` and activate it")
    } else {
        let dependencies = allowed.modules.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(", ");
        format!("nothing that serves provides {capability}; activate the one that does among {dependencies}")
    };
    failed(HostErrorKind::NotFound, what)
}

/// What the caller may know. A provider's own words reach it only if the provider addressed them to its callers.
fn translate(function: &str, service: &str, module: &str, error: CallError, call: &CallContext) -> HostError {
    use HostErrorKind as Kind;
    let failed = |kind, what: std::fmt::Arguments<'_>| HostError::new(kind, format!("{function}: {what}"));
    let internal = |trace: &str| {
        tracing::warn!(
            request_id = &*call.request_id,
            module,
            caller = &*call.module,
            service,
            %error,
            trace,
            "a service failed"
        );
        let id = &call.request_id;
        failed(Kind::Failed, format_args!("{service}: {module} failed; its log says why, under request {id}"))
    };
    match &error {
        CallError::Overloaded { queue, .. } => {
            failed(Kind::Overloaded, format_args!("{service}: the queue of {module} is full ({queue} waiting)"))
        }
        CallError::Throttled { .. } => failed(
            Kind::Overloaded,
            format_args!(
                "{service}: {module} has used up its share of the processor; `permissions.resources.cpu.maxCpuUsage` in its \
                 module.manifest.yaml asks for more"
            ),
        ),
        CallError::HeapFull { .. } => failed(
            Kind::Overloaded,
            format_args!(
                "{service}: {module} has used up its memory; `permissions.resources.memory.maxHeapSize` in its \
                 module.manifest.yaml asks for more"
            ),
        ),
        CallError::Unready { source, .. } => {
            failed(Kind::Overloaded, format_args!("{service}: no VM of {module} can begin: {source}"))
        }
        // of requests alone, and of those only a client's
        CallError::Crowded { .. } | CallError::NoRoom { .. } => {
            failed(Kind::Overloaded, format_args!("{service}: {module} begins no more streams"))
        }
        CallError::Cramped { .. } => failed(
            Kind::Overloaded,
            format_args!(
                "{service}: others of {module} have the memory that this call needed; \
                 `permissions.resources.memory.maxHeapSize` in its module.manifest.yaml asks for more"
            ),
        ),
        CallError::Displaced(_) => failed(
            Kind::Overloaded,
            format_args!("{service}: another call of {module} took the memory that this one needed"),
        ),
        CallError::Timeout(_) => {
            failed(Kind::Timeout, format_args!("{service}: {module} gave no answer until the deadline"))
        }
        CallError::NoModule(_) | CallError::Closed(_) => failed(
            Kind::NotFound,
            format_args!("{service}: {module} stopped serving meanwhile; activate it, or try again after the swap"),
        ),
        CallError::Script(ScriptError::Host { error, .. }) => error.clone(),
        CallError::Script(ScriptError::Problem { title, detail, .. }) if detail.is_empty() => {
            failed(Kind::Failed, format_args!("{service}: {title}"))
        }
        CallError::Script(ScriptError::Problem { title, detail, .. }) => {
            failed(Kind::Failed, format_args!("{service}: {title}: {detail}"))
        }
        CallError::Script(stopped) if stopped.is_stop() => {
            failed(Kind::Overloaded, format_args!("{service}: {module} was stopped"))
        }
        CallError::Script(ScriptError::Limit(verdict)) => {
            failed(Kind::Failed, format_args!("{service}: {module} met its limit: {verdict}"))
        }
        CallError::Script(ScriptError::Thrown { trace, .. }) => internal(trace),
        CallError::Script(ScriptError::Contract(_) | ScriptError::Engine(_)) | CallError::Crashed(_) => internal(""),
    }
}
