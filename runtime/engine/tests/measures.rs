//! What the metrics say of activations and of returns.

use std::time::Instant;

use super::confirming::state_is;
use super::*;

impl World {
    /// The value of a series, 0 if there is none.
    fn measured(&self, name: &str, version: &str, outcome: Option<&str>) -> f64 {
        let outcome = outcome.map_or_else(String::new, |outcome| format!("outcome=\"{outcome}\","));
        let series = format!("{name}{{module=\"a\",{outcome}version=\"{version}\"}} ");
        let text = self.engine.shared.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, |value| value.parse().unwrap())
    }
}

#[tokio::test]
async fn a_return_is_no_activation() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", &format!("{QUICK}    rollbackTriggers: [criticalError]\n")).await;
    world.serves("a@1.0.0").await;
    for by_trigger in [false, true] {
        world.provisional("a@2.0.0").await;
        if by_trigger {
            let instance = world.router.snapshot().instance("a", 0).unwrap().key.clone();
            let mut events = world.events.subscribe();
            world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
            World::until(&mut events, |event| matches!(event, Event::ActivationEnded { .. })).await;
        } else {
            assert_eq!(world.engine.rollback("a", None).await.unwrap().version, "1.0.0");
        }
    }
    let activations = |version, outcome| world.measured("replug_activations_total", version, Some(outcome));
    assert_eq!((activations("1.0.0", "active"), activations("2.0.0", "provisional")), (1.0, 2.0));
    assert_eq!(activations("2.0.0", "rolled-back"), 0.0);
    assert_eq!(world.measured("replug_activation_seconds_count", "1.0.0", None), 1.0);
    assert_eq!(world.measured("replug_rollback_seconds_count", "2.0.0", None), 2.0);
    // what does not stand by any more is activated anew
    world.serves("a@2.0.0").await;
    assert_eq!(world.engine.rollback("a", None).await.unwrap().outcome, Outcome::Active);
    assert_eq!((activations("1.0.0", "active"), activations("2.0.0", "provisional")), (2.0, 3.0));
}

#[tokio::test]
async fn the_time_of_a_return_counts_its_wait_for_the_command_before_it() {
    let world = Arc::new(World::new().await);
    world.register("a", "1.0.0", "").await;
    // no shift, so it does not give way to the rollback
    world.register("a", "2.0.0", "lifecycle:\n  activation: { strategy: instant }\n").await;
    world.serves("a@1.0.0").await;
    let coming = world.paused(Place::Commit, "a@2.0.0").await;
    let mut back = Box::pin(world.engine.rollback("a", None));
    assert!(futures::poll!(&mut back).is_pending());
    let given = Instant::now();
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut back).await.is_err(), "it waits for its turn");
    let waited = given.elapsed();
    let mut events = world.events.subscribe();
    world.binding.go.notify_one();
    assert_eq!(back.await.unwrap().version, "1.0.0");
    World::until(&mut events, |event| state_is(event, "2.0.0", State::Inactive)).await;
    assert_eq!(coming.await.unwrap().unwrap().outcome, Outcome::Provisional);
    assert!(world.measured("replug_rollback_seconds_sum", "2.0.0", None) >= waited.as_secs_f64());
}
