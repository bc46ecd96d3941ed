//! Whoever makes a swap waits until the states fit: the message in hand ends first, and no other comes before.

use std::time::Duration;

use super::failing::Failing;
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

/// How long a test waits for what happens at once, which is less than the time for which `upgrade` is tried.
const AT_ONCE: Duration = Duration::from_secs(2);

/// What VMs that rest have reserved, and no VM that runs: bytes.
const RESTING: u64 = 1 << 20;

/// Its `upgrade` of states of `from` asks the host first.
fn asking(from: &str) -> String {
    let upgrade = format!(
        "upgrade = function(state, from) if from == \"{from}\" then services.call(\"gate.pass\", 1) end \
         state.from = from return state end, actors ="
    );
    SCRIPT.replace("actors =", &upgrade)
}

/// A state of 1.0.0 that 2.0.0 is to take, whose `upgrade` meets errors of this kind so often.
async fn upgraded(kind: HostErrorKind, times: usize) -> (World, Arc<Failing>, Arc<Instance>) {
    let (world, host) = World::failing(kind, times).await;
    world.serve(&manifest("1.0.0", ""), SCRIPT).await;
    tried(&world, "counter", 1).await;
    let new = world.serve(&manifest("2.0.0", ""), &asking("1.0.0")).await;
    (world, host, new)
}

/// The kinds of errors that no waiting mends.
fn lasting() -> impl Iterator<Item = HostErrorKind> {
    use HostErrorKind::{Overloaded, Timeout};
    HostErrorKind::ALL.into_iter().filter(|kind| !matches!(kind, Overloaded | Timeout))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_meets_what_no_waiting_mends_is_a_misfit_at_its_first_try() {
    for kind in lasting() {
        let (world, host, new) = upgraded(kind, usize::MAX).await;
        let fitted = tokio::time::timeout(AT_ONCE, world.router.fit(&new.key)).await.expect("at once");
        let [fault] = &*fitted.faults else { panic!("{kind:?}: {fitted:?}") };
        assert!(
            fault.starts_with("actor counter: upgrade from 1.0.0: ") && fault.contains("the host says no"),
            "{fault}"
        );
        assert_eq!(host.asked(), 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_meets_what_passes_is_tried_again_until_it_has() {
    for kind in [HostErrorKind::Overloaded, HostErrorKind::Timeout] {
        let (world, host, new) = upgraded(kind, 2).await;
        let fitted = world.router.fit(&new.key).await;
        assert_eq!((fitted.lost, fitted.faults, host.asked()), (0, Vec::new(), 3), "{kind:?}");
        let state = get(&world).await;
        assert_eq!((of_state(&state, "sum"), text(&state, "version")), (Some(1), "2.0.0"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_should_pass_and_does_not_is_a_misfit_after_a_while_with_its_reason() {
    let (world, host, new) = upgraded(HostErrorKind::Overloaded, usize::MAX).await;
    let fitted = world.router.fit(&new.key).await;
    let [fault] = &*fitted.faults else { panic!("{fitted:?}") };
    assert!(fault.ends_with("the host says no; it was tried for 3 s") && host.asked() > 1, "{fault}");
    // the same where nobody waits but for a message: who asks hears of it, and what is sent waits until the state fits
    let mut events = world.events.subscribe();
    world.call("shop", "shop.send", asks("counter", 2)).await.expect("it waits");
    let told = async {
        loop {
            if let Event::ActorFailed { next, reason, .. } = &*events.recv().await.expect("an event") {
                return (*next, reason.clone());
            }
        }
    };
    let (next, reason) = tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told");
    assert!(next == "state kept" && reason.contains("the host says no"), "{next}: {reason}");
    host.goes_well();
    let handled = r#"replug_deliveries_total{kind="actor",module="shop",outcome="handled",version="2.0.0"} 1"#;
    until(|| world.rig.metrics.render().contains(handled)).await;
    assert_eq!(of_state(&get(&world).await, "sum"), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_way_back_the_state_of_before_the_swap_comes_before_any_other_try() {
    for kind in HostErrorKind::ALL {
        let (world, host) = World::failing(kind, usize::MAX).await;
        let old = world.serve(&manifest("1.0.0", ""), &asking("2.0.0")).await;
        tried(&world, "counter", 1).await;
        let new = world.serve(&manifest("2.0.0", ""), SCRIPT).await;
        assert_eq!(world.router.fit(&new.key).await.faults, Vec::<String>::new());
        tried(&world, "counter", 2).await;
        world.publish(&old).await;
        let fitted = tokio::time::timeout(AT_ONCE, world.router.fit(&old.key)).await.expect("at once");
        assert_eq!((fitted.lost, fitted.faults, host.asked()), (1, Vec::new(), 1), "{kind:?}");
        assert_eq!(of_state(&get(&world).await, "sum"), Some(1), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_larger_than_all_room_is_a_misfit_at_once_and_the_fault_of_an_init() {
    let with_quota = |version: &str| {
        format!(
            "id: shop\nversion: {version}\ncapabilities: [{{ id: shop }}]\nruntime: {{ workers: 1, limits: {{ memory: 16MiB }}, \
             supervision: {{ intensity: 0, period: 1h }}, actors: [{{ id: counter }}] }}\n\
             permissions: {{ resources: {{ memory: {{ maxHeapSize: 16MiB }} }} }}\n"
        )
    };
    let script = |state: &str, more: &str| {
        format!(
            "local function large() return table.create(114, (\"x\"):rep(65536)) end\n\
             return {{ services = {{ [\"shop.try\"] = function() return pcall(actors.call, \"counter\", 1) end }}, {more} \
             actors = {{ counter = {{ init = function() return {state} end, handle = function() end }} }} }}"
        )
    };
    let world = World::new().await;
    let old = world.serve(&with_quota("1.0.0"), &script("1", "")).await;
    world.call("shop", "shop.try", Value::Null).await.expect("it begins");
    let new = world.serve(&with_quota("2.0.0"), &script("1", "upgrade = function() return large() end,")).await;
    // its VMs would leave less room to the one that makes the state
    world.rig.retire(&old).await;
    let gone = Arc::downgrade(&old);
    drop(old);
    until(|| gone.strong_count() == 0 && new.account().heap.reserved() < RESTING).await;
    let fits = async {
        loop {
            let fitted = world.router.fit(&new.key).await;
            let [fault] = &*fitted.faults else { panic!("{fitted:?}") };
            // until the workers of before are gone too its VM may be smaller than such a state
            if !fault.contains("cannot leave the script") {
                return fault.clone();
            }
        }
    };
    let fault = tokio::time::timeout(AT_ONCE, fits).await.expect("at once");
    assert!(fault.contains("no room for") && !fault.contains("tried"), "{fault}");

    let world = World::new().await;
    let warmup = "warmup = function() actors.send(\"counter\", 1) end,";
    let instance = world.start(&with_quota("1.0.0"), &script("large()", warmup)).await;
    let call = instance.context("warmup", Duration::from_secs(5));
    instance.call(replug_scripts::Handler::Warmup, Vec::new(), call).await.expect("it warms up");
    // no request runs meanwhile
    until(|| instance.account().heap.reserved() < RESTING).await;
    world.publish(&instance).await;
    until(|| instance.gave_up().is_some()).await;
    let fault = instance.gave_up().expect("a fault of its own");
    assert!(fault.contains("its first state is not kept: no room for"), "{fault}");
}
