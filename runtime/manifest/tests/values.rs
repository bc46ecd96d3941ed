//! What each key means once it is read.

use std::time::Duration;

use super::super::*;
use super::good;

/// Every key of a manifest, each with a value that is not its default.
const FULL: &str = r#"
id: full
name: Everything
version: 2.0.0-rc.1+dev.1
description: |
  Two
  lines.
author: A
license: MIT
capabilities:
  - id: reports
    name: Reports
    description: d
    version: 1.1.0
    category: data
    requirements: [sql, "mail@^2", { capability: push, version: "1", required: false }]
    interfaces: [list, { name: edit, description: e, methods: [add, remove] }]
dependencies: [{ id: database, version: ">=1, <3", required: false }]
conflicts: [old-reports, "mailer@<2"]
routes:
  - { path: "/r/{id}", component: Report, permissions: [r.view], title: One }
  - { path: /r, component: Chart, navigation: { visible: false, label: All, order: -3 } }
  - { path: /s, component: Other, navigation: Others }
components:
  - { id: Report, type: page, description: p }
  - { id: Chart, file: ui/chart.js, tag: r-chart }
apis:
  - { path: "/api/r/{*rest}", methods: [GET, DELETE], permissions: [r.edit], description: x }
database:
  migrations:
    - { version: 1.0.0, file: a.sql, down: b.sql }
    - { version: 1.1.0, file: c.sql, irreversible: true }
config:
  schema:
    size: { type: integer, default: 5, min: 1, max: 9.5, description: s }
    mode: { type: string, enum: [fast, slow], required: true }
    token: { type: string, secret: true }
    tags: { type: array, items: string, default: [a], max: 3 }
  permissions: [r.view, r.edit]
configSchema:
  extra: { type: object }
defaultConfig:
  extra: { a: [1, 2.5, null, true] }
runtime:
  entry: src/app.lua
  workers: 4
  concurrency: 8
  limits: { ticks: 2000, cpuTime: 100, wallTime: 2m, memory: 64MiB, queue: 10 }
  supervision: { strategy: rest_for_one, intensity: 0, period: 1h }
  actors: [{ id: counter, restart: transient, mailbox: 5 }, { id: b, restart: temporary }]
