//! `confirm`, `history`, `audit` and `watch` against a server.

use std::sync::Arc;

use super::remote::Server;
use super::*;
use crate::engine::{HistoryEntry, Outcome, State};
use crate::monitor::{Event, InstanceKey};

async fn serving() -> Server {
    let server = Server::start().await;
    for version in ["1.0.0", "1.1.0"] {
        let module = server.module("a", version, "");
        assert_eq!(server.run(&format!("register {module}")).await.exit, Exit::Done);
        assert_eq!(server.run(&format!("activate a@{version}")).await.exit, Exit::Done);
    }
    server
}

fn instance() -> InstanceKey {
    InstanceKey { id: "a".into(), version: "1.1.0".into(), generation: 2 }
}

fn ended(outcome: &'static str, reason: Option<&str>) -> Event {
    Event::ActivationEnded { instance: instance(), outcome, reason: reason.map(str::to_owned) }
}

/// What `watch` of a module came to: it is told these events once it says that it waits.
async fn watched(server: &Server, line: &str, events: &[Event]) -> Ended {
    let running = server.begin(line);
    while !running.err.text().contains("waiting for the next activation\n") {
        tokio::task::yield_now().await;
    }
    events.iter().for_each(|event| server.world.events.emit(event.clone()));
    running.task.await.unwrap()
}

#[tokio::test]
async fn confirm_says_what_a_rollback_returns_to() {
    let server = serving().await;
    server.world.fake.played.lock().unwrap().slots.get_mut("a").unwrap().state = State::Provisional;
    assert_eq!(server.run("confirm a").await.out, "a@1.1.0 is confirmed; a rollback returns to 1.0.0\n");
    assert_eq!(server.run("confirm a").await.out, "a@1.1.0 was confirmed before; a rollback returns to 1.0.0\n");
    let expected = serde_json::json!({"id": "a", "version": "1.1.0", "previous": "1.0.0", "already": true});
    assert_eq!(server.run("confirm a --json").await.json(), expected);
    assert_eq!(server.run("confirm b --json").await.error()["kind"], "not-registered");
}

#[tokio::test]
async fn a_history_is_a_table_of_what_was_done() {
    let server = serving().await;
    assert_eq!(server.run("history a").await.out, "nothing was done to a yet; replug activate a\n");
    let entry = |number, command: &str, ended: Option<u64>, outcome| HistoryEntry {
        lost: 0,
        set: Vec::new(),
        number,
        command: command.into(),
        version: "1.1.0".into(),
        from: (number != 1).then(|| "1.0.0".into()),
        strategy: "gradual".into(),
        began: 1_000,
        ended,
        outcome,
        confirmed: None,
        reason: (outcome == Some(Outcome::RolledBack)).then(|| "error rate 12 %".into()),
        steps: vec![],
        traffic_shift: vec![],
    };
    server.world.fake.played.lock().unwrap().history = vec![
        entry(4, "activate", None, None),
        entry(3, "deactivate", Some(1_500), Some(Outcome::Active)),
        entry(2, "activate", Some(4_250), Some(Outcome::RolledBack)),
        entry(1, "activate", Some(1_001), Some(Outcome::Active)),
    ];
    let table = server.run("history a").await.out;
    let lines: Vec<String> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "# WHEN COMMAND VERSION STRATEGY OUTCOME TOOK REASON",
        "4 1970-01-01 00:00:01Z activate 1.0.0 -> 1.1.0 gradual runs",
        "3 1970-01-01 00:00:01Z deactivate 1.1.0 -> none gradual active 500 ms",
        "2 1970-01-01 00:00:01Z activate 1.0.0 -> 1.1.0 gradual rolled-back 3.2 s error rate 12 %",
        "1 1970-01-01 00:00:01Z activate 1.1.0 gradual active 1 ms",
    ];
    assert_eq!(lines, expected);
    let sent = server.run("history a --limit 2 --json").await.json();
    assert_eq!((sent.as_array().unwrap().len(), &sent[0]["number"]), (2, &4.into()));
}

