//! A script actor: a mailbox, a state that is plain data, and one message at a time.
//!
//! | what stands | event → next |
//! |---|---|
//! | new | a message → `init`, then lives · `init` fails → as a failure |
//! | lives | a message → `handle`, lives · another version has the slot → `upgrade`, before the next message and before its take-over is final · `stop` → as a failure (permanent), ended · a failure → new, at once or after a wait; held when those of the slot failed too often; ended (temporary) |
//! | lives | it goes down with another one, which the strategy of its slot says → new, once the message in hand is over; held with that one; ended (temporary) |
//! | new | the version of before the swap has the slot again, and the state was lost since → lives with the one of before |
//! | lives | `upgrade` meets what passes by itself → lives, and it is tried again for a while (see [`fit`]) · it fails → held, with the state as it was; where the version returns, lives with the state that it had before |
//! | held | the pause is over, another version has the slot → as before it |
//! | ended | another version has the slot → new · it goes up with another one (transient) → new |
//! | any | the slot goes → gone |
//!
//! What never happens: two messages run at once; a message runs twice; one that waits is lost by the failure of another. `upgrade` is no
//! message: it may run more than once before one.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt as _;
use replug_scripts::{CallContext, HostError, HostErrorKind, Value};

use super::Shared;
use super::failures::Cause;
use super::household::Household;
use super::larder::Held;
use super::letter::{Letter, link};
use super::mailbox::{Mailbox, Refusal};
use crate::manifest::ActorSpec;
use crate::monitor::InstanceKey;
use crate::sandbox::ports::MAILBOX_FULL;
use fit::Fitted;
use life::Life;
pub(super) use standing::Hold;
use standing::{ENDED, Standing};
use turn::Turn;

mod failing;
mod fit;
mod life;
mod standing;
#[cfg(test)]
mod tests;
mod turn;

/// An actor of a slot.
pub(super) struct ScriptActor {
    module: Arc<str>,
    name: Arc<str>,
    shared: Arc<Shared>,
    /// What supervises it. Weak: it is kept there.
    household: Weak<Household>,
    mailbox: Mailbox<Letter>,
    /// For its reader, which is one at a time.
    life: tokio::sync::Mutex<Life>,
    standing: Mutex<Standing>,
    /// Set when the version that has the slot is confirmed, until its reader knows.
    is_settled: AtomicBool,
    /// Set when it goes down with another one while a message is in hand, until its reader has given up the state.
    is_to_forget: AtomicBool,
    /// Set when another actor gives an error to what runs here, or to what that waits for.
    is_let_down: AtomicBool,
    /// What came of its state in the version that took the slot over last.
    fitted: Fitted,
}

