//! What the audit log promises, on real files.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use serde_json::json;
use tempfile::TempDir;

use super::*;

mod damage;
mod power;

/// A clock that counts, small segments, and a sync that is none.
fn settings(segment: u64) -> Settings {
    let ticks = AtomicUsize::new(1000);
    let clock = move || ticks.fetch_add(1, Ordering::Relaxed) as u64;
    Settings { segment, clock: Box::new(clock), sync: Box::new(|_| Ok(())) }
}

fn entry(subject: &str) -> Entry {
    Entry::new(Kind::Registered, Who::Admin, subject).with(json!({ "digest": "ab" }))
}

/// A closed log of `entries` entries, in segments of about `segment` bytes.
fn written(entries: u64, segment: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::with(dir.path(), settings(segment)).unwrap();
    // the budget of the test's own task must not end in here
    futures::executor::block_on(tokio::task::unconstrained(async {
        for n in 1..=entries {
            assert_eq!(log.append(entry(&format!("m@{n}.0.0"))).await, Ok(n));
        }
    }));
    dir
}

/// The numbers of the entries among the rows, all of which must be entries.
fn numbers(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.entry().unwrap_or_else(|| panic!("{row:?}")).seq).collect()
}

fn names(dir: &Path) -> Vec<String> {
    files::segments(dir).unwrap().into_iter().map(|segment| segment.name).collect()
}

#[tokio::test]
async fn an_entry_is_a_line_whose_hash_anybody_can_work_out() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::with(dir.path(), settings(SEGMENT)).unwrap();
    log.append(Entry::new(Kind::RuntimeStarted, Who::Runtime, "runtime")).await.unwrap();
    log.append(entry("a \"b\"\n@1.0.0")).await.unwrap();
    let text = fs::read_to_string(dir.path().join("00000000000000000001.jsonl")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let mut prev = "0".repeat(64);
    let beginnings = [
        r#"{"seq":1,"at":1000,"prev":"PREV","kind":"runtime-started","actor":"runtime","subject":"runtime","data":{}"#,
        r#"{"seq":2,"at":1001,"prev":"PREV","kind":"registered","actor":"admin","subject":"a \"b\"\n@1.0.0","data":{"digest":"ab"}"#,
    ];
    assert_eq!(lines.len(), 2);
    for (line, beginning) in lines.iter().zip(beginnings) {
        let (content, rest) = line.rsplit_once(",\"hash\":").unwrap();
        assert_eq!(content, beginning.replace("PREV", &prev));
        prev = blake3::hash(content.as_bytes()).to_string();
        assert_eq!(rest, format!("\"{prev}\"}}"));
    }
    let verified = verify(dir.path()).unwrap();
    assert_eq!(verified, Verified { entries: 2, segments: 1, head: Head { seq: 2, hash: prev } });
}

