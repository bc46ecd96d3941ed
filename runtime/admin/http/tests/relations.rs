//! How versions stand to each other, over a socket.

use super::*;

async fn shop() -> Server {
    let server = Server::with(&[("stock", "1.0.0"), ("stock", "2.0.0")]).await;
    let needs = "dependencies: [{ id: stock, version: ^1 }]\nconflicts: [rival]\n";
    server.world.commands.register(bundle("shop", "1.0.0", needs)).await.unwrap();
    server.world.commands.register(bundle("rival", "1.0.0", "")).await.unwrap();
    server
}

#[tokio::test]
async fn dependencies_conflicts_and_reasons_are_read_by_version() {
    let server = shop().await;
    let found = server.get("/v1/modules/shop/dependencies").await.json();
    let rows: Vec<_> = found["modules"].as_array().unwrap().iter().map(|row| (&row["id"], &row["version"])).collect();
    assert_eq!(rows, [(&json!("stock"), &json!("1.0.0")), (&json!("shop"), &json!("1.0.0"))]);
    let found = server.get("/v1/modules/stock/dependencies?version=1.0.0").await.json();
    assert_eq!(
        found["modules"][0],
        json!({"id": "stock", "version": "1.0.0", "change": "start", "from": null, "via": [], "needed": []})
    );
    let found = server.get("/v1/modules/shop/conflicts").await.json();
    assert_eq!((found["running"].as_array().unwrap().len(), found["registered"].as_array().unwrap().len()), (0, 1));
    let why = server.get("/v1/modules/shop/why?version=1.0.0").await.json();
    assert_eq!((&why["state"], &why["reasons"][0]["kind"]), (&json!("registered"), &json!("state")));
    assert!(why["reasons"][0].get("at").is_none(), "{why}");
}

#[tokio::test]
async fn whether_a_version_can_run_and_take_over_is_read() {
    let server = shop().await;
    let never = "lifecycle: { updates: { compatibility: { \"3.0.0\": ^2 } } }\n";
    server.world.commands.register(bundle("stock", "3.0.0", never)).await.unwrap();
    let told = server.get("/v1/modules/shop/validation?version=1.0.0").await.json();
    assert_eq!((&told["id"], &told["valid"]), (&json!("shop"), &json!(false)));
    assert_eq!(told["obstacles"][0]["needs"], "stock");
    let from = async |version: &str| {
        let told = server.get(&format!("/v1/modules/stock/compatibility?from={version}")).await.json();
        (told["compatible"].clone(), told["way"]["kind"].clone())
    };
    assert_eq!(from("2.0.0").await, (json!(true), json!("direct")));
    assert_eq!(from("1.0.0").await, (json!(false), json!("none")));
    assert_eq!(server.get("/v1/modules/stock/compatibility").await.problem(), (400, "bad-request".into()));
    assert_eq!(server.get("/v1/modules/nobody/validation").await.problem(), (404, "not-registered".into()));
}

#[tokio::test]
async fn a_plan_is_told_and_nothing_is_done() {
    let server = shop().await;
    let plan = server.get("/v1/modules/stock/plan?version=2.0.0&strategy=instant").await;
    assert_eq!((plan.status, &plan.json()["confirmWindow"]), (200, &json!(10_000)));
    assert_eq!(server.world.fake.calls(), ["forecast stock@2.0.0"]);
    let plan = server.get("/v1/modules/stock/plan?version=2.0.0&set=shop@1.0.0;rival").await.json();
    assert_eq!(
        (&plan["id"], &plan["set"][0]["id"], &plan["set"][1]["version"]),
        (&json!("stock"), &json!("shop"), &json!("1.0.0"))
    );
    assert_eq!(server.get("/v1/modules/stock/plan?set=nobody").await.problem(), (404, "not-registered".into()));
    assert_eq!(server.get("/v1/modules/stock/plan?set=a@b").await.status, 400);
    assert_eq!(server.get("/v1/modules/stock/plan?strategy=slow").await.problem(), (400, "bad-request".into()));
}

#[tokio::test]
async fn compatible_versions_are_found_by_module_and_by_range() {
    let server = shop().await;
    let rows = server.get("/v1/modules/stock/versions?compatibleWith=1.0.0").await.json();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["version"]), (1, &json!("2.0.0")));
    let found = server.get("/v1/find?compatible=stock@%5E2;shop").await.json();
    let labels: Vec<_> = found.as_array().unwrap().iter().map(|row| (&row["id"], &row["version"])).collect();
    assert_eq!(labels, [(&json!("stock"), &json!("2.0.0")), (&json!("shop"), &json!("1.0.0"))]);
    assert_eq!(server.get("/v1/find?compatible=stock@%5E3").await.problem(), (404, "not-registered".into()));
    assert_eq!(server.get("/v1/find?compatible=stock@new").await.problem(), (400, "reference".into()));
    assert_eq!(server.get("/v1/modules/stock/versions?compatibleWith=1").await.status, 400);
}

#[tokio::test]
async fn what_cannot_be_is_a_conflict_and_what_is_not_there_not_found() {
    let server = shop().await;
    server
        .world
        .commands
        .register(bundle("mall", "1.0.0", "dependencies: [{ id: shop, version: ^7 }]\n"))
        .await
        .unwrap();
    assert_eq!(server.get("/v1/modules/mall/dependencies").await.problem(), (409, "unresolvable".into()));
    for path in ["dependencies", "conflicts", "plan", "why"] {
        assert_eq!(
            server.get(&format!("/v1/modules/nobody/{path}")).await.problem(),
            (404, "not-registered".into()),
            "{path}"
        );
        assert_eq!(server.get(&format!("/v1/modules/shop/{path}?version=1")).await.status, 400, "{path}");
    }
}
