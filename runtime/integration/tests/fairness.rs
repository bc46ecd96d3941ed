//! Modules that keep the processors busy share them as modules, whatever the number of their threads.

use std::sync::Arc;
use std::time::Duration;

use replug_scripts::{Handler, Value};

use super::World;
use super::gatekeeper::until;
use crate::actors::router::Instance;

fn spin(instance: &Arc<Instance>, calls: usize) {
    for _ in 0..calls {
        let instance = Arc::clone(instance);
        tokio::spawn(async move {
            let context = instance.context("test", Duration::from_secs(600));
            let handler = Handler::Service(format!("{}.spin", instance.key.id).into());
            instance.call(handler, vec![Value::Null], context).await
        });
    }
}

async fn serve(world: &World, id: &str, workers: usize) -> Arc<Instance> {
    let manifest = format!(
        "id: {id}\nversion: 1.0.0\ncapabilities: [{{ id: {id} }}]\nruntime: {{ workers: {workers}, limits: {{ \
         ticks: 1000000000000, cpuTime: 600s, wallTime: 600s }} }}\n"
    );
    let script = format!("return {{ services = {{ ['{id}.spin'] = function() while true do end end }} }}");
    world.serve(&manifest, &script).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_with_many_threads_gets_no_more_than_one_with_a_single_thread() {
    let world = World::new().await.on_processors(1);
    let (crowd, single) = (serve(&world, "crowd", 8).await, serve(&world, "single", 1).await);
    let used = |instance: &Arc<Instance>| instance.account().counts.cpu_time();

    spin(&crowd, 8);
    until(|| used(&crowd) > Duration::from_millis(200)).await;
    let before = used(&crowd);
    spin(&single, 1);
    until(|| used(&crowd) - before > Duration::from_millis(400)).await;
    let (crowd_used, single_used) = (used(&crowd) - before, used(&single));
    // as threads they would have shared eight to one
    assert!(crowd_used < single_used * 3, "{crowd_used:?} against {single_used:?}");

    // those that wait for a turn are stopped as well
    world.rig.stop(&crowd).await;
    world.rig.stop(&single).await;
}