#[tokio::test]
async fn segments_stay_chained_and_are_read_from_any_number_on() {
    let dir = written(40, 1000);
    let segments = names(dir.path());
    assert!(segments.len() > 5 && segments[0] == "00000000000000000001.jsonl", "{segments:?}");
    let log = AuditLog::with(dir.path(), settings(1000)).unwrap();
    assert_eq!(log.found(), &Found { entries: 40, cut: None, fault: None });
    assert_eq!(log.append(entry("m@41.0.0")).await, Ok(41));
    assert_eq!(verify(dir.path()).unwrap().segments, names(dir.path()).len());
    for (from, limit, expected) in
        [(0, 3, 1..=3), (1, 1, 1..=1), (17, 9, 17..=25), (40, 100, 40..=41), (5, 2000, 5..=41)]
    {
        let read = log.read(from, limit).await.unwrap();
        assert_eq!(numbers(&read), expected.collect::<Vec<_>>(), "from {from}");
    }
    let read = log.read(41, 1).await.unwrap();
    let last = read[0].entry().unwrap();
    assert_eq!((last.subject.as_str(), last.kind, last.who), ("m@41.0.0", Kind::Registered, Who::Admin));
    assert!(log.read(42, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_late_entry_of_a_long_segment_is_found_without_reading_what_is_before() {
    let dir = written(2000, SEGMENT);
    let log = AuditLog::with(dir.path(), settings(SEGMENT)).unwrap();
    let file = dir.path().join(&names(dir.path())[0]);
    let text = fs::read(&file).unwrap();
    assert!(text.len() > 400_000, "{}", text.len());
    for from in [1, 2, 999, 1000, 1001, 1999, 2000] {
        assert_eq!(numbers(&log.read(from, 1).await.unwrap()), [from]);
    }
    // what stands before is not even looked at
    let mut spoilt = text.clone();
    spoilt[..100_000].fill(b'x');
    fs::write(&file, spoilt).unwrap();
    assert_eq!(numbers(&log.read(1900, 2).await.unwrap()), [1900, 1901]);
}

#[tokio::test]
async fn entries_that_wait_share_a_sync_and_none_is_answered_before_it() {
    let dir = TempDir::new().unwrap();
    let (go, gate) = mpsc::sync_channel::<()>(0);
    let (reached, reach) = mpsc::sync_channel(100);
    let mut settings = settings(SEGMENT);
    settings.sync = Box::new(move |_| {
        reached.send(()).unwrap();
        gate.recv().map_err(std::io::Error::other)
    });
    let log = AuditLog::with(dir.path(), settings).unwrap();
    let newest = log.follow();
    let mut first = Box::pin(log.append(entry("first")));
    assert!(futures::poll!(&mut first).is_pending());
    reach.recv().unwrap();
    let mut others: Vec<_> = (0..50).map(|_| Box::pin(log.append(entry("other")))).collect();
    for other in &mut others {
        assert!(futures::poll!(other).is_pending());
    }
    assert!(futures::poll!(&mut first).is_pending() && *newest.borrow() == 0, "not on the disk yet");
    assert!(log.read(1, 10).await.unwrap().is_empty(), "and so not to be read");
    go.send(()).unwrap();
    assert_eq!(first.await, Ok(1));
    reach.recv().unwrap();
    go.send(()).unwrap();
    let numbers: Vec<_> = futures::future::join_all(others).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, (2..=51).collect::<Vec<_>>());
    assert_eq!(*newest.borrow(), 51);
    assert!(reach.try_recv().is_err(), "two syncs were enough");
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_taken_until_the_log_is_opened_again() {
    let dir = TempDir::new().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let (mut settings, breaks) = (settings(SEGMENT), Arc::clone(&broken));
    settings.sync = Box::new(move |_| match breaks.load(Ordering::SeqCst) {
        true => Err(std::io::Error::other("no space")),
        false => Ok(()),
    });
    let log = AuditLog::with(dir.path(), settings).unwrap();
    log.append(entry("a")).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    assert_eq!(log.append(entry("b")).await, Err(AuditError::Write { cause: "no space".into() }));
    broken.store(false, Ordering::SeqCst);
    assert_eq!(log.append(entry("c")).await, Err(AuditError::Poisoned { cause: "no space".into() }));
    assert_eq!(log.newest(), 1);
    assert!(matches!(log.close().await, Err(AuditError::Poisoned { .. })));
    drop(log);
    let log = AuditLog::open(dir.path()).unwrap();
    assert_eq!(log.found().fault, None);
    let next = log.append(entry("d")).await.unwrap();
    assert_eq!(verify(dir.path()).unwrap().entries, next);
}

#[tokio::test]
async fn one_at_a_time_may_write_and_a_closed_log_takes_nothing() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::open(&dir.path().join("x/audit")).unwrap();
    let refused = AuditLog::open(log.dir()).unwrap_err();
    assert!(refused.to_string().contains("in use by this process"), "{refused}");
    log.append(entry("a")).await.unwrap();
    log.close().await.unwrap();
    log.close().await.unwrap();
    assert_eq!(log.append(entry("b")).await, Err(AuditError::Closed));
    let dir = log.dir().to_owned();
    drop(log);
    assert_eq!(AuditLog::open(&dir).unwrap().found().entries, 1);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_what_is_just_small_enough_is_read_again() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::open(dir.path()).unwrap();
    let filled = |bytes: usize| json!({ "x": "y".repeat(bytes - r#"{"x":""}"#.len()) });
    let large = log.append(Entry::new(Kind::Alarm, Who::Runtime, "s").with(filled(MAX_DATA + 1))).await;
    assert_eq!(large, Err(AuditError::TooLarge { what: "data", size: MAX_DATA + 1, limit: MAX_DATA }));
    let subject = "\u{1}".repeat(MAX_SUBJECT);
    assert!(log.append(Entry::new(Kind::Alarm, Who::Runtime, format!("{subject}x"))).await.is_err());
    log.append(Entry::new(Kind::Alarm, Who::Runtime, subject.as_str()).with(filled(MAX_DATA))).await.unwrap();
    assert_eq!(log.read(1, 1).await.unwrap()[0].entry().unwrap().subject, subject);
    assert_eq!(verify(dir.path()).unwrap().entries, 1);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = written(20, 1000);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.path()), 0o700);
    for name in names(dir.path()).iter().map(String::as_str).chain(["head"]) {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_is_queued_keeps_its_place_and_is_on_the_disk_with_what_comes_after_it() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::with(dir.path(), settings(1000)).unwrap();
    log.queue(entry("a@1.0.0")).await.unwrap();
    assert_eq!(log.append(entry("b@1.0.0")).await, Ok(2));
    log.queue(entry("c@1.0.0")).await.unwrap();
    log.close().await.unwrap();
    assert_eq!(log.queue(entry("d@1.0.0")).await, Err(AuditError::Closed));
    let rows = log.read(1, 10).await.unwrap();
    let subjects: Vec<_> = rows.iter().map(|row| row.entry().unwrap().subject.as_str()).collect();
    assert_eq!(subjects, ["a@1.0.0", "b@1.0.0", "c@1.0.0"]);
}

#[tokio::test]
async fn an_entry_has_the_request_of_whoever_had_it_done() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::with(dir.path(), settings(1000)).unwrap();
    let by = By::from(Who::Admin).asked_in("r-1".into());
    log.append(Entry::new(Kind::Registered, by.clone(), "m@1.0.0").with(json!({ "digest": "ab" }))).await.unwrap();
    log.append(Entry::new(Kind::Confirmed, by, "m@1.0.0")).await.unwrap();
    let rows = log.read(1, 10).await.unwrap();
    let data: Vec<_> = rows.iter().map(|row| row.entry().unwrap().data.get()).collect();
    assert_eq!(data, [r#"{"digest":"ab","requestId":"r-1"}"#, r#"{"requestId":"r-1"}"#]);
}

#[test]
fn names_in_the_log_are_those_of_the_types() {
    let kinds = [
        Kind::Registered,
        Kind::Unregistered,
        Kind::ActivationBegan,
        Kind::ActivationEnded,
        Kind::Confirmed,
        Kind::RolledBack,
        Kind::Deactivated,
        Kind::Recovered,
        Kind::StateChanged,
        Kind::TrafficShifted,
        Kind::ShiftSteered,
        Kind::ProviderChosen,
        Kind::CallDenied,
        Kind::LimitExceeded,
        Kind::QuotaExceeded,
        Kind::LeakSuspected,
        Kind::WorkerFailed,
        Kind::ActorFailed,
        Kind::AccessDenied,
        Kind::IncidentsDropped,
        Kind::ActivationRefused,
        Kind::CommandRefused,
        Kind::Alarm,
        Kind::RuntimeStarted,
        Kind::RuntimeStopped,
    ];
    for kind in kinds {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    for who in [Who::Admin, Who::Host, Who::Runtime] {
        assert_eq!(serde_json::to_value(who).unwrap(), who.name());
    }
}
