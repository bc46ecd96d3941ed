//! `pause`, `resume`, `promote` and `abort`, as people and programs read them.

use super::remote::Server;
use super::*;
use crate::engine::{CandidateView, State};

#[tokio::test]
async fn orders_say_what_comes_of_them() {
    let server = Server::start().await;
    let module = server.module("a", "1.0.0", "");
    server.run(&format!("register {module}")).await;
    server.run("activate a").await;
    let nothing = server.run("pause a --json").await;
    assert_eq!((nothing.exit, &nothing.error()["kind"]), (Exit::Failed, &"nothing-shifts".into()));
    let candidate = CandidateView { version: "1.1.0".into(), state: State::Activating, weight: 30, paused: true };
    server.world.fake.played.lock().unwrap().slots.get_mut("a").unwrap().candidate = Some(candidate);
    assert!(server.run("list").await.out.contains("1.1.0 activating 30 % paused"));
    for (line, expected) in [
        ("pause a", "a@1.1.0 stays at 30 % of the traffic; replug resume a lets it go on\n"),
        ("resume a", "a@1.1.0 goes on from 30 % of the traffic\n"),
        ("promote a", "a@1.1.0 goes from 30 % of the traffic to 30 %\n"),
        ("promote a --full", "a@1.1.0 takes all of the traffic\n"),
        ("abort a", "a@1.1.0 gives up; what served before takes all of the traffic\n"),
    ] {
        assert_eq!(server.run(line).await.out, expected, "{line}");
    }
    assert_eq!(server.run("abort a --json").await.json()["done"], "aborted");
    assert_eq!(server.run("pause a@1.1.0").await.exit, Exit::Usage);
}
