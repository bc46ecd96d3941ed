//! Denials on their way to a real log.

use tempfile::TempDir;

use super::*;
use crate::store::audit::Row;

fn key() -> InstanceKey {
    InstanceKey { id: "m".into(), version: "1.0.0".into(), generation: 3 }
}

/// Reason and count of each entry, once all that was handed over is written.
async fn told(log: &AuditLog, denials: &DenialLog) -> Vec<(String, u64)> {
    denials.close().await;
    let mut rows = Vec::new();
    while (rows.len() as u64) < log.newest() {
        rows.extend(log.read(rows.len() as u64 + 1, 1000).await.unwrap());
    }
    let entry = |row: &Row| {
        let entry = row.entry().unwrap_or_else(|| panic!("{row:?}"));
        assert_eq!(entry.kind, Kind::CallDenied);
        let data: Value = serde_json::from_str(entry.data.get()).unwrap();
        (data["reason"].as_str().unwrap().to_owned(), data["count"].as_u64().unwrap())
    };
    rows.iter().map(entry).collect()
}

fn world() -> (TempDir, AuditLog, DenialLog) {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let denials = DenialLog::start(log.clone());
    (dir, log, denials)
}

#[tokio::test]
async fn a_loop_of_denials_is_one_entry_then_one_a_minute_and_one_at_the_end() {
    let (_dir, log, denials) = world();
    let of = Denials::new(denials.clone(), key());
    for _ in 0..10_000 {
        of.note(Who::Runtime, "http.get", "no", None, 1_000);
    }
    of.note(Who::Runtime, "http.get", "never", None, 1_000);
    of.flush(60_999);
    of.flush(61_000);
    of.flush(500_000);
    for _ in 0..5 {
        of.note(Who::Runtime, "http.get", "no", None, 130_000);
    }
    drop(of);
    let expected = [("no", 1), ("never", 1), ("no", 9_999), ("no", 1), ("no", 4)];
    assert_eq!(told(&log, &denials).await, expected.map(|(reason, count)| (reason.to_owned(), count)));
}

#[tokio::test]
async fn a_loop_that_finds_a_new_reason_each_time_is_not_told_apart_for_ever() {
    let (_dir, log, denials) = world();
    let of = Denials::new(denials.clone(), key());
    for n in 0..10_000 {
        of.note(Who::Runtime, "http.get", &format!("{}{n}", "x".repeat(10)), None, 1_000);
    }
    drop(of);
    let told = told(&log, &denials).await;
    assert_eq!(told.len(), REASONS + 2);
    let total: u64 = told.iter().map(|(_, count)| count).sum();
    assert_eq!((total, told.last().map(|(reason, _)| reason.as_str())), (10_000, Some(OTHERS)));
}

#[tokio::test]
async fn a_reason_is_bounded_whatever_a_script_puts_into_it() {
    let (_dir, log, denials) = world();
    let of = Denials::new(denials.clone(), key());
    let long = "ä".repeat(1 << 20);
    of.note(Who::Runtime, "fs.read", &long, None, 1_000);
    of.note(Who::Runtime, "fs.read", &format!("{long}x"), None, 1_000);
    drop(of);
    let told = told(&log, &denials).await;
    assert_eq!(told, [("ä".repeat(LONGEST), 1), ("ä".repeat(LONGEST), 1)]);
}

#[tokio::test]
async fn what_comes_faster_than_the_log_is_dropped_counted_and_told() {
    // nothing is written before this task gives way
    let (_dir, log, denials) = world();
    for n in 0..WAITING as u64 + 500 {
        let entry = Entry::new(Kind::CallDenied, Who::Runtime, "m@1.0.0");
        denials.note(entry.with(json!({ "reason": n.to_string(), "count": 1 })));
    }
    assert_eq!(denials.dropped(), 500);
    let told = told(&log, &denials).await;
    assert_eq!(told.len(), WAITING + 1);
    assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), WAITING as u64 + 500);
    assert_eq!(denials.dropped(), 0);
}
