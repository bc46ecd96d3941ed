//! Versions that took over as one: what a request began with one side of the switch it ends there.

use std::sync::Arc;

use replug_scripts::Value;

use super::World;
use super::gatekeeper::Gatekeeper;
use crate::actors::router::{Companions, Instance, Slot};

/// `shop` of this number passes the gate and then asks its `price`, which is of the same number.
async fn pair(world: &World, number: u32) -> [Arc<Instance>; 2] {
    let price = format!("id: price\nversion: {number}.0.0\ncapabilities: [{{ id: price, version: {number}.0.0 }}]\n");
    let says = format!("return {{ services = {{ [\"price.of\"] = function() return {number} end }} }}");
    let shop = format!(
        "id: shop\nversion: {number}.0.0\ncapabilities: [{{ id: shop, requirements: [\"price@^{number}\"] }}]\n\
         runtime: {{ workers: 4, limits: {{ wallTime: 20s }} }}\n"
    );
    let asks = "return { services = { [\"shop.sell\"] = function(waits)
        if waits then services.call(\"gate.pass\", 1) end
        return services.call(\"price.of\", {})
    end } }";
    [world.start(&price, &says).await, world.start(&shop, asks).await]
}

/// Gives these the traffic, as one.
fn switch(world: &World, before: &[Arc<Instance>], after: &[Arc<Instance>]) {
    let slots = after.iter().map(|it| (Arc::clone(&it.key.id), Some(Slot::of(Arc::clone(it), Arc::new([])))));
    let gone = before.iter().filter(|old| after.iter().all(|new| new.key.id != old.key.id));
    let gone = gone.map(|it| (Arc::clone(&it.key.id), None));
    let companions = Some(Companions::of(before, after));
    world.router.store(world.router.with_all(slots.chain(gone), companions).expect("no route is taken"));
}

/// A call that waits at the gate, inside of what serves now.
async fn inside(world: &Arc<World>, gate: &Gatekeeper) -> tokio::task::JoinHandle<Value> {
    let other = Arc::clone(world);
    let call = tokio::spawn(async move { other.call("shop", "shop.sell", true.into()).await.expect("an answer") });
    gate.reached(1).await;
    call
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_began_before_a_switch_of_several_ends_with_the_versions_that_it_began_with() {
    let (world, gate) = World::gated().await;
    let world = Arc::new(world);
    let (one, two) = (pair(&world, 1).await, pair(&world, 2).await);
    switch(&world, &[], &one);
    let old = inside(&world, &gate).await;
    switch(&world, &one, &two);
    let new = inside(&world, &gate).await;
    assert_eq!(world.call("shop", "shop.sell", false.into()).await.expect("an answer"), Value::Int(2));
    gate.open(2);
    assert_eq!((old.await.expect("no panic"), new.await.expect("no panic")), (Value::Int(1), Value::Int(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_began_before_a_return_ends_with_what_was_returned_from_also_where_nothing_served_before() {
    for first in [false, true] {
        let (world, gate) = World::gated().await;
        let world = Arc::new(world);
        let (one, two) = (pair(&world, 1).await, pair(&world, 2).await);
        let before: &[Arc<Instance>] = if first { &[] } else { &one };
        switch(&world, &[], before);
        switch(&world, before, &two);
        let new = inside(&world, &gate).await;
        // a return makes no companions of its own
        let back = two.iter().map(|it| {
            let older = before.iter().find(|old| old.key.id == it.key.id);
            (Arc::clone(&it.key.id), older.map(|old| Slot::of(Arc::clone(old), Arc::new([]))))
        });
        world.router.store(world.router.with_all(back, None).expect("no route is taken"));
        gate.open(1);
        assert_eq!(new.await.expect("no panic"), Value::Int(2), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_traffic_calls_what_takes_traffic() {
    let (world, _) = World::gated().await;
    let (one, two) = (pair(&world, 1).await, pair(&world, 2).await);
    switch(&world, &[], &one);
    switch(&world, &one, &two);
    // a newer price that serves alone, while the one that it follows is still there
    let text = "id: price\nversion: 2.1.0\ncapabilities: [{ id: price, version: 2.1.0 }]\n";
    world.serve(text, "return { services = { [\"price.of\"] = function() return 21 end } }").await;
    assert_eq!(world.call("shop", "shop.sell", false.into()).await.expect("an answer"), Value::Int(21));
}
