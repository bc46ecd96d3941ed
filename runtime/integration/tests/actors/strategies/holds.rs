//! Too many failures: who is held, and who hears of it.

use std::time::Duration;

use serde_json::Value as Json;

use super::*;
use crate::store::audit::Kind;

/// Calls `b` so often with something that fails, and gives what was told.
async fn fail(world: &World, message: &str, times: usize) -> Vec<String> {
    let mut events = world.events.subscribe();
    for _ in 0..times {
        said(world, "b", message).await;
    }
    told(&mut events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_fail_hold_those_that_go_with_the_actor_and_nobody_gives_up() {
    for &language in LANGUAGES {
        for (strategy, with, held, left) in [
            ("one_for_one", "", "b", "acde"),
            ("one_for_all", "a c d e", "abcde", ""),
            ("rest_for_one", "c d e", "bcde", "a"),
        ] {
            let case = format!("{language:?}, {strategy}");
            let world = World::new().await;
            let instance = language.serve(&world, &five("1.0.0", (strategy, "permanent"), 2)).await;
            // one of them has begun, and the others have not
            assert_eq!(said(&world, "c", "add").await, "1");
            let seen = fail(&world, "fail", 3).await;
            assert_eq!(seen.last(), Some(&format!("b handle held [{with}]")), "{case}: {seen:?}");
            assert_eq!((seen.len(), instance.gave_up()), (3, None), "{case}: {seen:?}");
            for actor in held.chars() {
                assert_eq!(said(&world, &actor.to_string(), "get").await, "overloaded", "{case}: {actor}");
            }
            for actor in left.chars() {
                let count = if actor == 'c' { "1" } else { "0" };
                assert_eq!(said(&world, &actor.to_string(), "get").await, count, "{case}: {actor}");
            }
            // what is sent waits, and another version need not
            for actor in held.chars() {
                world.call("shop", "shop.send", asks(&actor.to_string(), "add")).await.expect("it waits");
            }
            language.serve(&world, &five("1.0.1", (strategy, "permanent"), 2)).await;
            for actor in held.chars() {
                assert_eq!(said(&world, &actor.to_string(), "get").await, "1", "{case}: {actor}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failures_of_all_actors_of_a_slot_are_counted_together_and_those_of_temporary_ones_not_at_all() {
    let world = World::new().await;
    In::Lua.serve(&world, &five("1.0.0", ("one_for_one", "permanent"), 3)).await;
    let mut events = world.events.subscribe();
    for actor in ["a", "d", "b", "c"] {
        assert_eq!(said(&world, actor, "fail").await, "failed");
    }
    let three = ["a handle restarted []", "d handle ended []", "b handle restarted []", "c handle restarted []"];
    assert_eq!(told(&mut events), three);
    assert_eq!(said(&world, "a", "stop").await, "bye");
    assert_eq!(told(&mut events), ["a stop held []"], "a permanent actor that stops is counted");
    assert_eq!(said(&world, "a", "get").await, "overloaded");
    assert_eq!(said(&world, "b", "add").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_fails_has_the_household_give_up_and_the_workers_of_requests_go_on() {
    for &language in LANGUAGES {
        let world = World::new().await;
        let instance = language.serve(&world, &five("1.0.0", ("rest_for_one", "permanent"), 2)).await;
        assert_eq!(said(&world, "a", "add").await, "1");
        world.call("shop", "shop.bad", "b".into()).await.expect("it is noted");
        let seen = fail(&world, "add", 3).await;
        let [first, second, held, gave_up] = &*seen else { panic!("{seen:?}") };
        assert_eq!([&**first, &**second], ["b init restarted []"; 2], "nobody else had begun");
        assert_eq!(held, "b init held [c d e]");
        assert!(gave_up.starts_with("actor b failed (init: ") && gave_up.contains("cannot begin"), "{gave_up}");
        assert!(gave_up.ends_with("after 2 restarts within 3600s"), "{gave_up}");
        assert_eq!(instance.gave_up().as_ref(), Some(gave_up));
        assert_eq!((instance.metrics.restarts.get(), &*said(&world, "a", "add").await), (0, "2"));
        // one that begins after the pause does so with a new count
        world.call("shop", "shop.bad", "nobody".into()).await.expect("it is noted");
        let late = tokio::time::timeout(Duration::from_secs(20), async {
            while said(&world, "b", "add").await == "overloaded" {
                tokio::task::yield_now().await;
            }
        });
        late.await.expect("it is held for a second");
        assert_eq!((said(&world, "b", "get").await, instance.gave_up()), ("1".to_owned(), None), "{language:?}");
        world.supplies.permissions.close().await;
        let rows = world.audit.read(1, 100).await.expect("it can be read");
        let entries = rows.iter().map(|row| row.entry().expect("no damage"));
        let entries = entries.filter(|entry| entry.kind == Kind::LimitExceeded);
        let entries: Vec<Json> = entries.map(|entry| serde_json::from_str(entry.data.get()).expect("JSON")).collect();
        let [entry] = &*entries else { panic!("{entries:?}") };
        assert_eq!((&entry["limit"], &entry["value"]), (&"runtime.supervision.intensity".into(), &2.into()));
        assert!(entry["reason"].as_str().is_some_and(|reason| reason.starts_with("actor b failed")), "{entry}");
    }
}