#[tokio::test]
async fn the_audit_log_is_shown_in_order_and_verified() {
    let server = serving().await;
    let shown = server.run("audit").await.out;
    let lines: Vec<_> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["SEQ", "WHEN", "WHO", "WHAT", "SUBJECT", "MORE"]);
    assert_eq!((lines[1][0], &lines[1][3..6], lines.len()), ("1", &["admin", "registered", "a@1.0.0"][..], 3));
    let sent = server.run("audit --from 2 --limit 1 --json").await.json();
    assert_eq!((&sent[0]["seq"], &sent[0]["kind"]), (&2.into(), &"registered".into()));
    let whole = server.run("audit verify").await;
    let said = "the audit log is whole: 2 entries in 1 segments (by the runtime that writes it)";
    assert!(whole.exit == Exit::Done && whole.out.starts_with(said), "{}", whole.out);
    assert_eq!(server.run("audit verify --json").await.json()["head"]["seq"], 2);
}

#[tokio::test]
async fn what_was_met_is_a_line_with_its_data_and_without_what_is_unknown() {
    let server = Server::start().await;
    let permissions = &server.world.fake.permissions;
    permissions.turned_away(
        "unauthenticated",
        || serde_json::json!({ "reason": "unauthenticated", "path": "/v1/x y", "requestId": null }),
    );
    permissions.close().await;
    let shown = server.run("audit").await.out;
    let line = shown.lines().nth(1).expect("an entry");
    let words: Vec<_> = line.split_whitespace().skip(3).collect();
    assert_eq!(
        words,
        ["runtime", "access-denied", "runtime", "count=1", "path=\"/v1/x", "y\"", "reason=unauthenticated"]
    );
}

#[tokio::test]
async fn a_changed_log_fails_with_its_place_whether_or_not_a_runtime_runs() {
    let server = serving().await;
    let data = server.world.dir.path().to_owned();
    let file = data.join("audit/00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    for runs in [true, false] {
        if !runs {
            std::fs::remove_file(data.join("runtime.json")).unwrap();
        }
        std::fs::write(&file, text.replace("a@1.1.0", "a@9.1.0")).unwrap();
        let broken = server.run("audit verify").await;
        let place = format!("{}:2:1: audit log: the line was changed", file.display());
        assert!(broken.exit == Exit::Failed && broken.err.starts_with(&place), "{}", broken.err);
        let error = server.run("audit verify --json").await.error();
        assert_eq!((&error["kind"], &error["location"]["line"]), (&"broken-chain".into(), &2.into()));
        std::fs::write(&file, &text).unwrap();
        let whole = server.run("audit verify").await;
        assert!(whole.exit == Exit::Done && whole.out.contains(if runs { "by the runtime" } else { "no runtime" }));
    }
    assert_eq!(server.run("audit --json").await.exit, Exit::Unreachable, "only the check needs no runtime");
    std::fs::remove_dir_all(data.join("audit")).unwrap();
    let none = server.run("audit verify --json").await;
    assert_eq!((none.exit, &none.error()["kind"]), (Exit::Failed, &"files".into()));
}

