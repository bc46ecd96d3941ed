//! Whoever makes a swap waits until the states fit: the message in hand ends first, and no other comes before.

use super::*;

const TAKES: &str = "upgrade = function(state, from) state.from = from return state end, actors =";
const REFUSES: &str = "upgrade = function() error(\"too old\") end, actors =";

/// A version whose messages may take long.
fn patient(version: &str) -> String {
    manifest(version, "").replace("cpuTime: 50ms", "wallTime: 20s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_fitted_once_the_message_in_hand_is_over_and_before_those_that_wait() {
    for (upgrade, fits) in [(TAKES, true), (REFUSES, false)] {
        let (world, gate) = World::gated().await;
        let world = Arc::new(world);
        let old = world.serve(&patient("1.0.0"), SCRIPT).await;
        tried(&world, "counter", 1).await;
        world.call("shop", "shop.send", asks("counter", "wait")).await.expect("it is taken");
        gate.reached(1).await;
        for number in 2..=3 {
            world.call("shop", "shop.send", asks("counter", number)).await.expect("it waits");
        }
        let new = world.serve(&patient("2.0.0"), &SCRIPT.replace("actors =", upgrade)).await;
        let mut fit = std::pin::pin!(world.router.fit(&new.key));
        assert!(futures::poll!(&mut fit).is_pending(), "a message is in hand");
        gate.open(1);
        let fitted = fit.await;
        if fits {
            assert_eq!((fitted.lost, fitted.faults), (0, Vec::new()));
            let state = get(&world).await;
            assert_eq!((of_state(&state, "sum"), of_state(&state, "wrong")), (Some(3), None));
            assert_eq!(text(state.get("state").expect("a state"), "from"), "1.0.0");
            continue;
        }
        let [fault] = &*fitted.faults else { panic!("{fitted:?}") };
        assert!(fault.starts_with("actor counter: upgrade from 1.0.0: ") && fault.contains("too old"), "{fault}");
        // what waited is handled by the version that takes it
        world.publish(&old).await;
        let back = world.router.fit(&old.key).await;
        assert_eq!((back.lost, back.faults), (0, Vec::new()));
        let state = get(&world).await;
        assert_eq!((of_state(&state, "sum"), text(&state, "version")), (Some(3), "1.0.0"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_state_or_is_not_declared_keeps_no_version_from_the_slot() {
    let world = World::new().await;
    shop(&world, "1.0.0").await;
    tried(&world, "once", 1).await;
    // the only state is that of an actor which the new version does not have
    let less = manifest("2.0.0", "").replace("{ id: once, restart: temporary, mailbox: 2 }, ", "");
    let new = world.serve(&less, &SCRIPT.replace("actors =", REFUSES)).await;
    let fitted = world.router.fit(&new.key).await;
    assert_eq!((fitted.lost, fitted.faults), (0, Vec::new()));
    // nor does a version that has lost its slot meanwhile, or a module that is gone
    shop(&world, "3.0.0").await;
    assert_eq!(world.router.fit(&new.key).await.faults, Vec::<String>::new());
    world.remove("shop");
    assert_eq!(world.router.fit(&new.key).await.faults, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_not_taken_back_counts_what_came_since() {
    let world = World::new().await;
    let refuses = "upgrade = function(state, from) if from == \"2.0.0\" then error(\"too new\") end end, actors =";
    let old = world.serve(&manifest("1.0.0", ""), &SCRIPT.replace("actors =", refuses)).await;
    tried(&world, "counter", 1).await;
    let new = world.serve(&manifest("2.0.0", ""), SCRIPT).await;
    assert_eq!(world.router.fit(&new.key).await.lost, 0);
    for message in 2..5 {
        tried(&world, "counter", message).await;
    }
    world.publish(&old).await;
    // a message may come before whoever made the swap asks: what it lost is counted all the same
    assert_eq!(of_state(&get(&world).await, "sum"), Some(1));
    let fitted = world.router.fit(&old.key).await;
    assert_eq!((fitted.lost, fitted.faults), (3, Vec::new()));
}
