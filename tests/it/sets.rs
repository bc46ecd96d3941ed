//! Several modules activated as one, by the command line and over HTTP, with requests in between.

use serde_json::json;

use crate::support::{Module, Server};

/// `price` answers with its number, and `shop` says its own and what `price` says; each `shop` needs the `price` of its number.
fn pair(number: u32) -> [Module; 2] {
    let version = format!("{number}.0.0");
    let window = "lifecycle:\n  activation:\n    confirmWindow: 1h\n    trafficShifting: { interval: 20ms }\n";
    let price = format!("return {{ services = {{ ['price.of'] = function() return {number} end }} }}");
    let offers = format!("capabilities: [{{ id: price, version: {version} }}]\n{window}");
    let needs = format!("capabilities: [{{ id: sale, requirements: [\"price@^{number}\"] }}]\n{window}");
    let body = format!("return {{ body = '{number}:' .. services.call('price.of', {{}}) }}");
    [
        Module::new("price", &version).manifest(&offers).lua(&price),
        Module::handler("shop", &version, &body).manifest(&needs),
    ]
}

#[tokio::test]
async fn two_modules_are_promoted_and_returned_as_one() {
    let mut server = Server::with(&pair(1)).await;
    for module in pair(2) {
        server.ok(&["register", &server.write(&module)]).await;
    }
    for alone in ["shop@2.0.0", "price@2.0.0"] {
        let (kind, _) = server.run(&["activate", alone]).await.error();
        assert!(["obstructed", "needed"].contains(&kind.as_str()), "{alone}: {kind}");
    }
    let plan = server.ok(&["plan", "shop@2.0.0", "--set", "price@2.0.0"]).await;
    assert_eq!((&plan["refused"], &plan["weights"], &plan["set"][0]["id"]), (&json!([]), &json!([]), &json!("price")));
    let done = server.ok(&["activate", "shop@2.0.0", "--set", "price@2.0.0"]).await;
    let told = (&done["id"], &done["outcome"], &done["set"][0]["id"], &done["set"][0]["outcome"]);
    assert_eq!(told, (&json!("shop"), &json!("provisional"), &json!("price"), &json!("provisional")));
    assert_eq!(server.get("/api/shop").await.body, "2:2");
    let listed = server.ok(&["list"]).await;
    assert_eq!((&listed[0]["set"], &listed[1]["set"]), (&json!(["shop"]), &json!(["price"])));
    let (kind, message) = server.run(&["deactivate", "shop"]).await.error();
    assert!(kind == "in-set" && message.contains("price, shop"), "{message}");

    let back = server.ok(&["rollback", "price"]).await;
    let told = (&back["version"], &back["outcome"], &back["set"][0]["version"]);
    assert_eq!(told, (&json!("1.0.0"), &json!("active"), &json!("1.0.0")));
    assert_eq!(server.get("/api/shop").await.body, "1:1");

    // what is not confirmed does not outlive the runtime
    server.ok(&["activate", "price@2.0.0", "--set", "shop@2.0.0"]).await;
    assert_eq!(server.get("/api/shop").await.body, "2:2");
    server.kill();
    server.start().await;
    assert_eq!(server.get("/api/shop").await.body, "1:1");
    server.ok(&["activate", "price@2.0.0", "--set", "shop@2.0.0"]).await;
    let confirmed = server.ok(&["confirm", "shop"]).await;
    assert_eq!((&confirmed["id"], &confirmed["set"][0]["id"]), (&json!("shop"), &json!("price")));
    server.kill();
    server.start().await;
    assert_eq!(server.get("/api/shop").await.body, "2:2");
    let history = server.ok(&["history", "shop", "--limit", "10"]).await;
    let joined = history.as_array().unwrap().iter().find(|entry| entry["command"] == "activate").unwrap();
    assert_eq!(joined["set"], json!(["price@2.0.0", "shop@2.0.0"]));
}

#[tokio::test]
async fn a_set_of_which_one_fails_ends_with_3_and_nobody_meets_half_of_it() {
    let server = Server::with(&pair(1)).await;
    let [price, shop] = pair(2);
    let broken = Module::handler("shop", "2.0.1", "return {}")
        .manifest("capabilities: [{ id: sale, requirements: [\"price@^2\"] }]\n");
    let broken = broken.lua("return { init = function() error('no such table') end }");
    for module in [price, shop, broken] {
        server.ok(&["register", &server.write(&module)]).await;
    }
    let failed = server.run(&["activate", "price@2.0.0", "--set", "shop@2.0.1"]).await;
    let (kind, message) = failed.error();
    assert_eq!((failed.code, kind.as_str()), (3, "rolled-back"), "{message}");
    assert!(message.contains("shop@2.0.1: load"), "{message}");
    let swaps = async {
        for _ in 0..5 {
            server.ok(&["activate", "price@2.0.0", "--set", "shop@2.0.0"]).await;
            server.ok(&["rollback", "shop"]).await;
        }
    };
    tokio::pin!(swaps);
    let mut met = std::collections::BTreeMap::<String, u32>::new();
    loop {
        tokio::select! {
            () = &mut swaps => break,
            answer = server.get("/api/shop") => *met.entry(answer.body).or_default() += 1,
        }
    }
    assert!(met.len() == 2 && met.contains_key("1:1") && met.contains_key("2:2"), "{met:?}");
}
