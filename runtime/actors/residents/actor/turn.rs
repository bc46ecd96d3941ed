//! One message on its way through the version that has the slot.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Handler, HostError, HostErrorKind, ScriptError, Value, handled};

use super::{Life, ScriptActor};
use crate::actors::error::CallError;
use crate::actors::instance::Instance;
use crate::actors::residents::failures::Cause;
use crate::actors::residents::larder::{self, Held};
use crate::actors::residents::letter::Letter;
use crate::manifest::Restart;
use crate::monitor::InstanceKey;
use crate::sandbox::quota::Parcel;

/// How long a message may wait for a worker, a new VM included, beside the time that its handler may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a message waits that met a full queue, a full heap, or an instance on its way out.
pub(super) const AGAIN: Duration = Duration::from_millis(10);

/// What became of a message.
pub(super) enum Turn {
    /// It was handled; the reply.
    Done(Value),
    /// It was handled, and the actor is to end.
    Stopped { owner: InstanceKey, restart: Restart, reply: Value },
    /// It is over without an answer, and the state is as it was.
    Lost(HostError),
    /// No version serves.
    Nobody,
    /// It was not begun: the version has no room for it now, or `upgrade` met what passes by itself.
    Later(HostError, Duration),
    /// It was not begun: the state of another version does not fit.
    Misfit { owner: InstanceKey, error: HostError, reason: String },
    /// It was not begun: `init` failed.
    NotBegun { owner: InstanceKey, cause: Cause, error: HostError, reason: String },
    /// It failed, and the state is lost.
    Failed { owner: Option<InstanceKey>, cause: Cause, error: HostError, reason: String },
}

/// Why a step came to no result.
pub(super) enum Stop {
    /// The instance goes: another one has the slot by now, or nobody.
    Closed,
    Turn(Turn),
}

impl ScriptActor {
    /// Runs one message.
    pub(super) async fn turn(&self, life: &mut Life, letter: &Letter) -> Turn {
        let mut before: Option<InstanceKey> = None;
        loop {
            if self.mailbox.is_closed() {
                return Turn::Nobody;
            }
            let Some(owner) = self.shared.owner(&self.module) else { return Turn::Nobody };
            if before.as_ref() == Some(&owner.key) {
                // it goes, and the routes do not say so yet
                tokio::time::sleep(AGAIN).await;
            }
            let (turn, outcome) = match self.turn_on(&owner, life, letter).await {
                Err(Stop::Closed) => {
                    before = Some(owner.key.clone());
                    continue;
                }
                Ok(turn) => (turn, "handled"),
                Err(Stop::Turn(turn)) => (turn, "failed"),
            };
            if !matches!(turn, Turn::Nobody | Turn::Later(..)) {
                self.shared.count(&owner.key, "actor", outcome);
            }
            return turn;
        }
    }

    async fn turn_on(&self, owner: &Arc<Instance>, life: &mut Life, letter: &Letter) -> Result<Turn, Stop> {
        let spec = owner.manifest.runtime.actors.iter().find(|spec| *spec.id == *self.name);
        let handle = Handler::ActorHandle(Arc::clone(&self.name));
        let Some(spec) = spec.filter(|_| owner.exports().has(&handle)) else {
            let what = format_args!("version {} has the slot now, and has no such actor", owner.key.version);
            return Err(Stop::Turn(Turn::Lost(self.error(HostErrorKind::NotFound, what))));
        };
        self.make_ready(owner, life, letter).await?;
        let state = life.state.as_ref().map(|(state, _)| state.value.clone()).unwrap_or_default();
        let failed = |cause, error, reason| Turn::Failed { owner: Some(owner.key.clone()), cause, error, reason };
        let handled = match self.run(owner, &handle, vec![state, letter.message.value.clone()], letter).await {
            Ok(answer) => handled::read(answer),
            Err(error) => {
                return Err(Stop::Turn(match self.unbegun(&error)? {
                    Some(error) => Turn::Lost(error),
                    None => failed(Cause::of(&error), self.told(&error), error.to_string()),
                }));
            }
        };
        match handled {
            Ok(handled) => {
                if let (Some(state), Some(kept), false) = (handled.state, &mut life.state, handled.stop) {
                    let call = self.context(owner, letter);
                    larder::keep(owner, &mut kept.0, state, (&handle, &call)).map_err(|none| {
                        let what = format_args!("its new state is not kept, and it stays as it was: {none}");
                        Stop::Turn(Turn::Lost(self.error(HostErrorKind::Overloaded, what)))
                    })?;
                }
                Ok(match handled.stop {
                    true => Turn::Stopped { owner: owner.key.clone(), restart: spec.restart, reply: handled.reply },
                    false => Turn::Done(handled.reply),
                })
            }
            Err(wrong) => {
                let reason = format!("{handle}: {wrong}");
                Err(Stop::Turn(failed(Cause::Handle, self.error(HostErrorKind::Failed, &reason), reason)))
            }
        }
    }

