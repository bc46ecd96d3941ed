//! `deps`, `conflicts`, `plan`, `why` and what is compatible, as people and programs read them.

use super::remote::Server;
use super::*;

async fn shop() -> Server {
    let server = Server::start().await;
    let needs =
        "dependencies: [{ id: stock, version: ^1 }, { id: mail, version: '*', required: false }]\nconflicts: [rival]\n";
    for (id, version, more) in
        [("stock", "1.0.0", ""), ("stock", "2.0.0", ""), ("shop", "1.0.0", needs), ("rival", "1.0.0", "")]
    {
        let folder = server.module(id, version, more);
        assert_eq!(server.run(&format!("register {folder}")).await.exit, Exit::Done);
    }
    server
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn deps_is_a_table_in_the_order_to_activate_and_says_what_is_in_the_way() {
    let server = shop().await;
    let expected = [
        "ID VERSION CHANGE NEEDED BY",
        "stock 1.0.0 start shop@1.0.0 (^1)",
        "shop 1.0.0 start",
        "optional: mail * (does not run)",
        "in the way now: shop@1.0.0 needs `stock` in a version ^1, which does not run; activate stock@1.0.0 first, \
         or shop@1.0.0 together with it: --set stock@1.0.0",
    ];
    assert_eq!(lines(&server.run("deps shop").await.out), expected);
    let sent = server.run("deps shop --json").await.json();
    assert_eq!(
        (&sent["modules"][0]["id"], &sent["modules"][0]["needed"][0]["by"]),
        (&"stock".into(), &"shop@1.0.0".into())
    );

    server.run("activate stock@2.0.0").await;
    assert_eq!(lines(&server.run("deps shop@1.0.0").await.out)[1], "stock 1.0.0 replaces 2.0.0 shop@1.0.0 (^1)");
    let failed = server.run("deps nobody --json").await;
    assert_eq!((failed.exit, &failed.error()["kind"]), (Exit::Failed, &"not-registered".into()));
}

#[tokio::test]
async fn conflicts_says_what_keeps_a_version_from_running_or_that_nothing_does() {
    let server = shop().await;
    let none = "nothing keeps stock@2.0.0 from running beside what is registered\n";
    assert_eq!(server.run("conflicts stock").await.out, none);
    assert!(server.run("conflicts shop").await.out.starts_with("if it ran: shop@1.0.0 cannot run beside rival@1.0.0"));
    server.run("activate rival").await;
    assert!(server.run("conflicts shop@1.0.0").await.out.starts_with("now: shop@1.0.0 cannot run beside rival@1.0.0"));
    assert_eq!(server.run("conflicts shop --json").await.json()["running"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn validate_says_whether_a_version_can_run_and_whether_it_can_take_over() {
    let server = shop().await;
    assert_eq!(server.run("validate stock").await.out, "stock@2.0.0 can run beside what runs\n");
    let shown = lines(&server.run("validate shop").await.out);
    assert_eq!(shown[0], "shop@1.0.0 cannot run beside what runs");
    assert!(shown[1].contains("activate stock@1.0.0 first"), "{shown:?}");
    let sent = server.run("validate shop --json").await.json();
    assert_eq!((&sent["valid"], &sent["obstacles"][0]["kind"]), (&false.into(), &"dependencyNotRunning".into()));
    let told = server.run("validate stock@2.0.0 --from 1.0.0").await;
    assert_eq!(told.out, "stock@2.0.0 can take over from 1.0.0: it follows directly\n");
    let sent = server.run("validate stock@2.0.0 --from 1.0.0 --json").await.json();
    let direct = serde_json::json!({ "kind": "direct" });
    assert_eq!(
        sent,
        serde_json::json!({ "id": "stock", "version": "2.0.0", "from": "1.0.0", "compatible": true, "way": direct, "differences": [] })
    );
    assert_eq!(server.run("validate nobody --json").await.error()["kind"], "not-registered");
}

#[tokio::test]
async fn plan_shows_what_would_be_done_and_does_nothing() {
    let server = shop().await;
    let told = server.run("plan stock@2.0.0 --strategy gradual").await;
    let shown = lines(&told.out);
    assert_eq!((told.exit, shown[0].as_str()), (Exit::Done, "stock@2.0.0, gradual (nothing of it serves)"));
    for line in ["traffic: 0 %, 100 %", "confirms itself after 10000 ms", "rollback: returns"] {
        assert!(shown.contains(&line.to_owned()), "{line}: {shown:?}");
    }
    assert_eq!(server.run("plan stock@2.0.0 --json").await.json()["weights"], serde_json::json!([0, 100]));
    assert_eq!(server.world.fake.calls(), ["forecast stock@2.0.0", "forecast stock@2.0.0"]);
}

#[tokio::test]
async fn why_is_a_sentence_and_its_reasons() {
    let server = shop().await;
    let shown = lines(&server.run("why shop").await.out);
    assert_eq!(shown[..2], ["shop@1.0.0 is registered", "it is registered and was never activated"]);
    assert!(shown[2].contains("activate stock@1.0.0 first"), "{shown:?}");
    assert_eq!(server.run("why shop --json").await.json()["reasons"][0]["kind"], "state");
}

#[tokio::test]
async fn compatible_versions_and_ranges_are_listed() {
    let server = shop().await;
    let rows = server.run("versions stock --compatible-with 1.0.0 --json").await.json();
    assert_eq!((rows.as_array().map(Vec::len), &rows[0]["version"]), (Some(1), &"2.0.0".into()));
    let found = server.run("find --compatible stock@^1 shop --json").await.json();
    let labels: Vec<_> =
        found.as_array().unwrap().iter().map(|row| format!("{}@{}", row["id"], row["version"])).collect();
    assert_eq!(labels, ["\"stock\"@\"1.0.0\"", "\"shop\"@\"1.0.0\""]);
    assert_eq!(server.run("find --compatible stock@new --json").await.exit, Exit::Usage);
    assert_eq!(server.run("find --capability x --category y --json").await.exit, Exit::Usage);
}