#[tokio::test]
async fn an_entry_that_cannot_be_shown_is_told_and_a_failure() {
    let server = serving().await;
    let file = server.world.dir.path().join("audit/00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let marker = |after: u64, before: u64, damaged: &str| serde_json::json!({"after": after, "before": before, "damaged": damaged});
    let changed = "the line was changed: its hash is not that of its content";
    let removed = "entry 2 stands where entry 1 should: entries were removed";
    let inserted = "entry 1 stands where entry 2 should: an entry was inserted or moved";
    for (damaged, at, marker, numbers, message) in [
        (text.replace("a@1.1.0", "a@9.1.0"), 1, marker(1, 3, changed), "2 ", "entry 2 cannot be read"),
        (lines[1].to_owned(), 0, marker(0, 2, removed), "1 ", "entry 1 cannot be read"),
        ([lines[0], &text].concat(), 1, marker(1, 2, inserted), "", "a line behind entry 1 does not belong there"),
    ] {
        std::fs::write(&file, damaged).unwrap();
        let shown = server.run("audit").await;
        let row = format!("{numbers}damaged {}", marker["damaged"].as_str().unwrap());
        let found = shown.out.lines().nth(at + 1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!((shown.exit, found), (Exit::Failed, row));
        let told = format!("error: audit log: {message}\n  help: `replug audit verify` names");
        assert!(shown.err.starts_with(&told), "{}", shown.err);
        let sent = server.run("audit --from 1 --json").await;
        let rows: serde_json::Value = serde_json::from_str(&sent.out).unwrap();
        assert_eq!((sent.exit, &rows[at]), (Exit::Failed, &marker), "{rows}");
        assert_eq!(sent.error()["kind"], "broken-chain");
        assert_eq!(
            server.run("audit --from 2 --limit 1").await.exit == Exit::Done,
            at == 0,
            "what is asked for counts"
        );
    }
    let following = server.begin("audit --follow");
    let module = server.module("b", "1.0.0", "");
    server.run(&format!("register {module}")).await;
    while !following.out.text().contains("b@1.0.0") {
        tokio::task::yield_now().await;
    }
    server.stop.send_replace(true);
    let done = following.task.await.unwrap();
    assert!(done.err.starts_with("error: audit log: a line behind entry 1 does not belong there"), "{}", done.err);
    assert_eq!((done.err.matches("audit log").count(), done.exit), (1, Exit::Unreachable), "{}", done.err);
}

#[tokio::test]
async fn following_the_audit_log_goes_on_until_the_runtime_stops() {
    let server = serving().await;
    let following = server.begin("audit --follow --json");
    let module = server.module("b", "1.0.0", "");
    server.run(&format!("register {module}")).await;
    while !following.out.text().contains("b@1.0.0") {
        tokio::task::yield_now().await;
    }
    server.stop.send_replace(true);
    let done = following.task.await.unwrap();
    let subjects: Vec<_> = done
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["subject"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((done.exit, subjects.last().map(String::as_str)), (Exit::Unreachable, Some("b@1.0.0")));
}

#[tokio::test]
async fn watching_a_module_ends_as_its_activation_does() {
    let server = serving().await;
    for (outcome, reason, exit) in [
        ("provisional", None, Exit::Done),
        ("active", None, Exit::Done),
        ("rolled-back", Some("error rate 12 %"), Exit::RolledBack),
        ("failed", Some("init threw"), Exit::Failed),
        ("failed-to-restore", Some("undo failed"), Exit::Failed),
    ] {
        let done = watched(&server, "watch a --json", &[ended(outcome, reason)]).await;
        assert_eq!((done.exit, &done.json()["outcome"]), (exit, &outcome.into()), "{}", done.err);
        assert_eq!(done.err.contains(reason.unwrap_or("help")), reason.is_some(), "{}", done.err);
    }
}

/// The journal's entry of the activation that is watched.
fn entry(outcome: Option<Outcome>) -> HistoryEntry {
    HistoryEntry {
        lost: 0,
        set: Vec::new(),
        number: 3,
        command: "activate".into(),
        version: "1.1.0".into(),
        from: Some("1.0.0".into()),
        strategy: "gradual".into(),
        began: 1_000,
        ended: outcome.map(|_| 2_000),
        outcome,
        confirmed: None,
        reason: outcome.map(|_| "error rate 12 %".into()),
        steps: vec![],
        traffic_shift: vec![],
    }
}

#[tokio::test]
async fn an_end_that_passed_unseen_ends_the_watch_too() {
    let server = serving().await;
    server.world.fake.played.lock().unwrap().history = vec![entry(None)];
    let end = [ended("rolled-back", Some("error rate 12 %"))];
    let others = (0..3_000).map(|_| Event::Alarm { subject: "b".into(), message: String::new() });
    let running = server.begin("watch a");
    while !running.err.text().contains("waiting for the next activation\n") {
        tokio::task::yield_now().await;
    }
    // in one go, so that the stream lags and the end is lost
    end.into_iter().chain(others).for_each(|event| server.world.events.emit(event));
    // it is journalled after the reader looked for it the first time
    while !running.out.text().contains("passed unseen") {
        tokio::task::yield_now().await;
    }
    server.world.fake.played.lock().unwrap().history = vec![entry(Some(Outcome::RolledBack))];
    let done = running.task.await.unwrap();
    assert_eq!(done.exit, Exit::RolledBack, "{}", done.err);
    let lines: Vec<_> = done.out.lines().collect();
    assert!(lines[0].ends_with("events passed unseen"), "{lines:?}");
    assert_eq!(lines[1..], ["a@1.1.0 ended: rolled-back: error rate 12 %"]);
}

#[tokio::test]
async fn an_operation_is_watched_to_its_end_and_shows_it_afterwards() {
    let server = serving().await;
    let held = Arc::clone(&server.world.fake.gate).acquire_many_owned(998).await.unwrap();
    let begun = server.run("activate a@1.1.0 --no-wait").await.out;
    let operation = begun.split("replug watch ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a hint");
    assert!(begun.contains(&format!("(operation {operation})")), "{begun}");
    let line = format!("watch {operation}");
    let running = server.begin(&line);
    // it is connected once an event has reached it
    while running.out.text().is_empty() {
        server.world.events.emit(Event::TrafficShifted { instance: instance(), weight: 10 });
        tokio::task::yield_now().await;
    }
    server.world.fake.played.lock().unwrap().outcome = Some(Outcome::RolledBack);
    drop(held);
    let done = running.task.await.unwrap();
    assert!(done.out.lines().all(|line| line == "a@1.1.0   takes 10 % of the traffic"), "{}", done.out);
    assert_eq!(done.exit, Exit::RolledBack, "{}", done.err);
    assert!(done.err.contains("init threw: no such table"), "{}", done.err);

    let afterwards = server.run(&format!("{line} --json")).await;
    assert_eq!((afterwards.exit, &afterwards.json()["outcome"]), (Exit::RolledBack, &"rolled-back".into()));
    let unknown = server.run("watch 1a212892fec-12 --json").await;
    assert_eq!(unknown.error()["message"], "the operation was one of a runtime that has ended");
}

#[tokio::test]
async fn a_person_sees_steps_weights_and_verdicts() {
    let server = serving().await;
    let events = [
        Event::StepBegan { instance: instance(), step: "warmup", left_ms: 29_940.0 },
        Event::StepEnded { instance: instance(), step: "warmup", ms: 1.5, fault: None },
        Event::StepEnded { instance: instance(), step: "verify", ms: 2.0, fault: Some("unhealthy".into()) },
        Event::TrafficShifted { instance: instance(), weight: 10 },
        Event::Judged { instance: instance(), weight: 10, verdict: "fail".into(), detail: "p95 900 ms".into() },
        Event::Alarm { subject: "a".into(), message: "lost\na@1.1.0 ended: active".into() },
        ended("rolled-back", Some("p95 900 ms")),
    ];
    let done = watched(&server, "watch a", &events).await;
    assert!(done.err.starts_with("nothing is in flight for a; waiting for the next activation\n"), "{}", done.err);
    for line in [
        "a@1.1.0   warmup begins (29.9 s left)",
        "a@1.1.0   warmup done (1.5 ms)",
        "a@1.1.0   verify failed (2.0 ms): unhealthy",
        "a@1.1.0   takes 10 % of the traffic",
        "a@1.1.0   at 10 %: fail: p95 900 ms",
        "ALARM a: lost",
        "      a@1.1.0 ended: active",
        "a@1.1.0 ended: rolled-back: p95 900 ms",
    ] {
        assert!(done.out.lines().any(|found| found == line), "{line}: {}", done.out);
    }
    assert_eq!(done.exit, Exit::RolledBack);
}

#[tokio::test]
async fn watching_everything_ends_with_the_runtime() {
    let server = serving().await;
    let running = server.begin("watch --json");
    // it is connected once an event has reached it
    while running.out.text().is_empty() {
        server.world.events.emit(ended("active", None));
        tokio::task::yield_now().await;
    }
    server.stop.send_replace(true);
    let done = running.task.await.unwrap();
    assert_eq!((done.exit, &done.error()["kind"]), (Exit::Unreachable, &"unreachable".into()), "{}", done.err);
}

#[tokio::test]
async fn rollbacks_updates_and_deactivations_need_not_be_waited_for() {
    let server = serving().await;
    let begun = server.run("rollback a --no-wait --json").await;
    assert_eq!((begun.exit, &begun.json()["verb"]), (Exit::Done, &"rollback".into()));
    while server.world.fake.calls().last().map(String::as_str) != Some("rollback a None") {
        tokio::task::yield_now().await;
    }
    let begun = server.run(&format!("update {} --no-wait", server.module("a", "1.2.0", ""))).await.out;
    assert!(begun.starts_with("the update of a has begun (operation "), "{begun}");
    while server.world.fake.calls().last().map(String::as_str) != Some("activate a@1.2.0 None") {
        tokio::task::yield_now().await;
    }
    let begun = server.run("deactivate a --no-wait").await.out;
    assert!(begun.starts_with("the deactivation of a has begun (operation "), "{begun}");
    while !server.world.commands.list().is_empty() {
        tokio::task::yield_now().await;
    }
}
