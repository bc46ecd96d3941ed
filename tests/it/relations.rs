//! What the registry tells of versions before anything is done, and that it is true.

use serde_json::{Value, json};

use crate::support::{Module, Server, until};

fn texts<'a>(rows: &'a Value, field: &str) -> Vec<&'a str> {
    rows.as_array().expect("rows").iter().map(|row| row[field].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_plan_changes_nothing_and_tells_what_the_activation_then_does() {
    let b = Module::echo("b", "1.0.0", "rhai").needs("a", "^1");
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua"), b, Module::echo("c", "1.0.0", "lua")]).await;
    let script = "local function reply() return 'a' end\nreturn { apis = { ['GET /api/a'] = reply, ['POST /api/a'] = reply, ['GET /api/a/more'] = reply } }";
    let newer = Module::new("a", "1.1.0").api("/api/a", "GET, POST").api("/api/a/more", "GET").lua(script);
    server.ok(&["register", &server.write(&newer)]).await;
    let before = server.ok(&["list"]).await;
    let plan = server.ok(&["plan", "a@1.1.0"]).await;
    assert_eq!((server.ok(&["list"]).await, &plan["refused"], &plan["from"]), (before, &json!([]), &"1.0.0".into()));
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@1.0.0");
    assert_eq!((texts(&plan["touched"], "module"), &plan["untouched"]), (vec!["b@1.0.0"], &json!(["c@1.0.0"])));
    assert_eq!(plan["changes"], json!(["+ api GET /api/a/more"]));

    let done = server.ok(&["activate", "a@1.1.0"]).await;
    assert_eq!(texts(&done["steps"], "name"), texts(&plan["steps"], "name"));
    let mut weights: Vec<Value> =
        done["trafficShift"].as_array().unwrap().iter().map(|it| it["weight"].clone()).collect();
    weights.push(100.into());
    assert_eq!(json!(weights), plan["weights"]);
}

#[tokio::test]
async fn a_plan_that_would_be_refused_says_what_the_activation_says() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    server.ok(&["register", &server.write(&Module::echo("b", "1.0.0", "lua").needs("a", "^2"))]).await;
    let plan = server.ok(&["plan", "b"]).await;
    let refused = server.run(&["activate", "b"]).await;
    assert_eq!(
        texts(&json!([{"it": plan["refused"][0]}]), "it"),
        [refused.error().1.split(" replug ").next().unwrap()]
    );
}

#[tokio::test]
async fn why_follows_a_module_through_its_life() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    let why = async |label: &str| -> String {
        let why = server.ok(&["why", label]).await;
        texts(&why["reasons"], "text").join("; ")
    };
    assert!(why("a").await.starts_with("it was activated"), "{}", why("a").await);
    let broken = Module::echo("a", "1.1.0", "lua").manifest("dependencies: [{ id: gone, version: '*' }]\n");
    server.ok(&["register", &server.write(&broken)]).await;
    assert!(why("a").await.contains("a@1.1.0: no versions go together"), "{}", why("a").await);
    assert!(why("a@1.1.0").await.contains("a@1.0.0 runs in its place"), "{}", why("a@1.1.0").await);
    let fails = Module::new("a", "1.2.0")
        .api("/api/a", "GET")
        .lua("return { init = function() error('no ink') end, apis = { ['GET /api/a'] = function() end } }");
    server.ok(&["register", &server.write(&fails)]).await;
    assert_eq!(server.run(&["activate", "a@1.2.0"]).await.code, 3);
    assert!(why("a@1.2.0").await.contains("no ink"), "{}", why("a@1.2.0").await);
    let told = why("a").await;
    let failed =
        told.split("; ").find(|reason| reason.starts_with("a@1.2.0: it is failed: ")).expect("what became of it");
    assert!(failed.contains("no ink"), "{told}");
    server.ok(&["register", &server.write(&Module::echo("a", "1.3.0", "lua"))]).await;
    server.ok(&["activate", "a@1.3.0", "--strategy", "instant"]).await;
    assert!(why("a@1.0.0").await.starts_with("it is standby"), "{}", why("a@1.0.0").await);
    server.ok(&["rollback", "a"]).await;
    let told = why("a").await;
    assert!(told.contains("a@1.3.0: it served, and a rollback returned to 1.0.0"), "{told}");
    server.ok(&["deactivate", "a"]).await;
    assert!(why("a@1.0.0").await.starts_with("it was deactivated"), "{}", why("a@1.0.0").await);
}

