//! The first VM of an instance, which tells whether its script comes up and what it exports.

use std::sync::Arc;
use std::time::Instant;

use replug_scripts::{Exports, Handler, Limits};
use tokio::sync::oneshot;

use super::{Instance, Lane, START_GRACE};
use crate::actors::error::{CallError, StartError};
use crate::actors::usage::Usage;
use crate::actors::vm::HousedVm;

impl Instance {
    /// Makes the first VM on a thread of its own, runs `init` in it, and learns what the script exports.
    ///
    /// # Errors
    /// The top level or `init` failed, or met a limit.
    pub async fn first_vm(self: &Arc<Self>) -> Result<(), StartError> {
        let fault = |source| StartError::FirstVm { module: self.key.to_string(), source };
        // a stop waits for it
        let pass = self.pool.thread().ok_or_else(|| fault(CallError::Closed(self.key.to_string())))?;
        let (done, made) = oneshot::channel();
        let instance = Arc::clone(self);
        let (thread, limits) = self.thread("vm");
        let spawned = thread.spawn(move || {
            let made = instance.make_first(limits);
            drop(instance);
            let _ = done.send(made);
            drop(pass);
        });
        if let Err(error) = spawned {
            return Err(StartError::Actors { module: self.key.to_string(), message: error.to_string() });
        }
        let exports = made.await.map_err(|_| fault(CallError::Crashed(self.key.to_string())))?.map_err(fault)?;
        self.streams.learn(&exports);
        let _ = self.exports.set(exports);
        Ok(())
    }

    fn make_first(&self, limits: Limits) -> Result<Exports, CallError> {
        // its processor time counts, also that of a start that fails
        let _usage = Usage::new(self).exempt();
        let make = || HousedVm::make(self, (Lane::Requests, limits, None), Instant::now() + START_GRACE);
        let made = self.executing(make).map_err(|none| {
            none.tell(self, &Handler::Init, &self.context("init", START_GRACE));
            none.error(self)
        });
        made.map(|vm| vm.exports().clone())
    }
}
