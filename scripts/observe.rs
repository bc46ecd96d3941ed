//! Tells whoever wants to know how much the VM that runs on a thread holds, while it runs.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

/// By how many bytes the heap must have changed to be told again.
const STEP: usize = 64 << 10;

type Observer = Box<dyn Fn(usize)>;

thread_local! {
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    static TOLD: Cell<usize> = const { Cell::new(0) };
}

/// Observes the heaps of the VMs that run on this thread until it drops.
#[must_use = "it ends when it drops"]
#[derive(Debug)]
pub struct HeapObserver(PhantomData<*const ()>);

impl HeapObserver {
    /// Has `observer` told, now and then while a script runs, how many bytes its VM holds. It takes the place of one that
    /// the thread had before. It must be quick, must not panic, and must not run scripts.
    ///
    /// Luau tells when it looks at its clocks, Rhai every few operations where jemalloc counts, see
    /// [`Limits::memory`](crate::Limits::memory); both only when the heap changed by 64 KiB. What a VM holds after a call is
    /// [`Vm::memory`](crate::Vm::memory).
    pub fn begin(observer: impl Fn(usize) + 'static) -> Self {
        OBSERVER.set(Some(Box::new(observer)));
        Self(PhantomData)
    }
}

impl Drop for HeapObserver {
    fn drop(&mut self) {
        // a thread that ends may have lost it already
        let _ = OBSERVER.try_with(|observer| observer.take());
    }
}

/// The VM that runs on this thread holds `bytes`.
#[inline]
pub(crate) fn holds(bytes: usize) {
    if bytes.abs_diff(TOLD.get()) >= STEP {
        tell(bytes);
    }
}

#[cold]
fn tell(bytes: usize) {
    TOLD.set(bytes);
    let _ = OBSERVER.try_with(|observer| {
        if let Ok(observer) = observer.try_borrow()
            && let Some(observer) = &*observer
        {
            observer(bytes);
        }
    });
}
