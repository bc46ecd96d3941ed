//! Granting, narrowing, denying, forgetting.

use super::*;

const NETWORK: &str = "permissions: { system: { network: [{ host: \"*.x.org\" }] } }\n";

fn standing(world: &World, manifest: &Manifest) -> Vec<(String, Standing, Vec<String>)> {
    let rows = world.manager.show(manifest).permissions;
    rows.into_iter().map(|row| (row.permission, row.state, row.effective)).collect()
}

fn row(asked: &str, state: Standing, given: &[&str]) -> (String, Standing, Vec<String>) {
    (asked.to_owned(), state, given.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn narrowing_and_denying_meet_what_runs_at_its_next_call() {
    let world = World::new();
    let manifest = module("1.0.0", NETWORK);
    let live = world.open(&manifest);
    let may = |host: &str| live.grants().network("http.get", host, 443).map_err(|error| error.message);
    world.decide(&manifest, Ruling::Grant, &["system.network:*.x.org:443"]).await;
    assert_eq!((may("a.x.org"), may("b.x.org")), (Ok(()), Ok(())));
    world.decide(&manifest, Ruling::Narrow, &["system.network:a.x.org:443"]).await;
    assert_eq!(may("a.x.org"), Ok(()));
    assert_eq!(
        may("b.x.org").expect_err("narrowed away"),
        "permission denied: http.get: module.manifest.yaml:3 asks for system.network:*.x.org:443, which an administrator \
         narrowed to system.network:a.x.org:443 (here system.network:b.x.org:443); an administrator grants it: replug \
         permissions grant m 'system.network:*.x.org:443'"
    );
    world.decide(&manifest, Ruling::Deny, &["system.network:*.x.org:443"]).await;
    assert!(may("a.x.org").expect_err("denied").contains("which an administrator denied"));
    assert_eq!(standing(&world, &manifest), [row("system.network:*.x.org:443", Standing::Denied, &[])]);
}

#[tokio::test]
async fn a_version_that_asks_for_no_more_needs_no_new_decision_and_one_that_asks_for_more_waits() {
    let world = World::new();
    world.decide(&module("1.0.0", NETWORK), Ruling::Narrow, &["system.network:a.x.org:443"]).await;
    let less = module("1.1.0", "permissions: { system: { network: [{ host: b.x.org }, { host: a.x.org }] } }\n");
    assert_eq!(world.manager.admit(&less).await, Ok(()));
    let expected = [
        row("system.network:b.x.org:443", Standing::Denied, &[]),
        row("system.network:a.x.org:443", Standing::Granted, &["system.network:a.x.org:443"]),
    ];
    assert_eq!(standing(&world, &less), expected);
    let more = module("2.0.0", "permissions:\n  system:\n    network: [{ host: \"*.x.org\", ports: [443, 80] }]\n");
    let refused = world.manager.admit(&more).await.expect_err("it asks for more");
    assert_eq!(refused.line(), Some(5));
    assert_eq!(
        refused.to_string(),
        "m@2.0.0 asks for what nobody granted yet: system.network:*.x.org:80 (module.manifest.yaml:5); look at it and \
         grant it: replug permissions grant m@2.0.0"
    );
    world.manager.grant_all_asked(&more, Who::Admin).await.unwrap();
    assert_eq!(world.manager.admit(&more).await, Ok(()));
    // what was narrowed stays so: only what waited is granted
    let expected = [
        row("system.network:*.x.org:443", Standing::Narrowed, &["system.network:a.x.org:443"]),
        row("system.network:*.x.org:80", Standing::Granted, &["system.network:*.x.org:80"]),
    ];
    assert_eq!(standing(&world, &more), expected);
}

#[tokio::test]
async fn quotas_up_to_the_defaults_need_no_grant_and_above_them_the_default_holds_until_then() {
    let world = World::new();
    let low = module("1.0.0", "permissions: { resources: { storage: { max: 1MiB }, cpu: { maxCpuUsage: 0.5 } } }\n");
    assert_eq!(world.manager.admit(&low).await, Ok(()));
    assert_eq!(world.open(&low).grants().storage, 1 << 20);
    let high = module("1.0.0", "permissions: { resources: { storage: { max: 1GiB } } }\n");
    let live = world.open(&high);
    assert!(world.manager.admit(&high).await.is_err());
    assert_eq!(live.grants().storage, 64 << 20, "what everyone has");
    world.decide(&high, Ruling::Grant, &["resources.storage.max=1GiB"]).await;
    assert_eq!(live.grants().storage, 1 << 30);
    world.decide(&high, Ruling::Narrow, &["resources.storage.max=100MiB"]).await;
    assert_eq!(live.grants().storage, 100 << 20);
    world.decide(&high, Ruling::Deny, &["resources.storage.max=1GiB"]).await;
    assert_eq!(live.grants().storage, 64 << 20);
    world.decide(&high, Ruling::Narrow, &["resources.storage.max=1KiB"]).await;
    assert_eq!(live.grants().storage, 1 << 10, "less than the default, too");
    let own = world.manager.decide(&low, Ruling::Deny, &permissions(&["resources.storage.max=1MiB"]), Who::Admin).await;
    assert!(matches!(own, Err(PermissionError::Own { .. })), "{own:?}");
}

#[tokio::test]
async fn a_quota_that_is_not_asked_for_can_be_narrowed_and_then_throttles() {
    let world = World::new();
    let manifest = module("1.0.0", "permissions: { resources: { cpu: { cpuThrottlingEnabled: false } } }\n");
    let live = world.open(&manifest);
    world.decide(&manifest, Ruling::Narrow, &["resources.cpu.maxCpuUsage=0.25"]).await;
    let cpu = live.grants().effective().resources.cpu.clone();
    assert_eq!((cpu.max_cpu_usage, cpu.cpu_throttling_enabled), (Some(0.25), true));
    let expected =
        [row("resources.cpu.maxCpuUsage=unlimited", Standing::Narrowed, &["resources.cpu.maxCpuUsage=0.25"])];
    assert_eq!(standing(&world, &manifest), expected);
}

#[tokio::test]
async fn a_stack_is_narrowed_to_what_is_safe_and_no_further() {
    let world = World::new();
    let manifest = module("1.0.0", "permissions: { resources: { memory: { maxStackSize: 100MiB } } }\n");
    let live = world.open(&manifest);
    let stack = || script_limits(&manifest, &live.grants().effective().resources).stack_size() as u64;
    assert_eq!((world.manager.admit(&manifest).await, stack()), (Ok(()), 100 << 20), "it is less than the default");
    let little = permissions(&["resources.memory.maxStackSize=81919KiB"]);
    let refused = world.manager.decide(&manifest, Ruling::Narrow, &little, Who::Admin).await.expect_err("too little");
    assert_eq!(
        refused.to_string(),
        "resources.memory.maxStackSize=81919KiB is less than m@1.0.0 can do with: under its memory limit of 32MiB its \
         scripts need resources.memory.maxStackSize=80MiB at the least, so that no value overflows the stack"
    );
    assert_eq!((stack(), world.manager.revision("m"), world.told().await.len()), (100 << 20, 0, 0));
    world.decide(&manifest, Ruling::Narrow, &["resources.memory.maxStackSize=80MiB"]).await;
    assert_eq!(stack(), 80 << 20);
}

#[tokio::test]
async fn a_stack_that_was_narrowed_for_a_smaller_memory_limit_is_what_a_larger_one_needs() {
    let world = World::new();
    let small = module("1.0.0", "runtime: { limits: { memory: 1MiB } }\n");
    world.decide(&small, Ruling::Narrow, &["resources.memory.maxStackSize=20MiB"]).await;
    let stack = |manifest: &Manifest| world.open(manifest).grants().effective().resources.memory.max_stack_size;
    assert_eq!(stack(&small), Some(20 << 20));
    // both have 64 MiB where nobody narrows them
    let large = module("1.1.0", "runtime: { limits: { memory: 16MiB } }\n");
    assert_eq!(stack(&large), Some(48 << 20));
    let expected =
        row("resources.memory.maxStackSize=64MiB", Standing::Narrowed, &["resources.memory.maxStackSize=48MiB"]);
    assert_eq!(standing(&world, &large), [expected]);
}

#[test]
fn the_least_stack_of_a_manifest_is_what_script_hosts_need() {
    for memory in [1 << 20, 7 << 20, 32 << 20, 1 << 30] {
        let mut manifest = module("1.0.0", "");
        manifest.runtime.limits.memory = memory;
        assert_eq!(ResourceType::StackSize.least(&manifest), manifest.runtime.limits.least_stack());
        assert!(ResourceType::StackSize.default(&manifest) >= manifest.runtime.limits.least_stack());
    }
}

#[tokio::test]
async fn a_heap_that_follows_from_the_memory_of_a_vm_waits_at_that_line() {
    let world = World::new();
    let manifest = module("1.0.0", "runtime:\n  limits:\n    memory: 1GiB\n");
    let refused = world.manager.admit(&manifest).await.expect_err("it is above the default");
    assert_eq!(refused.line(), Some(5), "{refused}");
    assert!(refused.to_string().contains("resources.memory.maxHeapSize=1GiB (module.manifest.yaml:5)"), "{refused}");
}

#[tokio::test]
async fn a_decision_about_more_takes_the_place_of_those_about_less() {
    let world = World::new();
    let asks = "permissions: { system: { network: [{ host: a.x.org }, { host: \"*.x.org\" }] } }\n";
    let manifest = module("1.0.0", asks);
    world.decide(&manifest, Ruling::Deny, &["system.network:a.x.org:443"]).await;
    let decided = world.decide(&manifest, Ruling::Grant, &["system.network:*.x.org:443"]).await;
    assert_eq!(decided[0].replaces, permissions(&["system.network:a.x.org:443"]));
    let granted = [
        row("system.network:a.x.org:443", Standing::Granted, &["system.network:a.x.org:443"]),
        row("system.network:*.x.org:443", Standing::Granted, &["system.network:*.x.org:443"]),
    ];
    assert_eq!(standing(&world, &manifest), granted);
    let again = world.decide(&manifest, Ruling::Grant, &["system.network:*.x.org:443"]).await;
    assert_eq!(again, [], "it is decided so");
    assert_eq!(world.manager.revision("m"), 2);
}

#[tokio::test]
async fn what_is_not_asked_for_can_not_be_decided_and_nothing_changes() {
    let world = World::new();
    let manifest = module("1.0.0", NETWORK);
    let cases = [
        (Ruling::Grant, "system.network:y.org:443", "m@1.0.0 does not ask for system.network:y.org:443; it asks for"),
        (Ruling::Deny, "system.environment:HOME", "does not ask for"),
        (Ruling::Narrow, "system.network:*.org:443", "does not ask for"),
        (Ruling::Grant, "system.network:a.x.org:443", "to grant no more than that: replug permissions narrow m@1.0.0"),
        (Ruling::Narrow, "system.network:*.x.org:443", "so it narrows nothing"),
    ];
    for (ruling, text, expected) in cases {
        let all = permissions(&["system.network:*.x.org:443", text]);
        let texts = if ruling == Ruling::Narrow { &all[1..] } else { &all };
        let error = world.manager.decide(&manifest, ruling, texts, Who::Admin).await.expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
    }
    for ruling in [Ruling::Narrow, Ruling::Deny] {
        let error = world.manager.decide(&manifest, ruling, &[], Who::Admin).await;
        assert_eq!(error, Err(PermissionError::Nothing { module: "m@1.0.0".into() }));
    }
    assert_eq!(world.manager.revision("m"), 0);
    assert_eq!(standing(&world, &manifest), [row("system.network:*.x.org:443", Standing::Waiting, &[])]);
    assert_eq!(world.told().await, []);
}

#[tokio::test]
async fn decisions_outlive_the_process_with_who_and_when() {
    let world = World::new();
    let manifest = module("1.0.0", ASKS);
    world.manager.grant_all_asked(&manifest, Who::Host).await.unwrap();
    world.passes(7);
    world.decide(&manifest, Ruling::Narrow, &["system.network:a.x.org:443", "system.network:b.x.org:443"]).await;
    world.decide(&manifest, Ruling::Deny, &["system.environment:HOME"]).await;
    let before = world.manager.show(&manifest);
    let world = world.reopened().await;
    assert_eq!(world.manager.show(&manifest), before);
    let narrowed = before.permissions.iter().find(|row| row.state == Standing::Narrowed).unwrap();
    assert_eq!((narrowed.by, narrowed.at), (Some(Who::Admin), Some(1_000_007)));
    assert_eq!((before.revision, world.manager.waiting(&manifest).len()), (3, 0));
    let live = world.open(&manifest);
    assert!(live.grants().network("f", "a.x.org", 443).is_ok() && live.grants().network("f", "c.x.org", 443).is_err());
    assert!(live.grants().environment("f", "HOME").is_err());
}

#[tokio::test]
async fn a_decision_that_cannot_be_read_counts_as_none() {
    let world = World::new();
    let manifest = module("1.0.0", NETWORK);
    world.decide(&manifest, Ruling::Grant, &["system.network:*.x.org:443"]).await;
    let tree: crate::store::Tree<(String, String), u64> = world.store.tree("permissions");
    let mut batch = crate::store::Batch::new();
    batch.put(&tree, ("m", "system.network:*.x.org:443"), &7).unwrap();
    world.store.commit(batch).await.unwrap();
    drop(tree);
    let world = world.reopened().await;
    assert_eq!(world.manager.waiting(&manifest).len(), 1);
}

#[tokio::test]
async fn what_was_decided_about_a_module_is_forgotten_with_it() {
    let world = World::new();
    let manifest = module("1.0.0", NETWORK);
    world.decide(&manifest, Ruling::Grant, &["system.network:*.x.org:443"]).await;
    world.manager.forget("m", Who::Admin).await.unwrap();
    world.manager.forget("m", Who::Admin).await.unwrap();
    assert_eq!((world.manager.waiting(&manifest).len(), world.manager.revision("m")), (1, 2));
    let world = world.reopened().await;
    assert_eq!(world.manager.waiting(&manifest).len(), 1);
    world.decide(&manifest, Ruling::Grant, &["system.network:*.x.org:443"]).await;
    world.manager.keep_only(|id| id == "m").await.unwrap();
    assert_eq!(world.manager.waiting(&manifest), []);
    world.manager.keep_only(|_| false).await.unwrap();
    assert_eq!(world.manager.waiting(&manifest).len(), 1);
    let kinds: Vec<_> = world.told().await.into_iter().map(|(kind, subject, _)| format!("{kind} {subject}")).collect();
    let expected = ["permission-granted m@1.0.0", "permissions-forgotten m"];
    assert_eq!(kinds, [expected, expected].concat());
}

#[tokio::test]
async fn every_decision_is_in_the_audit_log_with_what_it_was_about() {
    let world = World::new();
    let manifest = module("1.0.0", NETWORK);
    world.decide(&manifest, Ruling::Grant, &["system.network:*.x.org:443"]).await;
    world.decide(&manifest, Ruling::Narrow, &["system.network:a.x.org:443"]).await;
    world.decide(&manifest, Ruling::Deny, &["system.network:*.x.org:443"]).await;
    let told = world.told().await;
    let kinds: Vec<_> = told.iter().map(|(kind, subject, _)| (kind.as_str(), subject.as_str())).collect();
    let kind = |name| (name, "m@1.0.0");
    assert_eq!(kinds, [kind("permission-granted"), kind("permission-narrowed"), kind("permission-denied")]);
    assert_eq!(told[1].2["to"], serde_json::json!(["system.network:a.x.org:443"]));
    assert!(told.iter().all(|(_, _, data)| data["permission"] == "system.network:*.x.org:443"), "{told:?}");
    assert_eq!(told[2].2["revision"], 3);
}

#[tokio::test]
async fn where_whatever_is_asked_is_granted_the_log_says_so() {
    let world = World::new();
    world.manager.grant_whatever_is_asked();
    let manifest = module("1.0.0", NETWORK);
    assert_eq!(world.manager.admit(&manifest).await, Ok(()));
    assert_eq!(world.told().await.len(), 1);
}

#[tokio::test]
async fn what_the_runtime_decided_is_forgotten_beside_what_others_did() {
    let world = World::new();
    let manifest = module("1.0.0", ASKS);
    let all = world.manager.waiting(&manifest).len();
    world.decide(&manifest, Ruling::Deny, &["system.environment:HOME"]).await;
    world.manager.grant_all_asked(&manifest, Who::Runtime).await.unwrap();
    let live = world.open(&manifest);
    assert!(live.grants().network("f", "a.x.org", 443).is_ok());
    for _ in 0..2 {
        world.manager.forget_by(Who::Runtime).await.unwrap();
        assert!(live.grants().network("f", "a.x.org", 443).is_err());
        assert_eq!((world.manager.waiting(&manifest).len(), world.manager.revision("m")), (all - 1, 3));
    }
    let world = world.reopened().await;
    let states = world.manager.show(&manifest).permissions.into_iter().map(|row| (row.state, row.by));
    let decided: Vec<_> = states.filter(|(_, by)| by.is_some()).collect();
    assert_eq!(decided, [(Standing::Denied, Some(Who::Admin))]);
}
