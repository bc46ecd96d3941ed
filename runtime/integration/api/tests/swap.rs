//! Requests while versions change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use futures::FutureExt;
use http::Request;
use tokio::sync::oneshot;

use super::{Answer, Site};

fn version(number: u32) -> (String, String) {
    let manifest = format!("id: shop\nversion: {number}.0.0\napis: [{{ path: /shop, methods: [GET] }}]");
    (manifest, format!("return {{ apis = {{ [\"GET /shop\"] = function() return {{ body = \"{number}\" }} end }} }}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_versions_change() {
    let site = Arc::new(Site::empty().await);
    let (manifest, script) = version(1);
    let mut present = site.world.serve(&manifest, &script).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (site, stop) = (Arc::clone(&site), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut served = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer = site.get("/shop", &[]).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    assert_eq!(answer.module(), Some(&*format!("shop@{}.0.0", answer.body)));
                    served += 1;
                }
                served
            })
        })
        .collect();
    for number in 2..8 {
        let (manifest, script) = version(number);
        let next = site.world.serve(&manifest, &script).await;
        site.world.rig.retire(&present).await;
        present = next;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.expect("no request failed") > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_only_closes_is_overloaded_and_named() {
    let site = Site::empty().await;
    let (manifest, script) = version(1);
    let instance = site.world.serve(&manifest, &script).await;
    site.world.rig.close(&instance);
    let answer = site.get("/shop", &[]).await;
    assert_eq!((answer.status, answer.module(), &*answer.problem()), (503, Some("shop@1.0.0"), "overloaded"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// A request whose body arrives only after `meanwhile`, which finds the first version looked up.
async fn across(site: &Site, meanwhile: impl AsyncFnOnce()) -> Answer {
    let (arrive, arrived) = oneshot::channel::<Vec<u8>>();
    let (asked, reading) = oneshot::channel::<()>();
    let chunk = async move {
        let _ = asked.send(());
        arrived.await.map_err(std::io::Error::other)
    };
    let request = Request::post("/shop").body(Body::from_stream(chunk.into_stream())).expect("a request");
    let change = async {
        reading.await.expect("the body is asked for");
        meanwhile().await;
        arrive.send(b"hi".to_vec()).expect("the body is waited for");
    };
    futures::join!(site.request(request), change).0
}

async fn shop(site: &Site, number: u32, permissions: &str) -> Arc<crate::actors::router::Instance> {
    let manifest = format!(
        "id: shop\nversion: {number}.0.0\napis: [{{ path: /shop, methods: [POST], permissions: [{permissions}] }}]\n\
         config: {{ permissions: [shop.buy] }}"
    );
    let script = format!(
        "return {{ apis = {{ [\"POST /shop\"] = function(req) return {{ body = req.body .. \"{number}\" }} end }} }}"
    );
    site.world.serve(&manifest, &script).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_meets_a_closed_version_goes_to_the_next_one_whole() {
    let site = Site::empty().await;
    let first = shop(&site, 1, "").await;
    let answer = across(&site, async || {
        shop(&site, 2, "").await;
        site.world.rig.retire(&first).await;
    })
    .await;
    assert_eq!((answer.status, answer.module(), &*answer.body), (200, Some("shop@2.0.0"), "hi2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_version_may_want_more_of_whoever_asks() {
    let site = Site::empty().await;
    let first = shop(&site, 1, "").await;
    let answer = across(&site, async || {
        shop(&site, 2, "shop.buy").await;
        site.world.rig.retire(&first).await;
    })
    .await;
    assert_eq!((answer.status, answer.module(), &*answer.problem()), (401, None, "unauthenticated"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_went_away_is_no_module() {
    let site = Site::empty().await;
    let first = shop(&site, 1, "").await;
    let answer = across(&site, async || {
        site.world.remove("shop");
        site.world.rig.retire(&first).await;
    })
    .await;
    assert_eq!((answer.status, answer.module(), &*answer.problem()), (404, None, "no-module"));
}
