//! What an actor has in hand, and what waits for it, while it goes down with another one.

use super::*;
use crate::integration::tests::gatekeeper::Gatekeeper;

/// Actors of which `actor` has a message in hand, and another one waits for it.
async fn in_hand(language: In, actor: &'static str) -> (Arc<World>, Arc<Gatekeeper>) {
    let (world, gate) = World::gated().await;
    let world = Arc::new(world);
    language.serve(&world, &five("1.0.0", ("one_for_all", "permanent"), 5)).await;
    assert_eq!(said(&world, actor, "add").await, "1");
    (world, gate)
}

fn asking(world: &Arc<World>, actor: &'static str, message: &'static str) -> tokio::task::JoinHandle<String> {
    let world = Arc::clone(world);
    tokio::spawn(async move { said(&world, actor, message).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_hand_ends_with_the_old_state_and_the_next_one_begins_with_a_new_one() {
    for &language in LANGUAGES {
        let (world, gate) = in_hand(language, "a").await;
        let last = asking(&world, "a", "wait");
        gate.reached(1).await;
        for _ in 0..2 {
            world.call("shop", "shop.send", asks("a", "add")).await.expect("it waits");
        }
        assert_eq!(said(&world, "b", "fail").await, "failed");
        gate.open(1);
        assert_eq!(last.await.expect("no panic"), "1", "{language:?}: the old one");
        assert_eq!(said(&world, "a", "get").await, "2", "{language:?}: both that waited, on a new one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_actor_ends_with_the_message_in_hand_and_what_waits_for_it_is_told() {
    for &language in LANGUAGES {
        let (world, gate) = in_hand(language, "d").await;
        let last = asking(&world, "d", "wait");
        gate.reached(1).await;
        let waits = asking(&world, "d", "get");
        until(|| world.router.load().owner("shop").expect("it serves").in_flight() >= 3).await;
        assert_eq!(said(&world, "b", "fail").await, "failed");
        assert_eq!(waits.await.expect("no panic"), "not-found", "{language:?}");
        gate.open(1);
        assert_eq!(last.await.expect("no panic"), "1", "{language:?}");
        assert_eq!(said(&world, "d", "get").await, "not-found", "{language:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_goes_on_to_whoever_waits_for_it_is_one_failure() {
    for &language in LANGUAGES {
        let world = World::new().await;
        let instance = language.serve(&world, &five("1.0.0", ("one_for_all", "permanent"), 1)).await;
        assert_eq!(said(&world, "c", "add").await, "1");
        let mut events = world.events.subscribe();
        // what b throws is thrown on by a, which has gone down with b by then
        assert_eq!(said(&world, "a", "ask b").await, "failed");
        until(|| instance.in_flight() == 0).await;
        assert_eq!(told(&mut events), ["b handle restarted [a c]", "a handle restarted []"], "{language:?}");
        assert_eq!(all(&world).await, "anew anew anew anew anew");
        assert_eq!(said(&world, "b", "fail").await, "failed");
        assert_eq!(told(&mut events), ["b handle held [a c d e]"], "{language:?}: the second one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stops_while_it_goes_down_with_another_one_is_up_again() {
    let (world, gate) = in_hand(In::Lua, "c").await;
    let script =
        LUA.replace("return { reply = state.count, state = { count = 9 } }", "return { stop = true, reply = 7 }");
    world.serve(&five("1.0.1", ("one_for_all", "permanent"), 5), &script).await;
    let last = asking(&world, "c", "wait");
    gate.reached(1).await;
    assert_eq!(said(&world, "b", "fail").await, "failed");
    gate.open(1);
    assert_eq!(last.await.expect("no panic"), "7");
    assert_eq!(said(&world, "c", "get").await, "0");
}
