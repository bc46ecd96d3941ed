//! Several modules that offer one capability: the chosen one is called, and who calls is bound anew.

use serde_json::json;

use crate::support::{Module, Server};

/// A module that offers `mail` in this version and says its own name.
fn post(id: &str, offers: &str) -> Module {
    let capability = format!("capabilities: [{{ id: mail, version: {offers} }}]\n");
    let script = format!("return {{ services = {{ ['mail.who'] = function() return '{id}' end }} }}");
    Module::new(id, "1.0.0").manifest(&capability).lua(&script)
}

/// A module that requires `mail` in this range and asks it who it is.
fn shop(id: &str, range: &str) -> Module {
    let capability = format!("capabilities: [{{ id: {id}.sale, requirements: [\"mail@{range}\"] }}]\n");
    Module::handler(id, "1.0.0", "return services.call('mail.who', {})").manifest(&capability)
}

async fn asks(server: &Server, id: &str) -> String {
    server.get(&format!("/api/{id}")).await.body
}

#[tokio::test]
async fn who_requires_a_capability_calls_the_chosen_module_from_the_moment_of_the_choice() {
    let mut server = Server::with(&[post("aerial", "1.0.0"), post("bike", "1.5.0"), shop("shop", "^1")]).await;
    assert_eq!(asks(&server, "shop").await, "aerial", "the first by id");
    let chosen = server.ok(&["choose", "mail", "bike"]).await;
    assert_eq!(
        (&chosen["called"], &chosen["consumers"]),
        (&json!("bike"), &json!([{"module": "shop", "range": "^1", "bound": "bike"}]))
    );
    assert_eq!(asks(&server, "shop").await, "bike");
    server.kill();
    server.start().await;
    assert_eq!(asks(&server, "shop").await, "bike", "a choice is kept");
    server.ok(&["deactivate", "bike"]).await;
    assert_eq!(asks(&server, "shop").await, "aerial", "one that does not serve is not called");
    server.ok(&["activate", "bike"]).await;
    assert_eq!(asks(&server, "shop").await, "bike");
    server.ok(&["choose", "mail", "--any"]).await;
    assert_eq!(asks(&server, "shop").await, "aerial");
    let told = server.ok(&["audit"]).await;
    let told: Vec<_> = told.as_array().unwrap().iter().filter(|entry| entry["kind"] == "provider-chosen").collect();
    assert_eq!((told.len(), &told[0]["subject"], &told[1]["data"]["provider"]), (2, &json!("mail"), &json!(null)));
}

#[tokio::test]
async fn a_choice_holds_for_those_whose_range_it_meets() {
    let modules = [post("old", "1.0.0"), post("young", "2.0.0"), shop("first", "^1"), shop("second", ">=1")];
    let server = Server::with(&modules).await;
    server.ok(&["choose", "mail", "young"]).await;
    assert_eq!((asks(&server, "first").await, asks(&server, "second").await), ("old".to_owned(), "young".to_owned()));
    let refused = server.run(&["choose", "mail", "first"]).await;
    let (kind, message) = refused.error();
    assert!(kind == "not-offered" && message.contains("choose one of old, young"), "{refused:?}");
}

#[tokio::test]
async fn a_choice_of_what_nobody_offers_any_more_is_seen_and_taken_back() {
    let server = Server::with(&[post("bike", "1.0.0")]).await;
    server.ok(&["choose", "mail", "bike"]).await;
    server.ok(&["deactivate", "bike"]).await;
    server.ok(&["unregister", "bike"]).await;
    let left = server.ok(&["capabilities"]).await;
    let mail = left.as_array().unwrap().iter().find(|it| it["id"] == "mail").expect("it is chosen still");
    assert_eq!((&mail["chosen"], &mail["called"], &mail["providers"]), (&json!("bike"), &json!(null), &json!([])));
    assert_eq!(server.ok(&["choose", "mail", "--any"]).await["chosen"], json!(null));
    assert!(server.ok(&["capabilities"]).await.as_array().unwrap().iter().all(|it| it["id"] != "mail"));
    assert_eq!(server.run(&["choose", "mail", "--any"]).await.error().0, "not-offered");
}

#[tokio::test]
async fn who_requires_nothing_is_refused_and_told_both_ways() {
    let stranger = Module::handler(
        "stranger",
        "1.0.0",
        "local ok, error = pcall(services.call, 'mail.who', {})\nreturn error.message",
    );
    let server = Server::with(&[post("aerial", "1.0.0"), stranger]).await;
    let message = asks(&server, "stranger").await;
    for part in ["permission denied", "dependencies: [{ id: aerial }]", "requirements: [mail]"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
