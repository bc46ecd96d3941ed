//! `actors`: messages to the module's own actors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, HostError, HostErrorKind, Pending, Value};

use super::data::DEEPEST;
use super::{Args, Guard, mirrored};
use crate::manifest::ActorSpec;
use crate::sandbox::permissions::Live;
use crate::sandbox::ports::MAILBOX_FULL;

impl Guard {
    /// The actor of the first argument, as the manifest declares it.
    fn actor(&self, args: &Args) -> Result<ActorSpec, HostError> {
        let (name, grants) = (args.text(0)?, self.live.grants());
        grants.actor(&args.function.path(), name).cloned()
    }

    pub(super) fn actors_send(&self, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        let actor = self.actor(args)?;
        mirrored::permit(args.function, call)?;
        let sent = self.residence.send(&actor, args.take(1), call);
        sent.inspect_err(|error| tell_if_full(&self.live, error, &actor, "actors.send", call))?;
        Ok(Value::Null)
    }

    /// The reply of an actor, to come.
    pub(super) fn actors_call(&self, args: &mut Args, call: &CallContext) -> Result<Pending, HostError> {
        let actor = self.actor(args)?;
        if call.chain.len() >= DEEPEST {
            let what = format!("{}: calls wait for each other more than {DEEPEST} deep; is there a cycle?", actor.id);
            return Err(args.failed(HostErrorKind::Overloaded, what));
        }
        let mut call = call.clone();
        if *args.get(2) != Value::Null {
            let timeout = u64::try_from(args.whole(2)?).ok().filter(|millis| *millis > 0);
            let timeout = timeout.ok_or_else(|| args.wrong(2, "milliseconds above 0"))?;
            // a number beyond all clocks is as good as none
            let latest = Instant::now().checked_add(Duration::from_millis(timeout));
            call.deadline = latest.map_or(call.deadline, |latest| latest.min(call.deadline));
        }
        // a message changes the state of its actor
        mirrored::permit(args.function, &call)?;
        let (residence, live, message) = (Arc::clone(&self.residence), Arc::clone(&self.live), args.take(1));
        Ok(Box::pin(async move {
            let answer = residence.call(&actor, message, &call).await;
            answer.inspect_err(|error| tell_if_full(&live, error, &actor, "actors.call", &call))
        }))
    }
}

/// Has it written that a mailbox took no more.
fn tell_if_full(live: &Live, error: &HostError, actor: &ActorSpec, function: &str, call: &CallContext) {
    if error.kind == HostErrorKind::Overloaded && error.message.contains(MAILBOX_FULL) {
        live.limit_of_host("runtime.actors.mailbox", actor.mailbox as u64, function, call);
    }
}
