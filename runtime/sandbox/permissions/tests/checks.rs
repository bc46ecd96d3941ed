//! The manager's questions: permissions with a context, and quotas.

use std::time::{Duration, Instant};

use replug_scripts::CallContext;

use super::*;
use crate::store::KvEntry;

fn call() -> CallContext {
    CallContext {
        module: "m".into(),
        version: "1.0.0".into(),
        request_id: "r-7".into(),
        caller: Some("shop".into()),
        deadline: Instant::now() + Duration::from_secs(1),
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    }
}

#[tokio::test]
async fn a_denied_question_is_told_with_its_context_and_an_allowed_one_only_counted() {
    let world = World::new();
    let manifest = module("1.0.0", "permissions: { system: { environment: [HOME] } }\n");
    let live = world.open(&manifest);
    world.manager.grant_all_asked(&manifest, Who::Admin).await.unwrap();
    let context = PermissionContext::of("env.get", &call());
    let ask = |name: &str| world.manager.check_permission("m", &Permission::Environment(name.into()), &context);
    assert!(ask("HOME").is_granted() && ask("HOME").is_granted());
    let PermissionResult::Denied { reason } = ask("PATH") else { panic!("it is not asked for") };
    assert!(reason.starts_with("permission denied: env.get: "), "{reason}");
    let other = PermissionContext { version: Some("2.0.0".into()), ..context.clone() };
    let of_other = world.manager.check_permission("m", &permission("system.environment:HOME"), &other);
    assert!(!of_other.is_granted(), "that version does not run");
    let text = world.metrics.render();
    let line =
        |outcome| format!("replug_permission_checks_total{{module=\"m\",outcome=\"{outcome}\",version=\"1.0.0\"}} ");
    assert!(
        text.contains(&format!("{}2", line("allowed"))) && text.contains(&format!("{}1", line("denied"))),
        "{text}"
    );
    drop(live);
    let told = world.told().await;
    let (kind, subject, data) = &told[1];
    assert_eq!((kind.as_str(), subject.as_str(), told.len()), ("call-denied", "m@1.0.0", 2));
    let expected = serde_json::json!({ "call": "env.get", "reason": reason, "requestId": "r-7", "caller": "shop",
        "principal": null, "generation": 1, "count": 1 });
    assert_eq!(*data, expected);
}

#[tokio::test]
async fn a_quota_counts_what_is_used_already_and_what_is_narrowed() {
    let world = World::new();
    let manifest = module("1.0.0", "permissions: { resources: { storage: { max: 1KiB } } }\n");
    let live = world.open(&manifest);
    let (kv, quota) = (world.kv.clone(), live.grants().storage);
    let put = tokio::task::spawn_blocking(move || kv.put("m", "k", KvEntry::new(vec![b'1'; 600]), quota, 1)).await;
    put.unwrap().unwrap();
    let used = world.kv.used("m").unwrap();
    let manager = &world.manager;
    assert!(used >= 600 && manager.check_resource_quota("m", ResourceType::Storage, 1024 - used));
    assert!(!manager.check_resource_quota("m", ResourceType::Storage, 1025 - used));
    let exceeded = manager.enforce_resource_quota("m", ResourceType::Storage, 1024).expect_err("it is too much");
    assert_eq!((exceeded.wanted, exceeded.quota), (used + 1024, 1024));
    assert!(exceeded.to_string().contains("of resources.storage.max, more than its quota of 1KiB"), "{exceeded}");
    world.decide(&manifest, Ruling::Narrow, &["resources.storage.max=512"]).await;
    assert!(!manager.check_resource_quota("m", ResourceType::Storage, 0), "more is used than is left");
    // nobody measures these: the amount alone counts
    assert_eq!(manager.enforce_resource_quota("m", ResourceType::Connections, 8), Ok(()));
    assert!(manager.enforce_resource_quota("m", ResourceType::Connections, 9).is_err());
    assert_eq!(manager.enforce_resource_quota("m", ResourceType::CpuUsage, u64::MAX), Ok(()), "it has no bound");
    assert!(!manager.check_resource_quota("n", ResourceType::Connections, 1), "what does not run may use nothing");
    manager.log_resource_usage("m", ResourceType::Connections, 3);
    let line = "replug_resource_usage{module=\"m\",resource=\"resources.network.connectionLimit\",version=\"1.0.0\"} 3";
    assert!(world.metrics.render().contains(line), "{}", world.metrics.render());
}
