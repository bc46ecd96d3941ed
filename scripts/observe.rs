//! Whoever oversees the scripts that run on a thread, while they run.

#[cfg(any(feature = "lua", feature = "rhai"))]
use std::cell::Cell;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Instant;

#[cfg(any(feature = "lua", feature = "rhai"))]
use crate::limits::Verdict;
#[cfg(any(feature = "lua", feature = "rhai"))]
use crate::meter;

/// By how many bytes the heap must have changed to be told again.
#[cfg(any(feature = "lua", feature = "rhai"))]
const STEP: usize = 64 << 10;

/// Oversees the VMs of a thread. It must be quick, must not panic, and must not run scripts.
pub trait Overseer {
    /// The VM that runs holds so many bytes. Luau tells when it looks at its clocks, Rhai every few operations where jemalloc
    /// counts, see [`Limits::memory`](crate::Limits::memory); both only when it changed by 64 KiB. What a VM holds after a call
    /// is [`Vm::memory`](crate::Vm::memory).
    fn holds(&self, bytes: usize);

    /// Asked about every millisecond while a script runs, or while its host works for it: whether it may go on. Otherwise its
    /// call ends with [`Verdict::Stopped`](crate::Verdict::Stopped).
    fn may_go_on(&self) -> bool;

    /// Told ten times as often, and while a VM is made: a moment at which the thread may give its processor to others, until
    /// this time at the latest.
    fn gives_way(&self, until: Instant) {
        let _ = until;
    }

    /// The script waits for its host from now on, with its thread.
    fn waits(&self) {}
}

thread_local! {
    static OVERSEER: RefCell<Option<Rc<dyn Overseer>>> = const { RefCell::new(None) };
    #[cfg(any(feature = "lua", feature = "rhai"))]
    static TOLD: Cell<usize> = const { Cell::new(0) };
}

/// The scripts on this thread are overseen until it drops.
#[must_use = "it ends when it drops"]
pub struct Overseen {
    outer: Option<Rc<dyn Overseer>>,
    /// The overseer is the thread's, so this stays on it.
    not_send: PhantomData<*const ()>,
}

impl Overseen {
    /// By this one, who takes the place of one that the thread had before, which comes back afterwards.
    pub fn by(overseer: Rc<dyn Overseer>) -> Self {
        Self { outer: OVERSEER.replace(Some(overseer)), not_send: PhantomData }
    }
}

impl Drop for Overseen {
    fn drop(&mut self) {
        let outer = self.outer.take();
        // a thread that ends may have lost it already
        let _ = OVERSEER.try_with(|overseer| overseer.replace(outer));
    }
}

fn ask<R>(ask: impl FnOnce(&dyn Overseer) -> R) -> Option<R> {
    let asked = OVERSEER.try_with(|overseer| overseer.try_borrow().ok()?.as_deref().map(ask));
    asked.ok().flatten()
}

/// The VM that runs on this thread holds `bytes`.
#[cfg(any(feature = "lua", feature = "rhai"))]
#[inline]
pub(crate) fn holds(bytes: usize) {
    if bytes.abs_diff(TOLD.get()) >= STEP {
        tell(bytes);
    }
}

#[cfg(any(feature = "lua", feature = "rhai"))]
#[cold]
fn tell(bytes: usize) {
    TOLD.set(bytes);
    ask(|overseer| overseer.holds(bytes));
}

/// The script that runs on this thread may let others run, until `until`.
#[cfg(any(feature = "lua", feature = "rhai"))]
pub(crate) fn gives_way(until: Instant) {
    ask(|overseer| overseer.gives_way(until));
}

/// What runs on this thread waits for something else than the processor from now on.
pub fn waits() {
    ask(|overseer| overseer.waits());
}

/// Whether what runs on this thread may go on, as its overseer and the limits of its call say; without these it may. A host
/// function that takes long asks about every millisecond, and ends where it may not: the call of the script that waits for it on
/// this thread is over then.
pub fn may_go_on() -> bool {
    #[cfg(any(feature = "lua", feature = "rhai"))]
    // no tick, since how often this is asked depends on the time; and no moment to give way, since the host may hold locks
    if meter::conclude().is_some() {
        return false;
    }
    let goes_on = is_let_go_on();
    #[cfg(any(feature = "lua", feature = "rhai"))]
    if !goes_on {
        meter::trip(Verdict::Stopped);
    }
    goes_on
}

/// The same for the meter.
pub(crate) fn is_let_go_on() -> bool {
    ask(|overseer| overseer.may_go_on()).unwrap_or(true)
}
