//! Incidents on their way to a real log.

use replug_scripts::CallContext;
use serde_json::Value;
use tempfile::TempDir;

use super::incidents::{LONGEST, NAMES, OTHERS};
use super::*;
use crate::monitor::InstanceKey;
use crate::store::audit::{Row, verify};

fn key() -> InstanceKey {
    InstanceKey { id: "m".into(), version: "1.0.0".into(), generation: 3 }
}

struct World {
    dir: TempDir,
    log: AuditLog,
    incidents: IncidentLog,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let incidents = IncidentLog::start(log.clone());
        Self { dir, log, incidents }
    }

    fn of_instance(&self) -> Incidents {
        Incidents::new(self.incidents.clone(), &key())
    }

    /// Kind, reason and count of each entry, once all that was handed over is written.
    async fn told(&self) -> Vec<(Kind, String, u64)> {
        self.incidents.close().await;
        let mut rows = Vec::new();
        while (rows.len() as u64) < self.log.newest() {
            rows.extend(self.log.read(rows.len() as u64 + 1, 1000).await.unwrap());
        }
        let entry = |row: &Row| {
            let entry = row.entry().unwrap_or_else(|| panic!("{row:?}"));
            let data: Value = serde_json::from_str(entry.data.get()).unwrap();
            (entry.kind, data["reason"].as_str().unwrap_or_default().to_owned(), data["count"].as_u64().unwrap())
        };
        rows.iter().map(entry).collect()
    }
}

fn meet(of: &Incidents, kind: Kind, name: &str, now: u64) {
    let incident = Incident { kind, who: Who::Runtime, name, call: None::<&CallContext> };
    of.note(&incident, now, |name| json!({ "reason": name }));
}

fn deny(of: &Incidents, name: &str, now: u64) {
    meet(of, Kind::CallDenied, name, now);
}

#[tokio::test]
async fn a_loop_of_incidents_is_one_entry_then_one_a_minute_and_one_at_the_end() {
    let world = World::new();
    let of = world.of_instance();
    for _ in 0..10_000 {
        deny(&of, "no", 1_000);
    }
    deny(&of, "never", 1_000);
    of.flush(60_999);
    of.flush(61_000);
    of.flush(500_000);
    for _ in 0..5 {
        deny(&of, "no", 130_000);
    }
    drop(of);
    let expected = [("no", 1), ("never", 1), ("no", 9_999), ("no", 1), ("no", 4)];
    let expected = expected.map(|(reason, count)| (Kind::CallDenied, reason.to_owned(), count));
    assert_eq!(world.told().await, expected);
    assert_eq!(verify(world.dir.path()).expect("it is whole").entries, 5);
}

#[tokio::test]
async fn a_loop_that_finds_a_new_reason_each_time_is_not_told_apart_for_ever() {
    let world = World::new();
    let of = world.of_instance();
    for n in 0..10_000 {
        deny(&of, &format!("{}{n}", "x".repeat(10)), 1_000);
    }
    drop(of);
    let told = world.told().await;
    assert_eq!(told.len(), NAMES + 2);
    let total: u64 = told.iter().map(|(_, _, count)| count).sum();
    assert_eq!((total, told.last().map(|(_, reason, _)| reason.as_str())), (10_000, Some(OTHERS)));
}

#[tokio::test]
async fn a_flood_of_one_kind_hides_no_other_and_the_same_name_of_another_kind_is_another() {
    let world = World::new();
    let of = world.of_instance();
    for n in 0..10_000 {
        deny(&of, &n.to_string(), 1_000);
    }
    for _ in 0..3 {
        meet(&of, Kind::LimitExceeded, "0", 1_000);
    }
    drop(of);
    let mut told = world.told().await;
    told.retain(|(kind, ..)| *kind == Kind::LimitExceeded);
    assert_eq!(told, [(Kind::LimitExceeded, "0".to_owned(), 1), (Kind::LimitExceeded, "0".to_owned(), 2)]);
}

#[tokio::test]
async fn a_reason_is_bounded_whatever_a_script_puts_into_it() {
    let world = World::new();
    let of = world.of_instance();
    let long = "ä".repeat(1 << 20);
    deny(&of, &long, 1_000);
    deny(&of, &format!("{long}x"), 1_000);
    drop(of);
    let expected = (Kind::CallDenied, "ä".repeat(LONGEST), 1);
    assert_eq!(world.told().await, [expected.clone(), expected]);
}

#[tokio::test]
async fn what_comes_faster_than_the_log_is_dropped_counted_and_told() {
    // nothing is written before this task gives way
    let world = World::new();
    for n in 0..WAITING as u64 + 500 {
        let entry = Entry::new(Kind::CallDenied, Who::Runtime, "m@1.0.0");
        world.incidents.note(entry.with(json!({ "reason": n.to_string(), "count": 2 })), 2);
    }
    assert_eq!(world.incidents.dropped(), 1000);
    let told = world.told().await;
    assert_eq!(
        (told.len(), told.iter().filter(|(kind, ..)| *kind == Kind::IncidentsDropped).count()),
        (WAITING + 1, 1)
    );
    assert_eq!(told.iter().map(|(_, _, count)| count).sum::<u64>(), 2 * (WAITING as u64 + 500));
    assert_eq!(world.incidents.dropped(), 0);
}

#[tokio::test]
async fn what_a_copy_of_a_request_met_says_so_and_is_no_repeat_of_what_clients_did() {
    let world = World::new();
    let instance = world.of_instance();
    let call = CallContext {
        module: "m".into(),
        version: "1.0.0".into(),
        request_id: "r".into(),
        caller: None,
        deadline: std::time::Instant::now(),
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    };
    let copy = CallContext { mirrored: Some(Arc::default()), ..call.clone() };
    for call in [&call, &copy, &copy] {
        let incident = Incident { kind: Kind::CallDenied, who: Who::Runtime, name: "no", call: Some(call) };
        instance.note(&incident, 0, |name| json!({ "reason": name }));
    }
    drop(instance);
    assert_eq!(world.told().await.iter().map(|told| told.2).collect::<Vec<_>>(), [1, 1, 1]);
    let rows = world.log.read(1, 1000).await.unwrap();
    let marked = |row: &Row| row.entry().unwrap().data.get().contains("\"mirrored\":true");
    assert_eq!(rows.iter().map(marked).collect::<Vec<_>>(), [false, true, true]);
}
