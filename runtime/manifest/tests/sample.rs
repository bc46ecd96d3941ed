//! The specification's sample loads byte for byte, and means what the design says.

use std::path::Path;
use std::time::Duration;

use super::super::*;
use super::good;

pub(super) const SAMPLE: &str = include_str!("../../../modules/analytics-advanced/module.manifest.yaml");

#[test]
fn the_sample_is_the_specifications() {
    let specification = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/spec/hot-pluggable-modules.md");
    // Only where the specification lies beside the checkout.
    if let Ok(specification) = std::fs::read_to_string(specification) {
        assert!(specification.contains(&format!("```yaml\n{SAMPLE}```\n")), "the sample was edited");
    }
    assert_eq!(SAMPLE.len(), 1625);
    assert_eq!(SAMPLE.lines().next(), Some("# module.manifest.yaml"));
}

#[test]
fn the_sample_means_what_it_says() {
    let Loaded { manifest, warnings, .. } = good(SAMPLE);
    assert_eq!(warnings, []);
    assert_eq!(manifest.label(), "analytics-advanced@1.2.0");
    assert_eq!(manifest.name, "Advanced Analytics");
    assert_eq!(manifest.description, "Comprehensive analytics and reporting module");
    assert_eq!((manifest.author.as_str(), manifest.license.as_str()), ("DCT Platform Team", "MIT"));
    let capabilities: Vec<_> = manifest.capabilities.iter().map(|c| (c.id.as_str(), c.category.as_str())).collect();
    assert_eq!(capabilities, [("analytics.reporting", "analytics"), ("analytics.dashboard", "ui")]);
    let needs: Vec<_> =
        manifest.dependencies.iter().map(|d| format!("{}@{} {}", d.id, d.version, d.required)).collect();
    assert_eq!(needs, ["database@>=1.0.0 true", "authentication@>=2.0.0 true"]);
    let pages: Vec<_> = manifest.routes.iter().map(|r| (r.path.as_str(), r.component.as_str())).collect();
    assert_eq!(pages, [("/analytics/dashboard", "AnalyticsDashboard"), ("/analytics/reports", "ReportsList")]);
    assert!(manifest.component_ids().into_iter().eq(["AnalyticsDashboard", "ReportsList"]));
    assert_eq!(manifest.apis[0].methods, ["GET", "POST"]);
    assert_eq!(manifest.apis[1].permissions, ["analytics.metrics"]);
    let migrations = manifest.database.as_ref().map(|database| database.migrations.len());
    assert_eq!(migrations, Some(2));
    assert_eq!(manifest.config.permissions.len(), 4);
    let interval = &manifest.config.schema["refreshInterval"];
    assert_eq!((interval.kind, interval.min, interval.max), (ConfigKind::Number, Some(60.0), Some(3600.0)));
    assert_eq!(manifest.config.defaults()["refreshInterval"], 300);
    let Lifecycle { activation, deactivation, .. } = &manifest.lifecycle;
    assert_eq!((activation.strategy, activation.timeout), (ActivationStrategy::Gradual, Duration::from_secs(30)));
    let checks: Vec<_> = activation.health_checks.iter().map(|c| (c.id.as_str(), c.kind.clone(), c.timeout)).collect();
    let endpoint = HealthCheckKind::Endpoint { path: "/health".to_owned() };
    assert_eq!(
        checks,
        [
            ("/health", endpoint, Duration::from_secs(5)),
            ("analytics_tables", HealthCheckKind::Database, Duration::from_secs(10)),
        ]
    );
    assert_eq!(deactivation.timeout, Duration::from_secs(15));
    assert_eq!(deactivation.cleanup, Deactivation::BUILT_IN_CLEANUPS);
    assert_eq!(deactivation.script_cleanups().count(), 0);
}

#[test]
fn what_the_sample_leaves_out_has_the_documented_defaults() {
    let Manifest { runtime, permissions, lifecycle, conflicts, components, metadata, .. } = good(SAMPLE).manifest;
    assert_eq!(runtime, RuntimeSpec::default());
    assert_eq!(runtime.limits.memory, 32 << 20);
    assert_eq!(permissions, Permissions::default());
    assert_eq!(permissions.resources.storage.max, 64 << 20);
    assert_eq!(lifecycle.rollback, Rollback::default());
    assert_eq!(lifecycle.updates, Updates::default());
    assert_eq!(lifecycle.activation.traffic_shifting, TrafficShifting::default());
    assert_eq!(lifecycle.activation.rollback_triggers.len(), 3);
    assert!(conflicts.is_empty() && components.is_empty() && metadata.is_empty());
}

#[test]
fn sections_left_out_and_sections_left_empty_are_the_same() {
    let empty = "id: m\nversion: 1.0.0\nruntime: {}\npermissions:\nconfig: {}\n\
                 lifecycle: { activation: {}, deactivation: {}, rollback: {}, updates: {} }\n";
    assert_eq!(good(empty).manifest, good("id: m\nversion: 1.0.0\n").manifest);
}
