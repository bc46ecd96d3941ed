//! What scripts may make of `/metrics`.

use super::*;
use crate::monitor::Metrics;

fn key(module: &str, version: &str) -> InstanceKey {
    InstanceKey { id: module.into(), version: version.into(), generation: 1 }
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_kind_is_shown_with_its_labels_and_goes_with_its_version() {
    let metrics = Metrics::default();
    let (one, other) = (key("shop", "1.0.0"), key("shop", "2.0.0"));
    for instance in [&one, &other] {
        for _ in 0..2 {
            metrics.sample(instance, SampleKind::Count, "orders", 1.5, labels(&[("kind", "a\"b\n")])).unwrap();
        }
        metrics.sample(instance, SampleKind::Gauge, "stock", -3.0, Vec::new()).unwrap();
        metrics.sample(instance, SampleKind::Observe, "wait_seconds", 0.02, Vec::new()).unwrap();
    }
    let text = metrics.render();
    for line in [
        "# TYPE replug_module_orders_total counter",
        "replug_module_orders_total{kind=\"a\\\"b\\n\",module=\"shop\",version=\"1.0.0\"} 3",
        "replug_module_stock{module=\"shop\",version=\"2.0.0\"} -3",
        "replug_module_wait_seconds_bucket{module=\"shop\",version=\"1.0.0\",le=\"0.025\"} 1",
        "replug_module_wait_seconds_count{module=\"shop\",version=\"1.0.0\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(text.matches("# TYPE replug_module_orders_total").count(), 1, "{text}");
    metrics.forget("shop", "1.0.0");
    let text = metrics.render();
    assert!(!text.contains("version=\"1.0.0\"") && text.contains("replug_module_stock{"), "{text}");
}

#[test]
fn what_no_scraper_would_read_is_refused() {
    let long = "x".repeat(65);
    let names = ["", "1a", "a-b", "A", "a b", "ä", "a{", "a\n", "_a", "storage_bytes", "x_bucket", "x_sum", &long];
    for name in names {
        for kind in [SampleKind::Count, SampleKind::Gauge, SampleKind::Observe] {
            let metrics = Metrics::default();
            assert!(metrics.sample(&key("a", "1"), kind, name, 1.0, Vec::new()).is_err(), "{name:?} {kind}");
        }
    }
    let metrics = Metrics::default();
    let long = "x".repeat(129);
    let seven: Vec<_> = (0..7).map(|n| (format!("l{n}"), String::new())).collect();
    let bad = [
        labels(&[("module", "other")]),
        labels(&[("version", "9")]),
        labels(&[("le", "1")]),
        labels(&[("A", "1")]),
        labels(&[("a\"", "1")]),
        labels(&[("a", &long)]),
        seven,
    ];
    for labels in bad {
        assert!(metrics.sample(&key("a", "1"), SampleKind::Gauge, "x", 1.0, labels.clone()).is_err(), "{labels:?}");
    }
    for (kind, value) in [
        (SampleKind::Count, -1.0),
        (SampleKind::Count, f64::NAN),
        (SampleKind::Gauge, f64::INFINITY),
        (SampleKind::Observe, f64::NAN),
    ] {
        assert!(metrics.sample(&key("a", "1"), kind, "x", value, Vec::new()).is_err(), "{kind} {value}");
    }
    assert!(metrics.sample(&key("a", "1"), SampleKind::Gauge, "x_total", 1.0, Vec::new()).is_err());
    assert!(!metrics.render().contains("replug_module_"), "{}", metrics.render());
}

#[test]
fn a_name_has_one_kind_whoever_uses_it() {
    let metrics = Metrics::default();
    metrics.sample(&key("a", "1"), SampleKind::Gauge, "x", 1.0, Vec::new()).unwrap();
    // a counter of that name is another metric
    metrics.sample(&key("a", "1"), SampleKind::Count, "x", 1.0, Vec::new()).unwrap();
    let error = metrics.sample(&key("b", "1"), SampleKind::Observe, "x", 1.0, Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "`x` is a gauge of module a already; choose another name");
    metrics.forget("a", "1");
    metrics.sample(&key("b", "1"), SampleKind::Observe, "x", 1.0, Vec::new()).unwrap();
}

#[test]
fn a_flood_of_names_or_labels_is_dropped_and_counted_and_hurts_nobody_else() {
    let metrics = Metrics::default();
    let take = |module: &str, name: &str, label: &str| {
        metrics.sample(&key(module, "1"), SampleKind::Gauge, name, 1.0, labels(&[("l", label)])).unwrap()
    };
    let kept = (0..2 * MAX_SERIES).filter(|n| take("a", "x", &n.to_string())).count();
    assert_eq!(kept, MAX_SERIES);
    assert!(take("a", "x", "0"), "a series that is there goes on");
    let kept = (0..2 * MAX_NAMES).filter(|n| take("b", &format!("x{n}"), "")).count();
    assert_eq!(kept, MAX_NAMES);
    assert!(take("c", "y", "1"));
    let text = metrics.render();
    let line = format!("replug_dropped_samples_total{{module=\"a\",version=\"1\"}} {MAX_SERIES}");
    assert!(text.contains(&line), "{text}");
    metrics.forget("a", "1");
    assert!(!metrics.render().contains("module=\"a\""));
}
