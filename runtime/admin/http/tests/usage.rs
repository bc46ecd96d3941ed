//! What modules use, as a resource.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn what_each_module_uses_is_told_beside_what_it_may() {
    let server = Server::with(&[("m", "1.0.0")]).await;
    server.post("/v1/modules/m/activate", json!({})).await;
    let account = server.world.accounts.of(&"m".into());
    account.counts.heap(4096);
    account.counts.cpu(Duration::from_millis(1500));
    account.counts.call();
    let usage = server.get("/v1/modules/m/usage").await;
    let nothing = json!({ "received": 0, "sent": 0 });
    let expected = json!({
        "id": "m", "memory": 4096, "peakMemory": 4096, "cpu": 0.0, "cpuMillis": 1500, "callRate": 0.0, "calls": 1,
        "requests": nothing, "network": nothing, "storage": { "kv": 0, "files": 0, "database": 0 },
        // nothing of it runs in this test
        "quotas": { "memory": null, "cpu": null, "bandwidth": null, "storage": null },
    });
    assert_eq!((usage.status, usage.json()), (200, expected.clone()));
    let all = server.get("/v1/usage").await.json();
    assert_eq!(all["modules"], json!([expected]));
    #[cfg(target_os = "linux")]
    assert!(all["process"]["memory"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{all}");
    assert_eq!(server.get("/v1/modules/nobody/usage").await.problem(), (404, "not-registered".into()));
}
