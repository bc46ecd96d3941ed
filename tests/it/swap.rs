//! Hot swaps while requests flow: none fails, none is lost, and each is finished by the version that took it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Module, Server, until};

const LANGUAGES: [&str; 2] = ["lua", "rhai"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_during_swaps_are_all_answered_by_one_whole_version() {
    let server = Arc::new(Server::with(&[Module::echo("probe", "1.0.0", "lua")]).await);
    server.ok(&["register", &server.write(&Module::echo("probe", "2.0.0", "rhai"))]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..6)
        .map(|n| {
            let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut seen, mut serial) = (BTreeSet::new(), 0_u32);
                while !stop.load(Ordering::Relaxed) {
                    serial += 1;
                    let body = format!("{n}-{serial}");
                    let answer = server.send(server.request("POST", "/api/probe").body(body.clone())).await;
                    let version = answer.header("x-replug-module").trim_start_matches("probe@").to_owned();
                    assert_eq!((answer.status, answer.body), (200, format!("{version} {body}")));
                    seen.insert(version);
                }
                (seen, serial)
            })
        })
        .collect();
    for target in ["2.0.0", "1.0.0"].repeat(10) {
        let report = server.ok(&["activate", &format!("probe@{target}"), "--strategy", "instant"]).await;
        // the way back to what stands by needs no confirmation
        assert_eq!(report["outcome"], if target == "2.0.0" { "provisional" } else { "active" });
        assert_eq!(server.get("/api/probe").await.header("x-replug-module"), format!("probe@{target}"));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let (seen, serial) = client.await.unwrap();
        assert_eq!(seen, BTreeSet::from(["1.0.0".to_owned(), "2.0.0".to_owned()]), "after {serial} requests");
    }
}

#[tokio::test]
async fn a_request_held_across_the_swap_ends_on_the_version_that_took_it() {
    // it holds until the other version, which shares the module's store, says that it serves
    let hold = "kv.put('held', true)\nlocal e = time.now() + 20000\nwhile not kv.get('go') and time.now() < e do end\nreturn ctx.version";
    let patient = "runtime:\n  limits: { wallTime: 30s, cpuTime: 30s, ticks: 900000000000 }\n";
    let go = "kv.put('go', true) return ctx.version .. tostring(kv.get('held'))";
    let server = Server::with(&[Module::handler("slow", "1.0.0", hold).manifest(patient)]).await;
    server.ok(&["register", &server.write(&Module::handler("slow", "2.0.0", go))]).await;
    let swapped = async {
        server.ok(&["activate", "slow@2.0.0"]).await;
        server.get("/api/slow").await
    };
    let (held, swapped) = tokio::join!(server.get("/api/slow"), swapped);
    assert_eq!((&*held.body, held.header("x-replug-module")), ("1.0.0", "slow@1.0.0"), "{held:?}");
    assert_eq!((&*swapped.body, swapped.header("x-replug-module")), ("2.0.0true", "slow@2.0.0"), "{swapped:?}");
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_end() {
    let body = "local e = time.now() + 500\nwhile time.now() < e do end\nreturn 'whole'";
    let patient = "runtime:\n  limits: { wallTime: 30s, cpuTime: 30s, ticks: 900000000000 }\n";
    let mut server = Server::with(&[Module::handler("slow", "1.0.0", body).manifest(patient)]).await;
    let request = server.request("GET", "/api/slow");
    let pending = tokio::spawn(async move { request.send().await.unwrap().text().await.unwrap() });
    let held = "replug_in_flight{module=\"slow\",version=\"1.0.0\"} 1";
    until("the request runs", async || server.metrics().await.contains(held)).await;
    assert!(server.terminate().await.success());
    assert_eq!(pending.await.unwrap(), "whole");
}

#[tokio::test]
async fn each_language_takes_over_from_the_other() {
    for (n, pair) in [(0, 1), (1, 0)].into_iter().enumerate() {
        let server = Server::with(&[Module::echo("probe", "1.0.0", LANGUAGES[pair.0])]).await;
        server.install(&Module::echo("probe", "2.0.0", LANGUAGES[pair.1])).await;
        let answer = server.send(server.request("POST", "/api/probe").body("ü")).await;
        assert_eq!(answer.body, "2.0.0 ü", "pair {n}");
    }
}
