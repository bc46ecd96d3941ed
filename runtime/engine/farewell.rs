//! How a module says goodbye after its last request: `shutdown`, and where it goes out of service, the clean-ups that its
//! manifest names, one after the other in the order in which they stand there. One that fails does not keep the next.

use std::sync::Arc;

use replug_scripts::{Handler, Value};

use super::apply::{Hands, guarded};
use super::outcome::FailedFarewell;
use crate::actors::Instance;

/// One part of a farewell.
enum Part<'a> {
    /// A handler of the script.
    Script(&'a str, Handler),
    /// `clearCache`.
    ClearCache,
    /// `closeConnections`.
    CloseConnections,
}

impl Part<'_> {
    const fn name(&self) -> &str {
        match self {
            Self::Script(name, _) => name,
            Self::ClearCache => CLEAR_CACHE,
            Self::CloseConnections => CLOSE_CONNECTIONS,
        }
    }
}

/// Drops `kv` entries marked as cache, and makes VMs anew before the next call.
const CLEAR_CACHE: &str = "clearCache";

/// Closes the connections to the module's database, and those by which it asked other hosts.
const CLOSE_CONNECTIONS: &str = "closeConnections";

impl Hands {
    /// Lets the module say goodbye; says what of that failed, in order.
    pub(super) async fn farewell(&self, instance: &Arc<Instance>, deactivated: bool) -> Vec<FailedFarewell> {
        let mut failed = Vec::new();
        for part in parts(instance, deactivated) {
            let name = part.name().to_owned();
            if let Err(reason) = guarded(self.part(instance, part)).await {
                tracing::warn!(instance = %instance.key, part = %name, %reason, "the module's farewell failed");
                failed.push(FailedFarewell { name, reason });
            }
        }
        failed
    }

    async fn part(&self, instance: &Arc<Instance>, part: Part<'_>) -> Result<(), String> {
        match part {
            Part::Script(_, handler) => {
                let name = handler.to_string();
                let call = instance.context(&name, instance.limits().wall_time.saturating_mul(2));
                let done = instance.call_after_close(handler, Vec::<Value>::new(), call).await;
                done.map(drop).map_err(|error| error.to_string())
            }
            Part::ClearCache => {
                instance.renew_vms();
                let (kv, id) = (self.supplies.kv.clone(), Arc::clone(&instance.key.id));
                let cleared = tokio::task::spawn_blocking(move || kv.clear_cache(&id)).await;
                let fault = match cleared {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                Err(format!("the cache could not be cleared: {fault}"))
            }
            Part::CloseConnections => {
                instance.close_connections();
                let (subject, mut faults) = (self.subject(&instance.key)?, Vec::new());
                for binding in &self.bindings {
                    if let Err(error) = binding.close_connections(&subject).await {
                        faults.push(format!("{}: {error}", binding.name()));
                    }
                }
                if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
            }
        }
    }
}

/// What the farewell of an instance consists of. A script's own clean-up goes before the runtime's of the same name.
fn parts(instance: &Instance, deactivated: bool) -> Vec<Part<'_>> {
    let exports = instance.exports();
    let shutdown = exports.has(&Handler::Shutdown).then_some(Part::Script("shutdown", Handler::Shutdown));
    let names = &instance.manifest.lifecycle.deactivation.cleanup;
    let cleanups = names.iter().filter(|_| deactivated).filter_map(|name| {
        let handler = Handler::Cleanup(name.as_str().into());
        match name.as_str() {
            own if exports.has(&handler) => Some(Part::Script(own, handler)),
            CLEAR_CACHE => Some(Part::ClearCache),
            CLOSE_CONNECTIONS => Some(Part::CloseConnections),
            // a name that the script lacks has failed the activation
            _ => None,
        }
    });
    shutdown.into_iter().chain(cleanups).collect()
}
