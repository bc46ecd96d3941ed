//! A provisional version is returned from while the activation of a newer one is at any of its places.

use super::*;

/// Whether the newer version is well, or is taken back as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newer {
    Well,
    Unwell,
}

async fn met(newer: Newer, kind: Kind, by: ActivationStrategy, place: Place) {
    let cell = Cell { back: newer == Newer::Unwell, ..Cell::new(kind, place, None) };
    let (world, go) = (Arc::new(World::new().await), Arc::new(Notify::new()));
    world.set_up(&cell).await;
    world.provisional(&cell.label(2)).await;
    world.engine.shared.probe.is_about(&cell.id, "3.0.0");
    let of_newer = usize::from(newer == Newer::Unwell && place.0 == "commit");
    if newer == Newer::Unwell {
        let last = if by == ActivationStrategy::Gradual { "verify" } else { "activate" };
        world.arm(&cell, (last, When::After), 0, Act::Error);
    }
    if place.0 == "health" {
        let freeze = Box::new(Act::Freeze(Arc::clone(&go)));
        world.arm(&cell, ("verify", When::Before), 0, Act::Then("health", freeze));
    } else {
        world.arm(&cell, place, of_newer, Act::Freeze(Arc::clone(&go)));
    }
    let mut events = world.events.subscribe();
    let older = world.router.snapshot().instance(&cell.id, 0).unwrap().key.clone();
    let coming = tokio::spawn({
        let (engine, id, version) = (world.engine.clone(), cell.id.clone(), Version::new(3, 0, 0));
        async move { engine.activate(&id, &version, Some(by)).await }
    });
    let probe = Arc::clone(&world.engine.shared.probe);
    let arrives = async {
        while !world.met(&cell, place) {
            probe.reached.notified().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), arrives)
        .await
        .unwrap_or_else(|_| panic!("{newer:?} {cell}: nothing comes there"));
    world.events.emit(Event::CriticalError { instance: older.clone(), reason: "its workers die".to_owned() });
    // it goes on once the older one is on its way back, or lost its place before; within a commit neither can be
    let on_its_way = async {
        loop {
            if let Event::StateChanged { instance, to: "rolling-back", .. } = &*events.recv().await.unwrap()
                && *instance == older
            {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(100), on_its_way).await;
    probe.disarm(&cell.id);
    go.notify_waiters();
    go.notify_one();
    let told = tokio::time::timeout(Duration::from_secs(20), coming).await;
    let told = told.unwrap_or_else(|_| panic!("{newer:?} {cell}: it never ends")).unwrap();
    let report = told.unwrap_or_else(|error| panic!("{newer:?} {cell}: {error}"));
    // what waits behind it has its turn before this is refused
    let refused = world.engine.activate(&cell.id, &Version::new(9, 9, 9), None).await;
    assert!(refused.is_err(), "{cell}");
    let serving = world.is_one(&cell).await;
    if report.outcome.serves() {
        assert_eq!(serving.as_deref(), Some("3.0.0"), "{newer:?} {cell}: {report:?}");
        assert_eq!(world.tables(&cell.id), kind.migrations(), "{newer:?} {cell}: it needs them: {report:?}");
        world.engine.rollback(&cell.id, None).await.unwrap().ensure_serves().unwrap();
    } else {
        assert_eq!(report.outcome, Outcome::RolledBack, "{newer:?} {cell}: {report:?}");
        assert!(matches!(serving.as_deref(), Some("1.0.0" | "2.0.0")), "{newer:?} {cell}: {serving:?}");
        if serving.as_deref() == Some("2.0.0") {
            world.engine.rollback(&cell.id, None).await.unwrap().ensure_serves().unwrap();
        }
    }
    assert_eq!(world.is_one(&cell).await.as_deref(), Some("1.0.0"), "{newer:?} {cell}");
    assert_eq!(world.tables(&cell.id), [""; 0], "{newer:?} {cell}: nothing of either is kept");
    world.goes_on(&cell).await;
    world.engine.stop(Duration::from_secs(5)).await;
}

async fn each(newer: Newer, kind: Kind, by: ActivationStrategy) {
    let places = match newer {
        Newer::Well => super::forward::places(Kind { strategy: by, ..kind }),
        Newer::Unwell => super::back::places(kind),
    };
    // 2.0.0 has made the table, and 3.0.0 finds it
    let places = places.into_iter().filter(|place| !matches!(*place, ("migrate" | "rollback", When::Inside)));
    let cells = places.map(|place| (format!("{newer:?}/{kind}/{by:?}/{place:?}"), met(newer, kind, by, place)));
    each_of(cells, 4).await;
}

const GRADUAL: Kind = Kind::of(ActivationStrategy::Gradual);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_meets_the_end_of_its_own_activation() {
    for window in ["1h", "0"] {
        let (world, go) = (Arc::new(World::new().await), Arc::new(Notify::new()));
        let cell = Cell::new(Kind::of(ActivationStrategy::Gradual), ("close", When::Inside), None);
        world.set_up(&cell).await;
        let more = format!("{QUICK}    rollbackTriggers: [criticalError]\n    confirmWindow: {window}\n");
        world.register(&cell.id, "4.0.0", &more).await;
        world.arm(&cell, cell.place, 0, Act::Freeze(Arc::clone(&go)));
        let mut events = world.events.subscribe();
        let coming = tokio::spawn({
            let (engine, id, version) = (world.engine.clone(), cell.id.clone(), Version::new(4, 0, 0));
            async move { engine.activate(&id, &version, None).await }
        });
        let probe = Arc::clone(&world.engine.shared.probe);
        tokio::time::timeout(Duration::from_secs(20), probe.reached.notified()).await.expect("it ends");
        world.trips_at(&cell);
        World::until(&mut events, |event| super::super::confirming::state_is(event, "4.0.0", State::RollingBack)).await;
        go.notify_one();
        assert_eq!(coming.await.unwrap().unwrap().outcome, Outcome::Provisional, "it was, until it was returned from");
        World::until(&mut events, |event| super::super::confirming::state_is(event, "4.0.0", State::Failed)).await;
        assert_eq!(world.is_one(&cell).await.as_deref(), Some("1.0.0"));
        let entry = world.engine.history(&cell.id, 1).await.unwrap().remove(0);
        assert_eq!((entry.version.as_str(), entry.outcome), ("4.0.0", Some(Outcome::RolledBack)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_meets_a_gradual_activation_anywhere() {
    each(Newer::Well, GRADUAL, ActivationStrategy::Gradual).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_meets_an_instant_activation_anywhere() {
    each(Newer::Well, GRADUAL, ActivationStrategy::Instant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_meets_the_way_back_of_a_newer_version_anywhere() {
    each(Newer::Unwell, GRADUAL, ActivationStrategy::Gradual).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_meets_the_way_back_of_an_instant_activation_anywhere() {
    each(Newer::Unwell, GRADUAL, ActivationStrategy::Instant).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_whose_traffic_cannot_be_given_back_at_once_gives_it_back_in_its_turn() {
    for wrong in [Wrong::Error, Wrong::Panic] {
        let cell = Cell::new(GRADUAL, ("commit", When::Before), wrong);
        let (world, go) = (Arc::new(World::new().await), Arc::new(Notify::new()));
        world.set_up(&cell).await;
        world.provisional(&cell.label(2)).await;
        world.arm(&cell, ("prepare", When::Before), 0, Act::Freeze(Arc::clone(&go)));
        let coming = tokio::spawn({
            let (engine, id, version) = (world.engine.clone(), cell.id.clone(), Version::new(3, 0, 0));
            async move { engine.activate(&id, &version, None).await }
        });
        let probe = Arc::clone(&world.engine.shared.probe);
        tokio::time::timeout(Duration::from_secs(20), probe.reached.notified()).await.expect("it comes there");
        world.arm(&cell, cell.place, 0, wrong.act(cell.place.1, TIME));
        world.trips_at(&cell);
        let refused = async {
            while !world.met(&cell, cell.place) {
                probe.reached.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), refused).await.expect("it is to be given back");
        go.notify_one();
        let told = tokio::time::timeout(Duration::from_secs(20), coming).await.expect("it ends").unwrap();
        assert!(!told.is_ok_and(|report| report.serves()), "{cell}");
        let returned = async {
            while world.state(&cell.label(2)) != State::Failed {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), returned).await.unwrap_or_else(|_| panic!("{cell}: it stays"));
        assert_eq!(world.is_one(&cell).await.as_deref(), Some("1.0.0"), "{cell}");
        assert_eq!(world.entry(&cell).await.unwrap().outcome, Some(Outcome::RolledBack), "{cell}");
        world.goes_on(&cell).await;
        world.engine.stop(Duration::from_secs(5)).await;
    }
}