#[tokio::test]
async fn why_an_older_version_runs_names_what_keeps_the_newer_one_off_or_how_far_it_is() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    let kinds = async |label: &str| -> Vec<(String, String)> {
        let why = server.ok(&["why", label]).await;
        let reasons = why["reasons"].as_array().expect("reasons").iter();
        reasons.map(|it| (it["kind"].as_str().unwrap().to_owned(), it["text"].as_str().unwrap().to_owned())).collect()
    };
    let asks = "permissions:\n  system:\n    environment: [INK]\n";
    server.ok(&["register", &server.write(&Module::echo("a", "1.1.0", "lua").manifest(asks))]).await;
    let reasons = kinds("a").await;
    let waits = ("newer".to_owned(), "a@1.1.0: it waits for ".to_owned());
    assert!(reasons.iter().any(|it| it.0 == waits.0 && it.1.starts_with(&waits.1)), "{reasons:?}");

    let slow = "lifecycle:\n  activation:\n    confirmWindow: 1h\n    trafficShifting: { initial: 10, increment: 90, interval: 1h }\n";
    server.ok(&["register", &server.write(&Module::echo("a", "2.0.0", "rhai").manifest(slow))]).await;
    let begun = server.ok(&["activate", "a@2.0.0", "--no-wait"]).await;
    until("it takes a share", async || server.resource("/v1/modules").await[0]["candidate"]["weight"] == json!(10))
        .await;
    server.ok(&["pause", "a"]).await;
    let candidate = kinds("a@2.0.0").await;
    assert!(candidate.iter().all(|(kind, _)| kind != "ready"), "{candidate:?}");
    assert!(
        candidate.iter().any(|(_, text)| text.contains("waits with 10 % of the traffic: replug resume a")),
        "{candidate:?}"
    );
    let older = kinds("a").await;
    assert!(
        older.iter().any(|(_, text)| text.starts_with("a@2.0.0: it is activating and waits with 10 %")),
        "{older:?}"
    );
    server.ok(&["promote", "a", "--full"]).await;
    let id = begun["id"].as_str().expect("its id").to_owned();
    assert_eq!(server.operation(&id).await["result"]["outcome"], "provisional");
    let serves = kinds("a").await;
    let (_, provisional) = serves.iter().find(|(kind, _)| kind == "provisional").expect("it is not confirmed");
    assert!(provisional.contains("1.0.0 stands by: replug confirm a keeps it"), "{provisional}");
    server.ok(&["confirm", "a"]).await;
    assert!(kinds("a").await.iter().all(|(kind, _)| kind != "provisional"));
}

#[tokio::test]
async fn a_plan_of_the_version_that_stands_by_tells_the_return_that_is_made() {
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    let window = "lifecycle:\n  activation:\n    confirmWindow: 1h\n    trafficShifting: { interval: 10ms }\n";
    server.ok(&["register", &server.write(&Module::echo("a", "1.1.0", "lua").manifest(window))]).await;
    server.ok(&["activate", "a@1.1.0"]).await;
    let plan = server.ok(&["plan", "a@1.0.0"]).await;
    assert_eq!(
        (&plan["weights"], &plan["confirmWindow"], &plan["refused"]),
        (&json!([]), &json!(0), &json!([])),
        "{plan}"
    );
    assert!(plan["rollback"].as_str().unwrap().starts_with("there is nothing to return to"), "{plan}");
    let done = server.ok(&["activate", "a@1.0.0"]).await;
    assert_eq!(
        (texts(&done["steps"], "name"), done["trafficShift"].as_array().map(Vec::len)),
        (texts(&plan["steps"], "name"), Some(0))
    );
    assert_eq!(server.ok(&["list"]).await[0]["state"], "active");
}

#[tokio::test]
async fn a_jump_goes_by_the_versions_that_the_manifest_names() {
    let updates = "lifecycle:\n  updates:\n    compatibility: { \"2.0.0\": \"^1.5\" }\n    migrationPaths: [{ from: \"^1\", via: [1.5.0], to: 2.0.0 }]\n";
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    server.ok(&["register", &server.write(&Module::echo("a", "2.0.0", "rhai").manifest(updates))]).await;
    let refused = server.run(&["activate", "a@2.0.0"]).await;
    let (kind, message) = refused.error();
    assert!(
        (refused.code, kind.as_str()) == (1, "no-way") && message.contains("1.5.0 is not registered"),
        "{refused:?}"
    );
    assert_eq!(server.ok(&["versions", "a", "--compatible-with", "1.0.0"]).await, json!([]));

    server.ok(&["register", &server.write(&Module::echo("a", "1.5.0", "lua"))]).await;
    assert_eq!(server.ok(&["plan", "a@2.0.0"]).await["via"], json!(["1.5.0"]));
    let done = server.ok(&["activate", "a@2.0.0"]).await;
    assert_eq!((&done["version"], texts(&done["via"], "version")), (&"2.0.0".into(), vec!["1.5.0"]));
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@2.0.0");
    server.ok(&["rollback", "a"]).await;
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@1.0.0");
}

