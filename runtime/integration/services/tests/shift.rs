//! Calls while two versions of the provider share its traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{Handler, Principal, Value};

use super::circle;
use crate::actors::router::{BUCKETS, Instance};
use crate::integration::ServiceCalls;
use crate::integration::host::HostServices;
use crate::integration::tests::World;
use crate::sandbox::ports::{Services, Suppliers};

/// Version `number` of `shop` with these methods, each of which answers the number.
async fn version(world: &World, number: u32, sticky_by: &str, capability: &str, methods: &[&str]) -> Arc<Instance> {
    let manifest = format!(
        "id: shop\nversion: {number}.0.0\ncapabilities: [{{ id: {capability} }}]\n\
         lifecycle: {{ activation: {{ stickyBy: {sticky_by} }} }}"
    );
    let bodies = methods.iter().map(|method| format!("[\"{capability}.{method}\"] = function() return {number} end,"));
    world.start(&manifest, &format!("return {{ services = {{ {} }} }}", bodies.collect::<String>())).await
}

/// Calls as a module that depends on the shop does.
async fn call(world: &World, service: (&str, &str), request: &str, subject: Option<&str>) -> Option<i64> {
    let calls = ServiceCalls::new(Arc::clone(&world.router), HostServices::default(), world.auth.clone());
    let mut context = circle(Instant::now() + Duration::from_secs(5));
    (context.module, context.request_id) = ("caller".into(), request.into());
    context.principal =
        subject.map(|subject| Arc::new(Principal { subject: subject.to_owned(), permissions: Vec::new() }));
    let suppliers = Suppliers { modules: vec![("shop".into(), None)], ..Suppliers::default() };
    let answer = calls.call(&suppliers, service.0, service.1, Value::Null, &context).await;
    answer.ok().and_then(|value| value.as_i64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_shared_by_bucket_and_what_one_version_exports_goes_to_it() {
    let world = World::new().await;
    let baseline = version(&world, 1, "none", "shop", &["both", "old"]).await;
    let candidate = version(&world, 2, "none", "shop", &["both", "new"]).await;
    let at = async |bucket: u16, method: &str| {
        let handler = Handler::Service(format!("shop.{method}").into());
        let call = circle(Instant::now() + Duration::from_secs(5));
        world.router.call("shop", bucket, &handler, vec![Value::Null], call).await.ok().and_then(|value| value.as_i64())
    };
    for (weight, below, above, old, new) in [
        (0, Some(1), Some(1), Some(1), None),
        (40, Some(2), Some(1), Some(1), Some(2)),
        (100, Some(2), Some(2), None, Some(2)),
    ] {
        world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
        let edge = (u16::from(weight) * 100).min(BUCKETS - 1);
        assert_eq!((at(edge.saturating_sub(1), "both").await, at(edge, "both").await), (below, above), "at {weight}");
        for bucket in [0, BUCKETS - 1] {
            assert_eq!((at(bucket, "old").await, at(bucket, "new").await), (old, new), "at {weight}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_for_one_person_or_within_one_request_meet_one_version() {
    let world = World::new().await;
    for (sticky_by, by_person) in [("principal", true), ("none", false), ("address", false)] {
        let baseline = version(&world, 1, sticky_by, "shop", &["both"]).await;
        let candidate = version(&world, 2, sticky_by, "shop", &["both"]).await;
        world.shift(&baseline, &candidate, 50).await.expect("no route is taken");
        let mut of_request = Vec::new();
        let mut of_person = Vec::new();
        for number in 0..24 {
            let name = format!("n-{number}");
            let first = call(&world, ("shop", "both"), &name, None).await;
            assert_eq!(call(&world, ("shop", "both"), &name, None).await, first, "within one request");
            of_request.push(first);
            of_person.push(call(&world, ("shop", "both"), &name, Some("ada")).await);
        }
        assert!([Some(1), Some(2)].iter().all(|one| of_request.contains(one)), "{of_request:?}");
        let alike = of_person.iter().all(|one| *one == of_person[0]);
        assert_eq!(alike, by_person, "{sticky_by}: {of_person:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_that_only_a_reached_version_provides_is_found() {
    let world = World::new().await;
    let baseline = version(&world, 1, "none", "shop", &["both"]).await;
    let candidate = version(&world, 2, "none", "stock", &["count"]).await;
    for (weight, old, new) in [(0, Some(1), None), (1, Some(1), Some(2)), (99, Some(1), Some(2)), (100, None, Some(2))]
    {
        world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
        for request in ["a", "b", "c", "d"] {
            let found = (
                call(&world, ("shop", "both"), request, None).await,
                call(&world, ("stock", "count"), request, None).await,
            );
            assert_eq!(found, (old, new), "at {weight}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_counts_as_an_error_where_its_provider_failed() {
    let world = World::new().await;
    let instance = world.serve(super::PROVIDER.0, super::PROVIDER.1).await;
    let list = Value::List(vec![Value::Int(1), Value::Int(2)]);
    let table = [("math.sums.add", 0), ("math.sums.throw", 1), ("math.sums.refuse", 0), ("math.sums.problem", 0)];
    for (service, errors) in table {
        let before = instance.metrics.stats.sample();
        let _ = world.call("sums", service, list.clone()).await;
        let counted = instance.metrics.stats.sample().since(&before);
        assert_eq!((counted.requests(), counted.errors()), (1, errors), "{service}");
    }
    world.rig.close(&instance);
    let before = instance.metrics.stats.sample();
    assert!(world.call("sums", "math.sums.add", list).await.is_err(), "it takes no more calls");
    assert_eq!(instance.metrics.stats.sample().since(&before).requests(), 0);
    let told = world.rig.metrics.render();
    for (outcome, count) in [("answered", 3), ("failed", 1)] {
        let line = format!("replug_requests_total{{module=\"sums\",outcome=\"{outcome}\",version=\"1.0.0\"}} {count}");
        assert!(told.contains(&line), "{line} in {told}");
    }
    assert!(told.contains("replug_in_flight{module=\"sums\",version=\"1.0.0\"} 0"), "{told}");
}
