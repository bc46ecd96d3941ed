//! Ends of the process and of the power inside a write.

use super::*;

/// The bytes of the one segment, and where its last line starts.
fn last_line(dir: &Path) -> (PathBuf, Vec<u8>, usize) {
    let path = dir.join(&names(dir)[0]);
    let text = fs::read(&path).unwrap();
    let start = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    (path, text, start)
}

/// The head as it was before the last of `entries` entries.
fn older_head(entries: u64) -> Vec<u8> {
    fs::read(written(entries - 1, SEGMENT).path().join("head")).unwrap()
}

#[tokio::test]
async fn an_unfinished_last_line_is_cut_off_and_told_wherever_it_ends() {
    let dir = written(4, SEGMENT);
    let (path, text, start) = last_line(dir.path());
    let head = older_head(4);
    for end in start..text.len() {
        fs::write(&path, &text[..end]).unwrap();
        fs::write(dir.path().join("head"), &head).unwrap();
        let verified = verify(dir.path()).expect("a write that goes on is no fault");
        assert_eq!(verified.entries, 3, "cut at {end}");
        let log = AuditLog::with(dir.path(), settings(SEGMENT)).unwrap();
        let cut = Cut { file: names(dir.path())[0].clone(), bytes: (end - start) as u64 };
        assert_eq!(log.found(), &Found { entries: 3, cut: (end > start).then_some(cut), fault: None });
        assert_eq!(fs::read(&path).unwrap(), text[..start]);
        assert_eq!(log.append(entry("next")).await, Ok(4));
        assert_eq!(verify(dir.path()).unwrap().entries, 4);
    }
}

#[test]
fn a_whole_last_line_that_nobody_was_told_of_is_kept() {
    let dir = written(4, SEGMENT);
    fs::write(dir.path().join("head"), older_head(4)).unwrap();
    let log = AuditLog::with(dir.path(), settings(SEGMENT)).unwrap();
    assert_eq!((log.found(), log.newest()), (&Found { entries: 4, cut: None, fault: None }, 4));
}

#[test]
fn an_acknowledged_last_line_that_lost_its_end_is_a_fault_and_stays_as_it_is() {
    let dir = written(4, SEGMENT);
    let (path, text, start) = last_line(dir.path());
    let head = fs::read(dir.path().join("head")).unwrap();
    for end in start..text.len() {
        for segment in names(dir.path()).iter().skip(1) {
            fs::remove_file(dir.path().join(segment)).unwrap();
        }
        fs::write(&path, &text[..end]).unwrap();
        fs::write(dir.path().join("head"), &head).unwrap();
        let fault = verify(dir.path()).unwrap_err();
        let expected = if end == start { Defect::CutOff { newest: 4 } } else { Defect::Unfinished };
        assert_eq!((fault.line, &fault.defect), (4, &expected), "cut at {end}");
        let log = AuditLog::with(dir.path(), settings(SEGMENT)).unwrap();
        assert_eq!(log.found(), &Found { entries: 3, cut: None, fault: Some(fault) });
        assert_eq!(fs::read(&path).unwrap(), text[..end]);
    }
}

#[test]
fn a_segment_that_was_created_and_not_written_is_the_one_to_go_on_in() {
    let dir = written(6, 1000);
    let next = dir.path().join("00000000000000000007.jsonl");
    fs::write(&next, "").unwrap();
    assert_eq!(verify(dir.path()).unwrap().entries, 6);
    let log = AuditLog::with(dir.path(), settings(1000)).unwrap();
    assert_eq!(log.found().fault, None);
    assert_eq!(futures::executor::block_on(log.append(entry("next"))), Ok(7));
    assert!(fs::metadata(next).unwrap().len() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_use_is_whole_whenever_it_is_looked_at() {
    let dir = TempDir::new().unwrap();
    let log = AuditLog::with(dir.path(), settings(4000)).unwrap();
    let (path, done) = (dir.path().to_owned(), Arc::new(AtomicBool::new(false)));
    let ended = Arc::clone(&done);
    let looks = tokio::task::spawn_blocking(move || {
        let mut looks = 0;
        while !ended.load(Ordering::SeqCst) || looks == 0 {
            verify(&path).unwrap();
            looks += 1;
        }
        looks
    });
    for _ in 0..40 {
        let appends = (0..20).map(|n| log.append(entry(&format!("m@{n}.0.0"))));
        futures::future::join_all(appends).await.into_iter().for_each(|done| assert!(done.unwrap() > 0));
    }
    done.store(true, Ordering::SeqCst);
    assert!(looks.await.unwrap() > 0);
    assert_eq!(verify(dir.path()).unwrap().entries, 800);
}
