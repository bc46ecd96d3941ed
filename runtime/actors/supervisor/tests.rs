//! Supervisors over real actors that note their starts and ends, with OTP's meaning.

mod children;
mod ends;
mod starts;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ractor::rpc::CallResult;
use tokio::sync::mpsc;

use super::*;

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);
/// A period that no test outlives.
const LONG: Duration = Duration::from_secs(3600);

async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(SOON, what).await.expect("in time")
}

/// What a child can be told.
enum Order {
    /// Return an error.
    Fail,
    /// Panic.
    Panic,
    /// Stop of its own accord.
    End,
    /// Stop of its own accord, as part of a shutdown.
    Shut,
    /// Be killed, which no child does itself.
    Kill,
    /// Never return from this message.
    Hang,
}

/// A child that notes when it starts (by whoever starts it), hangs and stops; one that fails or is killed notes nothing.
struct Child {
    id: &'static str,
    notes: mpsc::Sender<String>,
}

impl Child {
    fn note(&self, what: &str) {
        self.notes.try_send(format!("{what} {}", self.id)).expect("room for notes");
    }
}

#[ractor::async_trait]
impl Actor for Child {
    type Msg = Order;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Order>, (): ()) -> Result<(), ActorProcessingErr> {
        self.note("start");
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Order>, order: Order, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Fail => Err("told to fail".into()),
            Order::Panic => panic!("told to panic"),
            Order::End => {
                myself.stop(None);
                Ok(())
            }
            Order::Shut => {
                myself.stop(Some("shutdown".into()));
                Ok(())
            }
            Order::Kill => {
                myself.kill();
                Ok(())
            }
            Order::Hang => {
                self.note("hang");
                std::future::pending().await
            }
        }
    }

    async fn post_stop(&self, _: ActorRef<Order>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        self.note("stop");
        Ok(())
    }
}

/// A supervisor's children and what they noted.
struct Family {
    children: Vec<ChildSpec>,
    cells: Arc<Mutex<HashMap<&'static str, ActorRef<Order>>>>,
    refusals: Arc<Mutex<HashMap<&'static str, usize>>>,
    failures: Arc<AtomicUsize>,
    sender: mpsc::Sender<String>,
    notes: mpsc::Receiver<String>,
}

impl Family {
    fn new(children: &[(&'static str, Restart)]) -> Self {
        let (sender, notes) = mpsc::channel(1024);
        let mut family = Self {
            children: Vec::new(),
            cells: Arc::default(),
            refusals: Arc::default(),
            failures: Arc::default(),
            sender,
            notes,
        };
        for &(id, restart) in children {
            family.children.push(family.child(id, restart));
        }
        family
    }

    /// Children that are all permanent.
    fn permanent(ids: &[&'static str]) -> Self {
        Self::new(&ids.iter().map(|&id| (id, Restart::Permanent)).collect::<Vec<_>>())
    }

    fn child(&self, id: &'static str, restart: Restart) -> ChildSpec {
        let (cells, refusals, notes) = (Arc::clone(&self.cells), Arc::clone(&self.refusals), self.sender.clone());
        ChildSpec {
            id: id.to_owned(),
            restart,
            shutdown: Duration::from_secs(5),
            start: Arc::new(move |supervisor| {
                let (cells, refusals, notes) = (Arc::clone(&cells), Arc::clone(&refusals), notes.clone());
                Box::pin(async move {
                    if let Some(left) = refusals.lock().unwrap().get_mut(id).filter(|left| **left > 0) {
                        *left -= 1;
                        notes.try_send(format!("refuse {id}")).expect("room for notes");
                        return Err(ractor::SpawnErr::StartupFailed("told to refuse".into()));
                    }
                    let (actor, _) = Child::spawn_linked(None, Child { id, notes }, (), supervisor).await?;
                    cells.lock().unwrap().insert(id, actor.clone());
                    Ok(actor.get_cell())
                })
            }),
        }
    }

    /// The next `count` starts of `id` fail.
    fn refuse(&self, id: &'static str, count: usize) {
        self.refusals.lock().unwrap().insert(id, count);
    }

    fn plan(&self, strategy: Strategy, intensity: u32, period: Duration) -> Plan {
        let failures = Arc::clone(&self.failures);
        Plan {
            clock: clock(),
            children: self.children.clone(),
            strategy,
            intensity: Intensity { intensity, period },
            on_failure: Box::new(move |_, _| {
                failures.fetch_add(1, Ordering::SeqCst);
            }),
        }
    }

    /// Starts them under a supervisor and forgets the notes of that.
    async fn start(&mut self, strategy: Strategy, intensity: u32) -> ActorRef<SupervisorMsg> {
        self.start_for(strategy, intensity, LONG).await
    }

    async fn start_for(&mut self, strategy: Strategy, intensity: u32, period: Duration) -> ActorRef<SupervisorMsg> {
        let plan = self.plan(strategy, intensity, period);
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, plan).await.expect("starts");
        self.so_far();
        supervisor
    }

    fn actor(&self, id: &str) -> ActorRef<Order> {
        self.cells.lock().unwrap()[id].clone()
    }

    /// Gives an order that ends the child, and waits until its supervisor can know.
    async fn end(&self, id: &str, order: Order) {
        let actor = self.actor(id);
        match order {
            Order::Kill => actor.kill(),
            order => actor.send_message(order).expect("runs"),
        }
        soon(actor.wait(None)).await.expect("ends");
    }

    /// Waits for that many notes.
    async fn next(&mut self, count: usize) -> Vec<String> {
        let mut notes = Vec::new();
        while notes.len() < count {
            notes.push(soon(self.notes.recv()).await.expect("a note"));
        }
        notes
    }

    /// The notes that are there.
    fn so_far(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.notes.try_recv().ok()).collect()
    }

    fn failures(&self) -> usize {
        self.failures.load(Ordering::SeqCst)
    }
}

async fn running(supervisor: &ActorRef<SupervisorMsg>) -> Vec<String> {
    match soon(supervisor.call(SupervisorMsg::Running, None)).await {
        Ok(CallResult::Success(ids)) => ids,
        _ => panic!("the supervisor is gone"),
    }
}

/// Waits until what the supervisor has heard of so far is dealt with, as far as it is done without a back-off: an event
/// goes before the first question, the start that it leads to before the second.
async fn settled(supervisor: &ActorRef<SupervisorMsg>) -> Vec<String> {
    running(supervisor).await;
    running(supervisor).await
}

async fn shut_down(supervisor: &ActorRef<SupervisorMsg>) {
    let answer = soon(supervisor.call(SupervisorMsg::Shutdown, None)).await;
    assert!(matches!(answer, Ok(CallResult::Success(()))), "answers a shutdown");
    soon(supervisor.wait(None)).await.expect("ends");
}
