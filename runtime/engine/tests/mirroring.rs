//! A candidate that gets copies of requests before it has a share of them.

use std::time::Duration;

use http::{HeaderMap, Method};
use replug_scripts::{CallContext, Mirrored, Request};

use super::*;
use crate::actors::Instance;
use crate::actors::router::{Came, Ended};
use crate::engine::Order;

/// Judged by copies alone: there is no other weight between 0 and 100.
fn mirrored(interval: &str, more: &str) -> String {
    format!(
        "lifecycle:\n  activation:\n    trafficShifting: {{ increment: 100, maxIncrement: 100, interval: {interval}, mirror: true }}\n{more}"
    )
}

fn script(body: &str) -> String {
    format!("return {{ apis = {{ [\"GET /a\"] = function(req) {body} end }} }}")
}

impl World {
    /// 1.0.0 is confirmed; 2.0.0 does with a request what `body` says.
    async fn with_candidate(lifecycle: &str, body: &str) -> Arc<Self> {
        let world = Self::new().await;
        world.register("a", "1.0.0", "").await;
        world.register_script("a", "2.0.0", lifecycle, &script(body)).await;
        world.serves("a@1.0.0").await;
        Arc::new(world)
    }

    fn begins_to_mirror(self: &Arc<Self>) -> tokio::task::JoinHandle<Result<ActivationReport, EngineError>> {
        let world = Arc::clone(self);
        tokio::spawn(async move { world.activate("a@2.0.0").await })
    }

    /// The candidate, once it takes copies.
    async fn candidate(&self) -> Arc<Instance> {
        loop {
            let snapshot = self.router.snapshot();
            if let Some((candidate, ..)) = snapshot.copy_to("a", &Method::GET, "/a") {
                return Arc::clone(candidate);
            }
            tokio::task::yield_now().await;
        }
    }

    /// What the gateway does after a client's answer, which took a millisecond; whether there was anybody to send a copy to.
    async fn copies(&self) -> bool {
        let found = {
            let snapshot = self.router.load();
            let to = snapshot.copy_to("a", &Method::GET, "/a");
            to.map(|(candidate, endpoint, _)| (candidate.place_for_copy(), endpoint.handler.clone()))
        };
        let Some((place, handler)) = found else { return false };
        let Some(place) = place else { return true };
        let mark = Arc::new(Mirrored::default());
        let call =
            CallContext { mirrored: Some(Arc::clone(&mark)), ..place.instance().context("r", Duration::from_secs(5)) };
        let request = Request {
            id: "r".into(),
            method: Method::GET,
            path: "/a".to_owned(),
            params: Vec::new(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Default::default(),
            principal: None,
        };
        let Some((answer, _)) = place.answer(handler, Box::new(request), call).await else { return true };
        let took = Duration::from_millis(1);
        place.came_to(Came::of(&answer, &mark), took, Ended { class: 2, took });
        true
    }

    /// Sends copies until nobody wants any; what the activation came to, and the weights that were routed meanwhile.
    async fn copies_until_over(self: &Arc<Self>) -> (ActivationReport, Vec<u8>) {
        let mut events = self.events.subscribe();
        let coming = self.begins_to_mirror();
        self.candidate().await;
        while self.copies().await {
            tokio::task::yield_now().await;
        }
        let report = coming.await.unwrap().unwrap();
        let mut weights = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::TrafficShifted { weight, .. } = *event {
                weights.push(weight);
            }
        }
        (report, weights)
    }
}