impl ScriptActor {
    pub(super) fn new(module: Arc<str>, name: Arc<str>, (shared, household): (Arc<Shared>, Weak<Household>)) -> Self {
        Self {
            module,
            name,
            shared,
            household,
            mailbox: Mailbox::default(),
            life: tokio::sync::Mutex::new(Life::new()),
            standing: Mutex::new(Standing::Runs),
            is_settled: AtomicBool::new(false),
            is_to_forget: AtomicBool::new(false),
            is_let_down: AtomicBool::new(false),
            fitted: Fitted::default(),
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error of this actor.
    pub(super) fn error(&self, kind: HostErrorKind, what: impl std::fmt::Display) -> HostError {
        HostError::new(kind, format!("actor {} of {}: {what}", self.name, self.module))
    }

    fn gone(&self) -> HostError {
        self.error(HostErrorKind::NotFound, "the module stopped serving")
    }

    /// Queues a message that nobody waits for.
    ///
    /// # Errors
    /// `overloaded`: the mailbox is full; `not-found`: the actor has ended.
    pub(super) fn send(
        self: &Arc<Self>,
        spec: &ActorSpec,
        message: Held,
        call: &CallContext,
        by: &InstanceKey,
    ) -> Result<(), HostError> {
        let letter = Letter::sent(message, link(&self.module, &self.name), call);
        self.put(spec, letter, by)
    }

    /// Queues a message and waits for its reply until the deadline of `call`.
    ///
    /// # Errors
    /// As [`ScriptActor::send`], and what the handler threw; `overloaded` while the actor is held; `conflict` for an actor
    /// that waits for itself; `timeout`.
    pub(super) async fn call(
        self: &Arc<Self>,
        spec: &ActorSpec,
        message: Held,
        call: &CallContext,
        by: &InstanceKey,
    ) -> Result<Value, HostError> {
        let link = link(&self.module, &self.name);
        if call.chain.contains(&link) {
            let circle = call.chain.iter().chain([&link]).map(|one| &**one).collect::<Vec<_>>().join(" -> ");
            let what = format_args!("{circle} wait for each other in a circle; use actors.send for one of these calls");
            return Err(self.error(HostErrorKind::Conflict, what));
        }
        let Some(owner) = self.shared.owner(&self.module) else {
            let what = "no version of the module serves yet; use actors.send, which waits for one";
            return Err(self.error(HostErrorKind::NotFound, what));
        };
        // an actor that waits for another holds a worker
        let of_actor = |link: &Arc<str>| link.strip_prefix(&*self.module).is_some_and(|rest| rest.starts_with('/'));
        if call.chain.iter().any(of_actor) && !owner.has_spare_aside() {
            let what = "actors wait for each other and none has a worker free; try again, or use actors.send";
            return Err(self.error(HostErrorKind::Overloaded, what));
        }
        drop(owner);
        if let Some(why) = self.standing().held() {
            return Err(self.held_for(why));
        }
        let (letter, answer) = Letter::asked(message, link, call);
        self.put(spec, letter, by)?;
        match tokio::time::timeout_at(call.deadline.into(), answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(self.error(HostErrorKind::Timeout, "no reply until the deadline")),
        }
    }

    fn put(self: &Arc<Self>, spec: &ActorSpec, letter: Letter, by: &InstanceKey) -> Result<(), HostError> {
        if self.has_ended() {
            return Err(self.ended());
        }
        match self.mailbox.push(letter, spec.mailbox) {
            Ok(true) => self.start(),
            Ok(false) => {}
            Err(Refusal::Full) => {
                self.shared.count(by, "actor", "refused");
                let what = format_args!("{MAILBOX_FULL} ({} messages wait)", spec.mailbox);
                return Err(self.error(HostErrorKind::Overloaded, what));
            }
            Err(Refusal::Closed) => return Err(self.gone()),
        }
        self.empty_if_ended();
        Ok(())
    }

    /// Another actor gave an error to what runs here.
    pub(super) fn is_let_down(&self) {
        self.is_let_down.store(true, Ordering::Release);
    }

    fn ended(&self) -> HostError {
        self.error(HostErrorKind::NotFound, "it has ended and is not started again in this version")
    }

    fn start(self: &Arc<Self>) {
        self.shared.runtime.spawn(Arc::clone(self).read());
    }

    /// Another version has the slot: it may take what the one before could not.
    pub(super) fn has_another_owner(self: &Arc<Self>) {
        *self.standing() = Standing::Runs;
        if self.mailbox.wake() {
            self.start();
        }
    }

    /// The version that has the slot is confirmed: nothing of before is returned to.
    pub(super) fn settles(&self) {
        self.is_settled.store(true, Ordering::SeqCst);
        self.lets_the_past_go();
    }

    /// Keeps nothing of before once that is settled. Whoever has its life looks again after that.
    fn lets_the_past_go(&self) {
        // again, since it may be settled while this has its life
        while self.is_settled.load(Ordering::SeqCst) {
            let Ok(mut life) = self.life.try_lock() else { return };
            if self.is_settled.swap(false, Ordering::SeqCst) {
                life.past = None;
            }
        }
    }

    /// Whether it holds nothing that would be lost with it, and nothing is to be remembered of it.
    pub(super) fn is_idle(&self) -> bool {
        let runs = matches!(*self.standing(), Standing::Runs);
        let is_new = || self.life.try_lock().is_ok_and(|life| life.is_new() && life.past.is_none());
        let is_idle = runs && self.mailbox.is_idle() && is_new();
        self.lets_the_past_go();
        is_idle
    }

    /// Ends it: what waits is answered, the message in hand finishes.
    pub(super) fn close(&self) {
        let left = self.mailbox.close();
        self.refuse(left, "its slot is gone", &|| self.gone());
    }

    /// Answers whoever waits, and says how many messages are lost of those that nobody waits for.
    fn refuse(&self, letters: Vec<Letter>, why: &str, error: &dyn Fn() -> HostError) {
        let lost = letters.iter().filter(|letter| !letter.is_asked()).count();
        if lost > 0 {
            tracing::warn!(module = &*self.module, actor = &*self.name, lost, why, "messages to an actor are dropped");
        }
        for letter in letters {
            letter.answer(Err(error()));
        }
    }

    /// Takes message after message until none is left.
    async fn read(self: Arc<Self>) {
        self.takes_messages().await;
        self.lets_the_past_go();
    }

    async fn takes_messages(&self) {
        let mut life = self.life.lock().await;
        loop {
            self.forgets(&mut life);
            self.waits_while_held().await;
            // another one may have taken it down meanwhile
            self.forgets(&mut life);
            let Some(letter) = self.mailbox.next() else { return };
            if letter.is_abandoned() {
                continue;
            }
            // who put it there has not yet looked again
            if self.has_ended() {
                self.refuse(vec![letter], ENDED, &|| self.ended());
                continue;
            }
            if self.is_settled.swap(false, Ordering::SeqCst) {
                life.past = None;
            }
            // a bug of the runtime's costs the message in hand, as one of the script's does
            let turn = AssertUnwindSafe(self.turn(&mut life, &letter)).catch_unwind().await;
            let turn = turn.unwrap_or_else(|_| Turn::Failed {
                owner: None,
                cause: Cause::Panic,
                error: self.error(HostErrorKind::Failed, "internal error; the runtime's log says why"),
                reason: "internal error".to_owned(),
            });
            if !self.settle(&mut life, letter, turn).await {
                return;
            }
        }
    }

    /// Does what a turn asks for; whether the reader goes on.
    async fn settle(&self, life: &mut Life, letter: Letter, turn: Turn) -> bool {
        match turn {
            Turn::Done(reply) => {
                life.goes_well();
                letter.answer(Ok(reply));
            }
            Turn::Stopped { owner, restart, reply } => {
                let wait = self.stop(life, owner, restart);
                letter.answer(Ok(reply));
                self.backs_off(wait).await;
            }
            Turn::Lost(error) => letter.answer(Err(error)),
            Turn::Nobody => {
                self.put_back(letter);
                return !self.mailbox.rest();
            }
            Turn::Later(error, wait) => {
                self.put_back_or_answer(letter, error);
                self.mailbox.pause(wait).await;
            }
            Turn::Misfit { owner, error, reason } => {
                self.put_back_or_answer(letter, error);
                self.tell(&owner, (Cause::Upgrade, &reason), ("state kept", &[]));
                self.hold(&Hold::now(owner, reason, life.pause()));
            }
            // those that go down with it do so before anybody hears of the failure: it may be one of them that waits
            Turn::NotBegun { owner, cause, error, reason } => {
                let asked = self.put_back_unless_asked(letter);
                let wait = self.fail(life, Some(owner), (cause, &reason));
                if let Some(letter) = asked {
                    letter.answer(Err(error));
                }
                self.backs_off(wait).await;
            }
            Turn::Failed { owner, cause, error, reason } => {
                let wait = self.fail(life, owner, (cause, &reason));
                letter.answer(Err(error));
                self.backs_off(wait).await;
            }
        }
        true
    }

    fn put_back(&self, letter: Letter) {
        if let Some(letter) = self.mailbox.put_back(letter) {
            self.refuse(vec![letter], "its slot is gone", &|| self.gone());
        }
        self.empty_if_ended();
    }

    /// A message that was not begun waits on, unless somebody waits for it.
    fn put_back_or_answer(&self, letter: Letter, error: HostError) {
        if let Some(letter) = self.put_back_unless_asked(letter) {
            letter.answer(Err(error));
        }
    }

    fn put_back_unless_asked(&self, letter: Letter) -> Option<Letter> {
        if letter.is_asked() {
            return Some(letter);
        }
        self.put_back(letter);
        None
    }
}
