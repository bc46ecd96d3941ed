//! One message to a script actor.

use std::sync::Arc;
use std::time::Instant;

use replug_scripts::{CallContext, HostError, Principal, Value};
use tokio::sync::oneshot;

use super::larder::Held;

/// A message with whoever waits for its reply.
pub(super) struct Letter {
    pub(super) message: Held,
    pub(super) request_id: Arc<str>,
    pub(super) principal: Option<Arc<Principal>>,
    /// Who waits for it, outermost first, the actor itself last; nobody waits for what was only sent.
    pub(super) chain: Vec<Arc<str>>,
    /// The events that led to it, which sending it does not shed.
    pub(super) hops: u8,
    reply: Option<Reply>,
}

/// Where the reply goes, and until when.
struct Reply {
    to: oneshot::Sender<Result<Value, HostError>>,
    deadline: Instant,
}

/// The name of an actor in chains of calls; no module's id has a slash.
pub(super) fn link(module: &str, actor: &str) -> Arc<str> {
    format!("{module}/{actor}").into()
}

impl Letter {
    /// One that nobody waits for.
    pub(super) fn sent(message: Held, link: Arc<str>, call: &CallContext) -> Self {
        Self {
            message,
            request_id: Arc::clone(&call.request_id),
            principal: call.principal.clone(),
            chain: vec![link],
            hops: call.hops,
            reply: None,
        }
    }

    /// One whose reply is waited for until the deadline of `call`.
    pub(super) fn asked(
        message: Held,
        link: Arc<str>,
        call: &CallContext,
    ) -> (Self, oneshot::Receiver<Result<Value, HostError>>) {
        let (to, answer) = oneshot::channel();
        let mut letter = Self::sent(message, link, call);
        letter.chain.splice(0..0, call.chain.iter().cloned());
        letter.reply = Some(Reply { to, deadline: call.deadline });
        (letter, answer)
    }

    /// Whether somebody waits for the reply.
    pub(super) const fn is_asked(&self) -> bool {
        self.reply.is_some()
    }

    /// Whether somebody waited for the reply and does so no more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.to.is_closed() || Instant::now() >= reply.deadline)
    }

    /// Tells whoever waits. One that went away is no fault.
    pub(super) fn answer(self, answer: Result<Value, HostError>) {
        if let Some(reply) = self.reply {
            let _ = reply.to.send(answer);
        }
    }
}
