//! The audit log has each state that a version goes through, each share of the traffic, and what was refused, with who asked.

use replug_scripts::Handler;
use serde_json::{Value, json};

use super::*;
use crate::store::audit::{By, Kind, Row, Who};

/// Kind, who, subject and data of all entries, once those that are queued are on the disk.
pub(super) async fn told(world: &World) -> Vec<(Kind, Who, String, Value)> {
    world.engine.audit().close().await.unwrap();
    let rows = world.engine.audit().read(1, 1000).await.unwrap();
    let entries = rows.iter().filter_map(Row::entry);
    entries.map(|it| (it.kind, it.who, it.subject.clone(), serde_json::from_str(it.data.get()).unwrap())).collect()
}

impl World {
    /// The engine as the administrator's request `r-1` has it.
    fn asked(&self) -> Engine {
        self.engine.by(By::from(Who::Admin).asked_in("r-1".into()))
    }
}

#[tokio::test]
async fn each_state_of_a_version_is_told_with_its_generation_who_asked_and_in_which_request() {
    let world = World::new().await;
    for version in ["1.0.0", "2.0.0"] {
        world.register("a", version, "").await;
        let report = world.asked().activate("a", &version.parse().unwrap(), None).await.unwrap();
        assert!(report.outcome.serves(), "{report:?}");
    }
    world.asked().confirm("a").await.unwrap();
    world.asked().deactivate("a").await.unwrap();
    while world.state("a@1.0.0") != State::Inactive {
        tokio::task::yield_now().await;
    }
    let all = told(&world).await;
    let states = |subject: &str| {
        let of = all.iter().filter(|(kind, _, of, _)| *kind == Kind::StateChanged && of == subject);
        of.map(|(_, who, _, data)| {
            assert_eq!((*who, &data["requestId"]), (Who::Admin, &json!("r-1")), "{data}");
            format!("{} -> {} #{}", data["from"].as_str().unwrap(), data["to"].as_str().unwrap(), data["generation"])
        })
        .collect::<Vec<_>>()
    };
    let first = ["registered -> activating", "activating -> active", "active -> standby", "standby -> draining"];
    let first = first.iter().chain(&["draining -> inactive"]).map(|it| format!("{it} #1"));
    assert_eq!(states("a@1.0.0"), first.collect::<Vec<_>>());
    let second = ["registered -> activating", "activating -> provisional", "provisional -> active"];
    let second = second.iter().chain(&["active -> draining", "draining -> inactive"]).map(|it| format!("{it} #2"));
    assert_eq!(states("a@2.0.0"), second.collect::<Vec<_>>());
    let shares = all.iter().filter(|(kind, ..)| *kind == Kind::TrafficShifted);
    let shares: Vec<_> = shares.map(|(_, _, subject, data)| (subject.as_str(), data["weight"].as_u64())).collect();
    assert_eq!(shares, [0, 10, 30, 70].map(|weight| ("a@2.0.0", Some(weight))));
    for kind in [Kind::ActivationBegan, Kind::ActivationEnded, Kind::Confirmed, Kind::Deactivated] {
        let of: Vec<_> = all.iter().filter(|(it, ..)| *it == kind).collect();
        assert!(!of.is_empty(), "{kind:?}");
        for (_, who, _, data) in of {
            assert_eq!((*who, &data["requestId"]), (Who::Admin, &json!("r-1")), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_way_back_is_told_as_the_runtimes_doing_with_its_reason() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("a", "2.0.0", "").await;
    world.serves("a@1.0.0").await;
    world.fail(&[(Place::Commit, Fault::Error)]);
    let report = world.asked().activate("a", &Version::new(2, 0, 0), None).await.unwrap();
    assert!(!report.outcome.serves(), "{report:?}");
    let all = told(&world).await;
    let back = all.iter().filter(|(kind, _, subject, _)| *kind == Kind::StateChanged && subject == "a@2.0.0");
    let back: Vec<_> = back.map(|(.., data)| (data["to"].as_str().unwrap(), data["reason"].as_str())).collect();
    let [("activating", None), ("rolling-back", Some(reason)), ("failed", Some(same))] = back.as_slice() else {
        panic!("{back:?}")
    };
    assert!(reason == same && report.reason.as_deref() == Some(reason), "{back:?}");
}

#[tokio::test]
async fn commands_that_are_refused_are_told_with_the_reason() {
    let world = World::new().await;
    world.register("a", "1.0.0", "").await;
    world.register("b", "1.0.0", "dependencies:\n  - id: a\n").await;
    world.serves("a@1.0.0").await;
    world.serves("b@1.0.0").await;
    let asked = world.asked();
    asked.deactivate("a").await.expect_err("b needs it");
    asked.unregister("a", Some(&Version::new(1, 0, 0))).await.expect_err("b needs it");
    asked.confirm("c").await.expect_err("nothing serves");
    let files = [("main.lua", "return {}"), ("module.manifest.yaml", "id: a\nname: another\nversion: 1.0.0\n")];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec().into()));
    let other = Bundle::new(files.into_iter().collect()).unwrap();
    let by = By::from(Who::Host);
    world.registry.register_by(by, other).await.expect_err("other content");
    let all = told(&world).await;
    let refused = all.iter().filter(|(kind, ..)| *kind == Kind::CommandRefused).map(|(_, who, subject, data)| {
        assert!(!data["reason"].as_str().unwrap().is_empty(), "{data}");
        (*who, subject.as_str(), data["command"].as_str().unwrap(), data["requestId"].as_str())
    });
    let expected = [
        (Who::Admin, "a", "deactivate", Some("r-1")),
        (Who::Admin, "a@1.0.0", "unregister", Some("r-1")),
        (Who::Admin, "c", "confirm", Some("r-1")),
        (Who::Host, "a@1.0.0", "register", None),
    ];
    assert_eq!(refused.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_a_drain_cuts_off_is_told_with_the_time_that_it_had_and_a_drain_that_ends_tells_nothing() {
    let script = "return { services = { [\"a.spin\"] = function() while true do end end } }";
    for (deactivation, value) in [("timeout: 30ms", 30), ("strategy: immediate", 0)] {
        let world = World::new().await;
        for id in ["a", "idle"] {
            let more = format!(
                "capabilities: [{{ id: {id} }}]\n\
                 runtime: {{ limits: {{ ticks: 1000000000000, cpuTime: 600s, wallTime: 600s }} }}\n\
                 lifecycle: {{ deactivation: {{ {deactivation} }} }}\n"
            );
            world.register_script(id, "1.0.0", &more, script).await;
            world.serves(&format!("{id}@1.0.0")).await;
        }
        let instance = Arc::clone(world.router.snapshot().instance("a", 0).unwrap());
        let calls = [1, 2].map(|_| {
            let instance = Arc::clone(&instance);
            let call = instance.context("test", Duration::from_secs(600));
            tokio::spawn(async move { instance.call(Handler::Service("a.spin".into()), Vec::new(), call).await })
        });
        while instance.in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.engine.deactivate("a").await.unwrap().cut_off, 2);
        assert_eq!(world.engine.deactivate("idle").await.unwrap().cut_off, 0);
        for call in calls {
            call.await.unwrap().expect_err("it is cut off");
        }
        world.engine.permissions().close().await;
        let mut told = told(&world).await;
        told.retain(|(kind, ..)| *kind == Kind::LimitExceeded);
        let [(_, who, subject, data)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((*who, subject.as_str()), (Who::Runtime, "a@1.0.0"));
        let expected = json!({
            "limit": "lifecycle.deactivation.timeout", "value": value, "inFlight": 2, "requestId": null, "caller": null,
            "principal": null, "generation": 1, "count": 1,
        });
        assert_eq!(data, &expected);
    }
}

#[tokio::test]
async fn what_could_not_be_written_is_not_told_as_done() {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let world = World::failing(&left).await;
    for version in ["1.0.0", "2.0.0"] {
        for id in ["a", "b"] {
            world.register(id, version, "lifecycle:\n  activation:\n    confirmWindow: 1h\n").await;
        }
    }
    world.register("c", "1.0.0", "").await;
    world.serves("c@1.0.0").await;
    let set = |version: &str| ["a", "b"].map(|id| (id.to_owned(), version.parse().unwrap()));
    world.engine.activate_set(&set("1.0.0"), None).await.unwrap().ensure_serves().unwrap();
    world.engine.confirm("a").await.unwrap();
    world.engine.activate_set(&set("2.0.0"), None).await.unwrap().ensure_serves().unwrap();
    left.store(0, std::sync::atomic::Ordering::Release);
    assert!(world.engine.confirm("a").await.is_err());
    assert!(world.engine.deactivate("c").await.is_err());
    let all = told(&world).await;
    let done = |kind: Kind| all.iter().filter(|told| told.0 == kind).map(|told| told.2.as_str()).collect::<Vec<_>>();
    assert_eq!(done(Kind::Confirmed), ["a@1.0.0", "b@1.0.0"], "the first set was confirmed");
    assert_eq!(done(Kind::Deactivated), [""; 0]);
    assert_eq!(done(Kind::CommandRefused), ["a", "c"]);
}

#[tokio::test]
async fn the_end_of_one_of_a_set_tells_what_a_start_decides_by_of_the_others_too() {
    let world = World::bound().await;
    world.set(&["a@2.0.0", "b@2.0.0"]).await.unwrap().ensure_serves().unwrap();
    let number = world.newest("b").await.number;
    let all = told(&world).await;
    let ended = |subject: &str| {
        let of = all.iter().find(|(kind, _, of, _)| *kind == Kind::ActivationEnded && of == subject);
        of.map(|(.., data)| data["members"].clone()).unwrap()
    };
    let expected = json!([{ "module": "b", "version": "2.0.0", "number": number, "instant": false, "oneWay": null,
        "oneWayOf": null, "set": ["b", "a"], "owed": [] }]);
    assert_eq!(ended("a@2.0.0"), expected);
    assert_eq!(ended("b@2.0.0")[0]["module"], "a");
    assert_eq!(ended("b@1.0.0"), json!(null), "alone");
}