permissions:
  system:
    database: [{ module: caller, access: write }]
    filesystem: [{ path: data/in }, { path: ., access: write }]
    network: [{ host: "*.x.org", ports: [80, 443] }, { host: y.org }]
    environment: [HOME]
  application:
    routes: [/x/*]
    apis: ["/api/x/{id}"]
    components: [X]
    configurations: [{ module: x, keys: [a] }]
  resources:
    memory:
      maxHeapSize: 1GiB
      maxStackSize: 144MiB
      garbageCollectionThreshold: 512KiB
      memoryLeakDetection: true
      memoryUsageMonitoring: false
    cpu: { maxCpuUsage: 0.5, cpuQuotaPeriod: 50ms, cpuThrottlingEnabled: false, cpuMonitoringEnabled: false }
    storage: { max: 1KB }
    network: { allowedHosts: [y.org], allowedPorts: [443], maxBandwidth: 1MB, connectionLimit: 2, sslRequired: true }
lifecycle:
  activation:
    strategy: gradual
    timeout: 1m
    healthChecks:
      - { id: up, type: endpoint, config: { path: /up }, timeout: 1s, interval: 2s, retries: 0, critical: false }
      - { type: database }
      - { service: reports.ping }
      - { custom: mine }
    rollbackTriggers:
      - activationTimeout
      - { type: errorRateExceeded, threshold: 0.25, afterConfirm: rollback }
      - { type: responseTimeExceeded, threshold: 2s }
    trafficShifting: { initial: 5, increment: 60, interval: 1s }
    stickyBy: header:X-Client
    onPass: hold
    onInconclusive: hold
  deactivation: { strategy: immediate, timeout: 1, cleanup: [clearCache, flushAll] }
  rollback: { timeout: 2h, preserveData: false, notificationChannels: [log, events, "https://x.org/hook?a=b"] }
  updates:
    supported: false
    migrationPaths: [{ from: "^1", via: [1.5.0], to: 2.0.0 }]
    compatibility: { 2.0.0: ">=1.5" }
metadata: { tier: 1, tags: [a, { b: c }] }
"#;

fn full() -> Manifest {
    // Two hours are more than a rollback may take; the rest of the text is as it should be.
    good(&FULL.replace("timeout: 2h", "timeout: 45m")).manifest
}

#[test]
fn every_key_has_its_meaning() {
    let m = full();
    assert_eq!(m.version.to_string(), "2.0.0-rc.1+dev.1");
    assert_eq!(m.description, "Two\nlines.\n");
    let requirements: Vec<_> =
        m.capabilities[0].requirements.iter().map(|r| format!("{}@{}", r.capability, r.version)).collect();
    assert_eq!(requirements, ["sql@*", "mail@^2", "push@^1"]);
    assert_eq!(m.capabilities[0].interfaces[0].methods, ["list"]);
    assert_eq!(m.conflicts[0].range, None);
    assert_eq!(m.conflicts[1].range.as_ref().map(ToString::to_string).as_deref(), Some("<2"));
    let listed: Vec<_> = m.routes.iter().map(|r| (r.navigation.visible, r.navigation.label.as_deref())).collect();
    assert_eq!(listed, [(false, None), (false, Some("All")), (true, Some("Others"))]);
    assert_eq!(m.components[1].kind, ComponentKind::Element);
    assert_eq!(m.config.defaults().keys().map(String::as_str).collect::<Vec<_>>(), ["extra", "size", "tags"]);
    assert_eq!(m.config.schema["extra"].default, Some(serde_json::json!({ "a": [1, 2.5, null, true] })));
    assert_eq!(m.runtime.limits.cpu_time, Duration::from_millis(100));
    assert_eq!(m.runtime.limits.wall_time, Duration::from_secs(120));
    assert_eq!(m.runtime.actors[1].mailbox, 1000);
    assert_eq!(m.permissions.system.network[1].ports, [443]);
    assert_eq!(m.permissions.system.filesystem[0].access, Access::Read);
    assert_eq!(m.permissions.system.filesystem[1].path, ".");
    assert_eq!(m.permissions.resources.storage.max, 1000);
    assert_eq!(m.permissions.resources.memory.garbage_collection_threshold, Some(512 << 10));
    let Lifecycle { activation, deactivation, rollback, updates } = &m.lifecycle;
    let ids: Vec<_> = activation.health_checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(ids, ["up", "database", "reports.ping", "mine"]);
    assert_eq!(activation.rollback_triggers[1].threshold, Some(Threshold::Ratio(0.25)));
    assert_eq!(activation.rollback_triggers[2].threshold, Some(Threshold::Time(Duration::from_secs(2))));
    assert_eq!(activation.traffic_shifting.max_increment, 60);
    assert_eq!(activation.sticky_by, StickyBy::Header("x-client".to_owned()));
    assert_eq!(deactivation.script_cleanups().collect::<Vec<_>>(), ["flushAll"]);
    assert_eq!(rollback.notification_channels[2], NotificationChannel::Webhook("https://x.org/hook?a=b".to_owned()));
    assert_eq!(updates.compatibility.len(), 1);
    assert_eq!(m.metadata["tags"][1]["b"], "c");
}

#[test]
fn a_serialized_manifest_loads_as_the_same_manifest() {
    for manifest in [full(), good(super::sample::SAMPLE).manifest, good("id: m\nversion: 1.0.0\n").manifest] {
        let json = serde_json::to_string_pretty(&manifest).unwrap();
        assert_eq!(good(&json).manifest, manifest);
    }
}

#[test]
fn the_strategy_decides_timeout_and_triggers_unless_they_are_given() {
    let instant = good("id: m\nversion: 1.0.0\nlifecycle: { activation: { strategy: instant } }\n");
    let activation = instant.manifest.lifecycle.activation;
    assert_eq!(activation.timeout, Duration::from_secs(10));
    let kinds: Vec<_> = activation.rollback_triggers.iter().map(|trigger| trigger.kind).collect();
    assert_eq!(kinds, [TriggerKind::ActivationTimeout, TriggerKind::CriticalError]);
}

#[test]
fn the_heaps_default_holds_one_vm_at_least() {
    let large = good("id: m\nversion: 1.0.0\nruntime: { limits: { memory: 512MiB } }\n").manifest;
    assert_eq!(large.permissions.resources.memory.max_heap_size, 512 << 20);
}

#[test]
fn aliases_and_numbers_in_every_notation_are_read() {
    let text = "id: m\nversion: 1.0.0\nruntime: { workers: 0x10, limits: { ticks: 0o10000, queue: +7, streams: 9 } }\n\
                metadata: { a: &x [1, -2, 1e3, .5, 1_000, 0x, 1.2.3, '1'], b: *x }\n";
    let m = good(text).manifest;
    let limits = &m.runtime.limits;
    assert_eq!((m.runtime.workers, limits.ticks, limits.queue, limits.streams), (16, 4096, 7, 9));
    assert_eq!(m.metadata["b"], serde_json::json!([1, -2, 1000.0, 0.5, "1_000", "0x", "1.2.3", "1"]));
}

#[test]
fn a_setting_admits_what_its_schema_says() {
    let m = full();
    let admits = |key: &str, value: serde_json::Value| m.config.schema[key].admits(&value).err();
    assert_eq!(admits("size", 9.into()), None);
    assert_eq!(admits("size", 10.into()).as_deref(), Some("must be at most 9.5, found 10"));
    assert_eq!(admits("size", 1.5.into()).as_deref(), Some("must be a whole number, found 1.5"));
    assert_eq!(admits("mode", "fast".into()), None);
    assert_eq!(admits("mode", "fats".into()).as_deref(), Some("must be one of \"fast\", \"slow\", found \"fats\""));
    assert_eq!(admits("tags", serde_json::json!(["a", 1])).as_deref(), Some("item 1 must be a string, found 1"));
    let four = serde_json::json!(["a", "b", "c", "d"]);
    assert_eq!(admits("tags", four).as_deref(), Some("must be at most 3 items long, found 4"));
}
