//! Actors of scripts whose handlers panic, which no script can do.

use replug_scripts::{HostError, HostErrorKind};

use super::incidents::Book;
use super::*;
use crate::actors::router::{Router, Slot};
use crate::manifest::{ActorSpec, Restart, RestartStrategy};
use crate::sandbox::ports::Residence;
use crate::sandbox::quota::Account;

const ACTORS: [&str; 3] = ["first", "second", "third"];

/// A module of three actors that serves. The fake panics in each of their handlers.
struct Panicking {
    instance: Arc<Instance>,
    residence: Arc<dyn Residence>,
    events: broadcast::Receiver<Arc<Event>>,
    rig: Rig,
    /// The households are in the one, what they may use in the other.
    _kept: (Arc<Router>, Book),
}

fn spec(id: &str) -> ActorSpec {
    ActorSpec { id: id.to_owned(), restart: Restart::Permanent, mailbox: 10 }
}

impl Panicking {
    async fn new(strategy: RestartStrategy, intensity: u32) -> Self {
        let (rig, router, events) = (Rig::new().await, Arc::new(Router::default()), Events::default());
        let script = Script::with(&ACTORS.map(|id| Handler::ActorHandle(id.into())));
        let instance = rig
            .start(&script, |manifest| {
                manifest.runtime.actors = ACTORS.map(spec).to_vec();
                manifest.runtime.supervision.strategy = strategy;
                manifest.runtime.supervision.intensity = intensity;
            })
            .await;
        let slot = Slot::of(Arc::clone(&instance), Arc::new([]));
        router.store(router.with(&instance.key.id, Some(slot)).expect("it has no route"));
        let heard = events.subscribe();
        let residents = router.residents(events, Metrics::default(), tokio::runtime::Handle::current());
        let book = Book::new();
        let live = book.manager.open(&instance.key, &instance.manifest);
        let residence = residents.open(&live, Arc::<Account>::default());
        Self { instance, residence, events: heard, rig, _kept: (router, book) }
    }

    async fn call(&self, actor: &str) -> HostError {
        let context = self.instance.context("test", SOON);
        self.residence.call(&spec(actor), Value::Null, &context).await.expect_err("the fake has no actors")
    }

    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            told.push(match &*event {
                Event::ActorFailed { actor, cause, next, with, .. } => format!("{actor} {cause} {next} {with:?}"),
                Event::CriticalError { reason, .. } => reason.clone(),
                other => format!("{other:?}"),
            });
        }
        told
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_counts_towards_giving_up_and_takes_along_those_that_the_strategy_names() {
    let cases = [
        (RestartStrategy::OneForOne, "[]"),
        (RestartStrategy::OneForAll, r#"["first", "third"]"#),
        (RestartStrategy::RestForOne, r#"["third"]"#),
    ];
    for (strategy, with) in cases {
        let mut world = Panicking::new(strategy, 1).await;
        assert_eq!(world.call("second").await.kind, HostErrorKind::Failed);
        assert_eq!(world.told(), ["second panic restarted []"], "{strategy:?}: the others have not begun");
        assert_eq!(world.call("second").await.kind, HostErrorKind::Failed);
        let told = world.told();
        let [held, gave_up] = &*told else { panic!("{strategy:?}: {told:?}") };
        assert_eq!(*held, format!("second panic held {with}"), "{strategy:?}");
        assert!(gave_up.starts_with("actor second failed (") && gave_up.ends_with("after 1 restarts within 10s"));
        assert_eq!(world.call("second").await.kind, HostErrorKind::Overloaded, "{strategy:?}");
        world.rig.stop(&world.instance).await;
    }
}
