//! The route flip, the count of requests inside a version, and its drain, in every interleaving of their threads: loom runs the real
//! entrance over atomics of its own. The route is an atomic pointer in the runtime and an atomic index here: what is read of either is
//! what was stored before.

use std::sync::Arc;

use loom::sync::atomic::AtomicBool;
use loom::thread;

use gate::{Gate, Gated, Pass};
use primitives::{AtomicUsize, Ordering};

#[path = "../../runtime/actors/gate.rs"]
#[expect(unreachable_pub, reason = "it is the runtime's own source")]
mod gate;

/// What the entrance is made of, as loom has it.
mod primitives {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};

    /// Wakes whoever waits, as tokio's does.
    #[derive(Debug, Default)]
    pub(crate) struct Notify(loom::sync::Mutex<Waiting>);

    #[derive(Debug, Default)]
    struct Waiting {
        rounds: usize,
        wakers: Vec<Waker>,
    }

    pub(crate) struct Notified<'a> {
        notify: &'a Notify,
        since: Option<usize>,
    }

    impl Notify {
        pub(crate) fn notified(&self) -> Notified<'_> {
            Notified { notify: self, since: None }
        }

        pub(crate) fn notify_waiters(&self) {
            let mut waiting = self.0.lock().unwrap();
            waiting.rounds += 1;
            waiting.wakers.drain(..).for_each(Waker::wake);
        }
    }

    impl Notified<'_> {
        /// Hears of what comes from now on, and not before: tokio's hears from its making on.
        pub(crate) fn enable(mut self: Pin<&mut Self>) {
            self.since = Some(self.notify.0.lock().unwrap().rounds);
        }
    }

    impl Future for Notified<'_> {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            let mut waiting = self.notify.0.lock().unwrap();
            let rounds = waiting.rounds;
            if *self.since.get_or_insert(rounds) != rounds {
                return Poll::Ready(());
            }
            waiting.wakers.push(context.waker().clone());
            Poll::Pending
        }
    }
}

/// A version with its entrance, and whether its actors were stopped.
struct Version {
    gate: Gate,
    stopped: AtomicBool,
}

impl Gated for Version {
    fn gate(&self) -> &Gate {
        &self.gate
    }
}

/// A slot: its versions, and the one that requests are routed to.
struct Slot {
    versions: Vec<Arc<Version>>,
    route: AtomicUsize,
}

impl Slot {
    fn of(versions: usize) -> Arc<Self> {
        let version = || Arc::new(Version { gate: Gate::default(), stopped: AtomicBool::new(false) });
        Arc::new(Self { versions: (0..versions).map(|_| version()).collect(), route: AtomicUsize::new(0) })
    }

    /// A request: it enters what is routed, and looks again where that was closed meanwhile. Gives the version that answered, and
    /// how often it looked.
    fn request(&self) -> Option<(usize, usize)> {
        let (mut at, mut looked) = (0, 0);
        let pass = Pass::look(|| {
            (at, looked) = (self.route.load(Ordering::Acquire), looked + 1);
            Some(Arc::clone(&self.versions[at]))
        })?;
        let answers = !pass.inside().stopped.load(Ordering::SeqCst);
        thread::yield_now();
        assert!(answers && !pass.inside().stopped.load(Ordering::SeqCst), "it was stopped under a request");
        Some((at, looked))
    }

    /// A swap to the next version, as the engine makes it: flip, close, drain, stop.
    fn swap(&self) {
        let at = self.route.load(Ordering::Acquire);
        self.route.store(at + 1, Ordering::Release);
        let before = &self.versions[at];
        before.gate.close();
        loom::future::block_on(before.gate.drained());
        before.stopped.store(true, Ordering::SeqCst);
    }

    fn inside(&self) -> Vec<usize> {
        self.versions.iter().map(|version| version.gate.inside()).collect()
    }
}

/// Every interleaving, but for those with more than three switches against a thread's will.
fn everywhere(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn a_swap_loses_no_request_and_stops_no_version_under_one() {
    everywhere(|| {
        let slot = Slot::of(2);
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let slot = Arc::clone(&slot);
                thread::spawn(move || slot.request())
            })
            .collect();
        slot.swap();
        for client in clients {
            let (_, looked) = client.join().unwrap().expect("a request found no version open");
            assert!(looked <= 2, "one swap costs one look: {looked}");
        }
        assert_eq!((slot.request(), slot.inside()), (Some((1, 1)), vec![0, 0]));
    });
}

#[test]
fn each_swap_that_overtakes_a_request_costs_it_one_look() {
    everywhere(|| {
        let slot = Slot::of(3);
        let client = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.request())
        };
        slot.swap();
        slot.swap();
        assert!(client.join().unwrap().is_some(), "the looks of a request are enough for two swaps");
        assert_eq!((slot.request(), slot.inside()), (Some((2, 1)), vec![0, 0, 0]));
    });
}

#[test]
fn a_drain_ends_whoever_leaves_last() {
    everywhere(|| {
        let version = Arc::new(Version { gate: Gate::default(), stopped: AtomicBool::new(false) });
        let inside = Pass::enter(Arc::clone(&version)).expect("open");
        let late = {
            let version = Arc::clone(&version);
            // it may be refused, and is counted for a moment all the same
            thread::spawn(move || drop(Pass::enter(version)))
        };
        let leaves = thread::spawn(move || drop(inside));
        version.gate.close();
        loom::future::block_on(version.gate.drained());
        assert!(Pass::enter(Arc::clone(&version)).is_none(), "it stays closed");
        late.join().unwrap();
        leaves.join().unwrap();
    });
}