#[tokio::test]
async fn a_jump_that_a_kill_cuts_off_is_turned_back_by_the_next_start_and_why_says_so() {
    let confirms = "lifecycle:\n  activation: { confirmWindow: 0, trafficShifting: { interval: 20ms } }\n";
    let slow = "lifecycle:\n  activation: { trafficShifting: { interval: 1h } }\n  updates:\n    compatibility: { \"2.0.0\": \"^1.5\" }\n    migrationPaths: [{ from: \"^1\", via: [1.5.0], to: 2.0.0 }]\n";
    let mut server = Server::with(&[Module::echo("a", "1.0.0", "lua")]).await;
    for (version, more) in [("1.5.0", confirms), ("2.0.0", slow)] {
        server.ok(&["register", &server.write(&Module::echo("a", version, "lua").manifest(more))]).await;
    }
    server.ok(&["activate", "a@2.0.0", "--no-wait"]).await;
    until("2.0.0 has a share beside 1.5.0", async || {
        let slot = server.slot("a").await.unwrap();
        slot["version"] == "1.5.0" && slot["candidate"]["weight"] == 10
    })
    .await;
    server.kill();
    server.start().await;
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@1.0.0");
    let slot = server.slot("a").await.unwrap();
    assert_eq!(
        (&slot["version"], &slot["state"], &slot["candidate"]),
        (&json!("1.0.0"), &json!("active"), &json!(null))
    );
    let why = texts(&server.ok(&["why", "a"]).await["reasons"], "text").join("; ");
    assert!(
        why.contains(
            "a rollback returned to it, in the place of 1.5.0: the way from 1.0.0 to 2.0.0 was cut off at 1.5.0"
        ),
        "{why}"
    );
    let log = server.ok(&["audit", "--limit", "1000"]).await.to_string();
    assert!(log.contains("the way from 1.0.0 to 2.0.0 was cut off at 1.5.0"), "{log}");
}

#[tokio::test]
async fn a_breaking_change_under_a_compatible_version_is_refused_at_registration() {
    let offers = |version: &str, methods: &str| {
        let capability = format!(
            "capabilities:\n  - {{ id: ink, version: 1.0.0, interfaces: [{{ name: ink, methods: [{methods}] }}] }}\n"
        );
        Module::echo("a", version, "lua").manifest(&capability)
    };
    let server = Server::with(&[offers("1.0.0", "fill, empty")]).await;
    let refused = server.run(&["register", &server.write(&offers("1.1.0", "fill"))]).await;
    let (kind, message) = refused.error();
    assert!(kind == "breaking-change" && message.contains("lacks `ink.empty` that 1.0.0 has"), "{refused:?}");
    server.ok(&["register", &server.write(&offers("1.1.0", "fill, empty, shake"))]).await;
}

#[tokio::test]
async fn why_says_ready_exactly_where_a_plan_is_not_refused() {
    let b = Module::echo("b", "1.0.0", "lua").needs("a", "^1");
    let server = Server::with(&[Module::echo("a", "1.0.0", "lua"), b]).await;
    let later = [
        Module::echo("a", "1.1.0", "lua"),
        Module::echo("a", "2.0.0", "lua"),
        Module::echo("a", "1.2.0", "lua").manifest("lifecycle:\n  updates: { supported: false }\n"),
        Module::echo("a", "1.3.0", "lua").needs("b", "^1"),
        Module::new("a", "1.4.0").api("/api/a", "GET").lua("return {"),
    ];
    for module in &later {
        server.ok(&["register", &server.write(module)]).await;
    }
    for (label, says) in [
        ("a@1.1.0", None),
        ("a@2.0.0", Some("b@1.0.0 needs `a` in a version ^1; deactivate b first")),
        ("a@1.2.0", Some("supported: false")),
        ("a@1.3.0", Some("modules need each other in a circle: a -> b -> a")),
        ("a@1.4.0", Some("do not compile")),
    ] {
        let (plan, why) = (server.ok(&["plan", label]).await, server.ok(&["why", label]).await);
        let (refused, kinds, told) = (&plan["refused"], texts(&why["reasons"], "kind"), texts(&why["reasons"], "text"));
        assert_eq!(kinds.contains(&"ready"), refused == &json!([]), "{label}: {plan} {why}");
        assert_eq!(says.is_none(), refused == &json!([]), "{label}: {plan}");
        assert!(says.is_none_or(|says| told.join("\n").contains(says)), "{label}: {why}");
        let done = server.run(&["activate", label]).await;
        assert_eq!(done.code, i32::from(says.is_some()), "{label}: {done:?}");
    }
}

#[tokio::test]
async fn of_several_versions_in_a_folder_the_newest_stable_one_is_activated() {
    let versions = ["1.9.0", "1.10.0", "2.0.0-rc.1"].map(|version| Module::echo("a", version, "lua"));
    let server = Server::with(&versions).await;
    assert_eq!(server.get("/api/a").await.header("x-replug-module"), "a@1.10.0");
}
