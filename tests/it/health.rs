//! Health checks of a running server, as an operator sees them.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Module, Server};

/// Offers `shop.prices`, whose answer a client sets.
fn prices() -> Module {
    let script = r#"return {
  apis = { ["PUT /api/prices"] = function(req) kv.put("mode", req.body) return "" end },
  services = { ["shop.prices.ready"] = function()
    if kv.get("mode") == "down" then error("no prices") end
    return true
  end },
}"#;
    let capability = "capabilities:\n  - id: shop.prices\n    version: 1.0.0\n    category: shop\n";
    Module::new("prices", "1.0.0").api("/api/prices", "PUT").manifest(capability).lua(script)
}

/// Asks an endpoint of its own, and the service of the other module, in the short form.
fn shop() -> Module {
    let checks = "lifecycle:
  activation:
    healthChecks:
      - { endpoint: /health, interval: 100ms }
      - { service: shop.prices.ready, interval: 100ms, retries: 1, critical: false }
";
    let script = r#"#{ health: || "healthy" }"#;
    Module::new("shop", "1.0.0").needs("prices", "^1").manifest(checks).rhai(script)
}

/// The health of the shop once its status is this.
async fn comes_to(server: &Server, status: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let health = server.resource("/v1/modules/shop/health").await;
        if health["status"] == status {
            return health;
        }
        assert!(
            health["checks"].is_array() && Instant::now() < deadline,
            "{health} is not {status}: {}",
            server.logged()
        );
    }
}

#[tokio::test]
async fn a_service_that_begins_to_fail_degrades_who_asks_it_and_is_named() {
    let server = Server::with(&[prices(), shop()]).await;
    let health = comes_to(&server, "healthy").await;
    let checks = health["checks"].as_array().unwrap();
    let told = |check: &Value| format!("{} {} {}", check["id"], check["type"], check["status"]).replace('"', "");
    let all: Vec<String> = checks.iter().map(told).collect();
    assert_eq!(all, ["/health endpoint healthy", "shop.prices.ready service healthy"]);

    assert_eq!(server.send(server.request("PUT", "/api/prices").body("down")).await.status, 200);
    let health = comes_to(&server, "degraded").await;
    let check = &health["checks"][1];
    assert_eq!(check["status"], "unhealthy", "{health}");
    assert!(check["failures"].as_u64().unwrap() > 1, "one failure is within its retries: {health}");
    assert!(!check["detail"].as_str().unwrap().is_empty(), "{health}");
    let said = server.run(&["health", "shop"]).await;
    assert_eq!((said.code, &said.json()["status"]), (0, &"degraded".into()), "{said:?}");
    assert!(server.metrics().await.contains("replug_health{module=\"shop\",version=\"1.0.0\"} 0.5"));

    assert_eq!(server.send(server.request("PUT", "/api/prices").body("up")).await.status, 200);
    comes_to(&server, "healthy").await;
}