    /// Makes the state, or fits it to the version (see [`super::fit`]); how many messages are lost by that.
    pub(super) async fn ready(&self, owner: &Arc<Instance>, life: &mut Life, letter: &Letter) -> Result<u64, Stop> {
        let version = Arc::clone(&owner.key.version);
        if life.is_new()
            && let Some(lost) = life.returns_to(&version)
        {
            let reason =
                format!("its state was lost since the swap; what it was before is back, without {lost} messages since");
            self.tell(&owner.key, (Cause::Upgrade, &reason), ("state of before the swap", &[]));
            return Ok(lost);
        }
        let Life { state, past, .. } = &mut *life;
        let Some((_, made_by)) = state else {
            let init = Handler::ActorInit(Arc::clone(&self.name));
            self.is_let_down.store(false, Ordering::Release);
            let state = match owner.exports().has(&init) {
                false => Value::Null,
                // the state is nobody's in particular: it must not depend on whose message is the first
                true => match owner.call_aside(init.clone(), Vec::new(), self.unasked(owner, letter)).await {
                    Ok(state) => state,
                    Err(error) => {
                        // it counts where it met what others fill: that may be what waits for this very actor
                        let is_unready = matches!(error, CallError::Unready { .. } | CallError::Cramped { .. });
                        if !is_unready && let Some(error) = self.unbegun(&error)? {
                            return Err(Stop::Turn(Turn::Later(error, AGAIN)));
                        }
                        let cause = Cause::of_init(&error, self.is_let_down.load(Ordering::Acquire));
                        let (owner, reason, error) = (owner.key.clone(), format!("init: {error}"), self.told(&error));
                        return Err(Stop::Turn(Turn::NotBegun { owner, cause, error, reason }));
                    }
                },
            };
            let mut kept = Held { value: Value::Null, room: Parcel::none(Arc::clone(owner.account())) };
            let call = self.context(owner, letter);
            let cause = if larder::could_keep(owner, &state) { Cause::Crowd } else { Cause::Init };
            larder::keep(owner, &mut kept, state, (&init, &call)).map_err(|none| {
                let (owner, error) = (owner.key.clone(), self.error(HostErrorKind::Overloaded, none));
                let reason = format!("its first state is not kept: {none}");
                Stop::Turn(Turn::NotBegun { owner, cause, error, reason })
            })?;
            life.state = Some((kept, version));
            return Ok(0);
        };
        if *made_by == version {
            // it never came to the other version
            past.take_if(|past| past.made_by == version);
            return Ok(0);
        }
        self.fit_to(owner, life, letter).await
    }

    pub(super) async fn run(
        &self,
        owner: &Arc<Instance>,
        handler: &Handler,
        args: Vec<Value>,
        letter: &Letter,
    ) -> Result<Value, CallError> {
        owner.call_aside(handler.clone(), args, self.context(owner, letter)).await
    }

    /// The context of a call that no message asked for.
    fn unasked(&self, owner: &Instance, letter: &Letter) -> CallContext {
        CallContext { hops: 0, principal: None, ..self.context(owner, letter) }
    }

    pub(super) fn context(&self, owner: &Instance, letter: &Letter) -> CallContext {
        CallContext {
            module: Arc::clone(&self.module),
            version: Arc::clone(&owner.key.version),
            request_id: Arc::clone(&letter.request_id),
            caller: None,
            // not that of whoever waits: a state must not be lost because somebody has little time
            deadline: Instant::now() + owner.limits().wall_time + PATIENCE,
            chain: letter.chain.clone(),
            hops: letter.hops,
            principal: letter.principal.clone(),
            mirrored: None,
            readying: None,
        }
    }

    /// Sorts an error of a call. It was not begun: what to do. It is over through no fault of the script's: the error for
    /// whoever waits. Otherwise nothing: the script failed.
    pub(super) fn unbegun(&self, error: &CallError) -> Result<Option<HostError>, Stop> {
        let overloaded = || self.error(HostErrorKind::Overloaded, error);
        match error {
            CallError::Closed(_) | CallError::NoModule(_) => Err(Stop::Closed),
            CallError::Overloaded { .. }
            | CallError::Crowded { .. }
            | CallError::NoRoom { .. }
            | CallError::HeapFull { .. } => Err(Stop::Turn(Turn::Later(overloaded(), AGAIN))),
            CallError::Throttled { wait, .. } => Err(Stop::Turn(Turn::Later(overloaded(), *wait))),
            // not tried again by itself: the `init` may need the very mailbox in which the message would wait
            CallError::Displaced(_) | CallError::Cramped { .. } | CallError::Unready { .. } => Ok(Some(overloaded())),
            // cut off with its version: the state stays as it was before this message
            CallError::Script(stopped) if stopped.is_stop() => Ok(Some(overloaded())),
            CallError::Timeout(_) => Ok(Some(self.error(HostErrorKind::Timeout, error))),
            CallError::Crashed(_) | CallError::Script(_) => Ok(None),
        }
    }

    /// What the sender, which is the module itself, hears of a failure.
    pub(super) fn told(&self, error: &CallError) -> HostError {
        match error {
            CallError::Script(ScriptError::Host { error, .. }) => error.clone(),
            CallError::Script(ScriptError::Limit(verdict)) => {
                self.error(HostErrorKind::Failed, format_args!("it met its limit: {verdict}"))
            }
            CallError::Unready { .. } | CallError::Cramped { .. } => self.error(HostErrorKind::Overloaded, error),
            other => self.error(HostErrorKind::Failed, other),
        }
    }
}