/// Weight and verdict of each report.
fn verdicts(report: &ActivationReport) -> Vec<(u8, &str)> {
    report.traffic_shift.iter().map(|shift| (shift.weight, shift.verdict.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_answers_copies_well_takes_over() {
    let world = World::with_candidate(&mirrored("300ms", ""), "return {}").await;
    let (report, weights) = world.copies_until_over().await;
    assert_eq!((report.outcome, verdicts(&report)), (Outcome::Provisional, vec![(0, "pass")]), "{report:?}");
    assert!(report.traffic_shift[0].detail.ends_with(" copies of requests"), "{report:?}");
    assert!(report.traffic_shift[0].ms >= 300.0, "{report:?}");
    assert_eq!((weights, world.routed("a").as_deref()), (vec![0], Some("2.0.0")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_fails_copies_is_rolled_back_and_no_client_ever_met_it() {
    let world = World::with_candidate(&mirrored("1h", ""), "error('broken')").await;
    let (report, weights) = world.copies_until_over().await;
    assert_eq!((report.outcome, verdicts(&report)), (Outcome::RolledBack, vec![(0, "fail")]), "{report:?}");
    let reason = report.reason.unwrap();
    assert!(reason.contains("errorRateExceeded: error rate 100.0 % of "), "{reason}");
    assert!(weights.iter().all(|weight| *weight == 0), "{weights:?}");
    assert_eq!((world.routed("a").as_deref(), world.held()), (Some("1.0.0"), vec!["a@1.0.0".to_owned()]));
    assert!(!world.router.load().copies());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_to_which_side_effects_were_refused_is_not_judged_by_that() {
    for (policy, outcome) in [("promote", Outcome::Provisional), ("rollback", Outcome::RolledBack)] {
        let lifecycle = mirrored("100ms", &format!("    onInconclusive: {policy}\n"));
        let world = World::with_candidate(&lifecycle, "kv.put('written', true) return {}").await;
        let (report, weights) = world.copies_until_over().await;
        assert_eq!((report.outcome, verdicts(&report)), (outcome, vec![(0, "inconclusive")]), "{report:?}");
        let detail = &report.traffic_shift[0].detail;
        assert!(detail.starts_with("0 of the 20 requests that a judgement needs, beside "), "{detail}");
        assert!(!report.reason.unwrap_or_default().contains("errorRateExceeded"));
        assert!(weights.iter().all(|weight| *weight == 0), "{weights:?}");
        let kv = KvStore::new(&world.store);
        assert_eq!(kv.get("a", "written", 0).unwrap(), None, "nothing was written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_requests_the_mirror_is_inconclusive_after_its_intervals() {
    let world = World::with_candidate(&mirrored("20ms", ""), "return {}").await;
    let report = world.activate("a@2.0.0").await.unwrap();
    assert_eq!((report.outcome, verdicts(&report)), (Outcome::Provisional, vec![(0, "inconclusive")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_steered_and_nothing_is_copied_after_an_order_ends_it() {
    for order in [Order::Promote { full: false }, Order::Abort] {
        let world = World::with_candidate(&mirrored("1h", ""), "return {}").await;
        let coming = world.begins_to_mirror();
        let candidate = world.candidate().await;
        let share = || world.engine.slots().remove(0).candidate.map(|it| (it.weight, it.paused));
        // the shift can be steered a moment after its first weight
        while world.engine.steer("a", Order::Pause).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(share(), Some((0, true)));
        assert!(world.copies().await, "a paused one is judged as ever");
        assert_eq!(world.engine.steer("a", Order::Resume).await.unwrap().weight, 0);
        assert!(candidate.copies().is_some());
        let done = world.engine.steer("a", order).await.unwrap();
        assert!(candidate.copies().is_none(), "{done:?}");
        let report = coming.await.unwrap().unwrap();
        let (outcome, version) = match order {
            Order::Abort => (Outcome::RolledBack, "1.0.0"),
            _ => (Outcome::Provisional, "2.0.0"),
        };
        assert_eq!((report.outcome, world.routed("a").as_deref()), (outcome, Some(version)), "{report:?}");
        assert!(!world.copies().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_error_and_an_end_of_the_runtime_end_a_mirror() {
    let critical = mirrored("1h", "    rollbackTriggers: [criticalError]\n");
    let world = World::with_candidate(&critical, "return {}").await;
    let coming = world.begins_to_mirror();
    let candidate = world.candidate().await;
    let killed = world.killed().await;
    killed.engine.resume().await;
    assert_eq!((killed.routed("a").as_deref(), killed.router.load().copies()), (Some("1.0.0"), false));
    let instance = candidate.key.clone();
    world.events.emit(Event::CriticalError { instance, reason: "its workers die".to_owned() });
    let report = coming.await.unwrap().unwrap();
    assert_eq!((report.outcome, world.routed("a").as_deref()), (Outcome::RolledBack, Some("1.0.0")));
    assert!(candidate.copies().is_none() && !world.router.load().copies());

    let world = World::with_candidate(&mirrored("1h", ""), "return {}").await;
    let coming = world.begins_to_mirror();
    let candidate = world.candidate().await;
    world.engine.stop(Duration::from_secs(5)).await;
    assert!(matches!(coming.await.unwrap(), Err(EngineError::Stopped)));
    assert!(candidate.copies().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_and_an_instant_activation_mirror_nothing_and_the_forecast_says_so() {
    let world = World::new().await;
    let version = |text: &str| text.parse::<Version>().unwrap();
    for number in ["1.0.0", "2.0.0"] {
        world.register_script("a", number, &mirrored("1h", ""), &script("return {}")).await;
    }
    let forecast = async |of: &str, strategy| world.engine.forecast("a", &version(of), strategy).await.unwrap();
    let first = forecast("1.0.0", None).await;
    assert_eq!((first.weights.len(), first.mirror), (0, None));
    assert!(world.activate("a@1.0.0").await.unwrap().traffic_shift.is_empty());
    let gradual = forecast("2.0.0", None).await;
    let mirror = gradual.mirror.map(|mirror| (mirror.methods, mirror.share));
    assert_eq!((gradual.weights, mirror), (vec![0, 100], Some((vec!["GET".to_owned(), "HEAD".to_owned()], 100))));
    let instant = Some(ActivationStrategy::Instant);
    assert_eq!(forecast("2.0.0", instant).await.mirror, None);
    let report = world.engine.activate("a", &version("2.0.0"), instant).await.unwrap();
    assert!(report.traffic_shift.is_empty() && report.serves(), "{report:?}");
    let snapshot = world.router.snapshot();
    assert!(!snapshot.copies() && snapshot.instance("a", 0).unwrap().copies().is_none());
}
