//! What somebody does to the files is found, told with its place, and never put right in silence.

use proptest::prelude::*;

use super::*;

/// The same log again, to be damaged.
fn copy(of: &Path) -> TempDir {
    let dir = TempDir::new().unwrap();
    for file in fs::read_dir(of).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

fn lines(dir: &Path, name: &str) -> Vec<String> {
    fs::read_to_string(dir.join(name)).unwrap().split_inclusive('\n').map(str::to_owned).collect()
}

fn write(dir: &Path, name: &str, lines: &[String]) {
    fs::write(dir.join(name), lines.concat()).unwrap();
}

/// The place and the defect that `verify` finds, which must be what opening finds.
fn found(dir: &Path) -> (String, usize, Defect) {
    let fault = verify(dir).expect_err("a fault");
    let opened = AuditLog::with(copy(dir).path(), settings(1000)).unwrap();
    assert_eq!(opened.found().fault.as_ref(), Some(&fault));
    (fault.file, fault.line, fault.defect)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_single_byte_change_is_found(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), by in 1..=255u8) {
        let dir = written(12, 1000);
        let mut names = names(dir.path());
        names.push("head".into());
        let path = dir.path().join(&names[file.index(names.len())]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = bytes[at].wrapping_add(by);
        fs::write(&path, &bytes).unwrap();
        prop_assert!(verify(dir.path()).is_err(), "byte {} of {}", at, path.display());
        // the log goes on, keeps the evidence, and stays broken
        let log = AuditLog::with(dir.path(), settings(1000)).unwrap();
        prop_assert!(log.found().fault.is_some() && log.found().cut.is_none());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let next = runtime.block_on(log.append(entry("next"))).unwrap();
        let read = runtime.block_on(log.read(next, 1)).unwrap();
        prop_assert_eq!(read[0].entry().unwrap().subject.as_str(), "next");
        prop_assert!(path.ends_with("head") || fs::read(&path).unwrap().starts_with(&bytes));
        prop_assert!(path.ends_with("head") || verify(dir.path()).is_err());
    }

    #[test]
    fn any_removed_line_is_found(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), count in 1..4usize) {
        let dir = written(12, 1000);
        let names = names(dir.path());
        let name = &names[file.index(names.len())];
        let mut lines = lines(dir.path(), name);
        let at = at.index(lines.len());
        lines.drain(at..(at + count).min(lines.len()));
        write(dir.path(), name, &lines);
        prop_assert!(verify(dir.path()).is_err());
    }
}

#[test]
fn what_was_done_is_told_with_its_place() {
    let whole = written(12, 1000);
    let names = names(whole.path());
    let first = names[0].as_str();
    let in_first = lines(whole.path(), first).len() as u64;
    let check = |damage: &dyn Fn(&Path), expected: (&str, usize, Defect)| {
        let dir = copy(whole.path());
        damage(dir.path());
        let (file, line, defect) = found(dir.path());
        assert_eq!((file.as_str(), line, defect), expected);
    };
    let edit = |name: &str, change: &dyn Fn(&mut Vec<String>), expected: (&str, usize, Defect)| {
        let damage = |dir: &Path| {
            let mut found = lines(dir, name);
            change(&mut found);
            write(dir, name, &found);
        };
        check(&damage, expected);
    };
    assert!(in_first >= 3);
    edit(first, &|lines| lines[1] = lines[1].replace("m@2.0.0", "m@3.0.0"), (first, 2, Defect::Changed));
    edit(first, &|lines| drop(lines.remove(1)), (first, 2, Defect::Missing { expected: 2, found: 3 }));
    edit(first, &|lines| lines.swap(0, 1), (first, 1, Defect::Missing { expected: 1, found: 2 }));
    let again = |lines: &mut Vec<String>| lines.insert(2, lines[1].clone());
    edit(first, &again, (first, 3, Defect::Misplaced { expected: 3, found: 2 }));
    let forged = |lines: &mut Vec<String>| {
        let prev = "0".repeat(64);
        lines[1] = line::sealed(&entry("forged"), 2, 7, &prev).0;
    };
    edit(first, &forged, (first, 2, Defect::Unlinked));
    let word = |lines: &mut Vec<String>| lines.insert(1, "hello\n".into());
    edit(first, &word, (first, 2, Defect::Malformed { cause: "it is too short".into() }));

    let (second, third) = (names[1].as_str(), names[2].as_str());
    let third_starts = third[..20].parse().unwrap();
    let missing = Defect::Missing { expected: in_first + 1, found: third_starts };
    check(&|dir| fs::remove_file(dir.join(second)).unwrap(), (third, 1, missing));
    let starts = Defect::Missing { expected: 1, found: in_first + 1 };
    check(&|dir| fs::remove_file(dir.join(first)).unwrap(), (second, 1, starts));

    let last = names.last().unwrap().as_str();
    let in_last = lines(whole.path(), last).len();
    let cut = Defect::CutOff { newest: 12 };
    edit(last, &|lines| drop(lines.pop()), (last, in_last, cut.clone()));
    check(&|dir| names.iter().for_each(|name| fs::remove_file(dir.join(name)).unwrap()), ("head", 1, cut));
    check(&|dir| fs::remove_file(dir.join("head")).unwrap(), ("head", 1, Defect::HeadMissing));
    check(&|dir| fs::write(dir.join("head"), "").unwrap(), ("head", 1, Defect::HeadChanged));
}

/// What is read from number `from` on, page by page: numbers of entries, and what is damaged between which numbers.
fn read(dir: &Path, mut from: u64, limit: usize) -> Vec<Result<u64, (u64, u64, String)>> {
    let log = AuditLog::with(dir, settings(1000)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut all = Vec::new();
    loop {
        let page = runtime.block_on(log.read(from, limit)).unwrap();
        assert!(page.iter().filter_map(Row::entry).count() <= limit);
        match page.last() {
            Some(Row::Entry(record)) => from = record.seq + 1,
            Some(Row::Damage(damage)) => from = damage.before,
            None => return all,
        }
        all.extend(page.into_iter().map(|row| match row {
            Row::Entry(record) => Ok(record.seq),
            Row::Damage(Damage { after, before, defect }) => Err((after, before, defect.to_string())),
        }));
    }
}

#[test]
fn who_reads_is_told_which_entries_are_not_shown() {
    let whole = written(12, 1000);
    let names = names(whole.path());
    let in_first = lines(whole.path(), &names[0]).len() as u64;
    let in_second = lines(whole.path(), &names[1]).len() as u64;
    let check = |damage: &dyn Fn(&Path), hidden: std::ops::RangeInclusive<u64>, says: &str| {
        for (from, limit) in [(1, 100), (1, 1), (1, 3), (*hidden.start(), 2)] {
            let dir = copy(whole.path());
            damage(dir.path());
            let (after, before) = (hidden.start() - 1, hidden.end() + 1);
            let told = Err((after, before, says.to_owned()));
            let expected: Vec<_> = (from..=after).map(Ok).chain([told]).chain((before..=12).map(Ok)).collect();
            assert_eq!(read(dir.path(), from, limit), expected, "from {from}, {limit} at once");
        }
    };
    let edit = |change: &dyn Fn(&mut Vec<String>), hidden, says: &str| {
        let damage = |dir: &Path| {
            let mut found = lines(dir, &names[0]);
            change(&mut found);
            write(dir, &names[0], &found);
        };
        check(&damage, hidden, says);
    };
    let changed = "the line was changed: its hash is not that of its content";
    edit(&|lines| lines[1] = lines[1].replace("m@2.0.0", "m@3.0.0"), 2..=2, changed);
    edit(&|lines| lines[1] = "hello\n".into(), 2..=2, "the line is no entry: it is too short");
    edit(&|lines| lines[1] = "x".repeat(200_000) + "\n", 2..=2, "the line is no entry: it is too long");
    edit(&|lines| drop(lines.remove(1)), 2..=2, "entry 3 stands where entry 2 should: entries were removed");
    edit(&|lines| drop(lines.drain(..2)), 1..=2, "entry 3 stands where entry 1 should: entries were removed");
    let removed =
        format!("entry {} stands where entry {} should: entries were removed", in_first + in_second + 1, in_first + 1);
    check(&|dir| fs::remove_file(dir.join(&names[1])).unwrap(), in_first + 1..=in_first + in_second, &removed);
    let last = |dir: &Path, change: &dyn Fn(&mut Vec<String>)| {
        let mut found = lines(dir, names.last().unwrap());
        change(&mut found);
        write(dir, names.last().unwrap(), &found);
    };
    let cut = |dir: &Path| last(dir, &|lines| drop(lines.pop()));
    check(&cut, 12..=12, "entry 13 stands where entry 12 should: entries were removed");
}

#[test]
fn who_reads_is_told_of_lines_too_many() {
    let whole = written(12, 1000);
    let first = &names(whole.path())[0];
    let check = |change: &dyn Fn(&mut Vec<String>), after: u64, says: &str| {
        let dir = copy(whole.path());
        let mut found = lines(dir.path(), first);
        change(&mut found);
        write(dir.path(), first, &found);
        let told = Err((after, after + 1, says.to_owned()));
        let expected: Vec<_> = (1..=after).map(Ok).chain([told]).chain((after + 1..=12).map(Ok)).collect();
        assert_eq!(read(dir.path(), 1, 100), expected);
    };
    check(&|lines| lines.insert(0, "hello\n".into()), 0, "the line is no entry: it is too short");
    check(&|lines| lines.insert(1, "hello\n".repeat(3)), 1, "the line is no entry: it is too short");
    let inserted = "entry 1 stands where entry 3 should: an entry was inserted or moved";
    check(&|lines| lines.insert(2, lines[0].clone()), 2, inserted);
    let ahead = "entry 99 stands where entry 2 should: an entry was inserted or moved";
    check(&|lines| lines.insert(1, line::sealed(&entry("forged"), 99, 7, line::ORIGIN).0), 1, ahead);
}

#[test]
fn a_newest_entry_that_was_replaced_by_a_valid_one_is_found() {
    let dir = written(3, SEGMENT);
    let name = &names(dir.path())[0];
    let mut all = lines(dir.path(), name);
    let prev = line::link(all[1].trim_end().as_bytes()).unwrap().hash;
    all[2] = line::sealed(&entry("forged"), 3, 1002, &prev).0;
    write(dir.path(), name, &all);
    assert_eq!(found(dir.path()), (name.clone(), 3, Defect::Replaced { newest: 3 }));
}

#[tokio::test]
async fn a_log_that_lost_its_end_goes_on_behind_what_was_acknowledged() {
    let dir = written(5, SEGMENT);
    let name = names(dir.path())[0].clone();
    let kept = lines(dir.path(), &name)[..3].concat();
    fs::write(dir.path().join(&name), &kept).unwrap();
    let log = AuditLog::with(dir.path(), settings(SEGMENT)).unwrap();
    assert_eq!(log.found().fault.as_ref().map(|fault| &fault.defect), Some(&Defect::CutOff { newest: 5 }));
    assert_eq!(log.append(entry("next")).await, Ok(6), "no number is used twice");
    assert_eq!(fs::read_to_string(dir.path().join(&name)).unwrap(), kept);
    let fault = verify(dir.path()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "00000000000000000006.jsonl:1: entry 6 stands where entry 4 should: entries were removed"
    );
    drop(log);
    let log = AuditLog::with(dir.path(), settings(SEGMENT)).unwrap();
    assert_eq!(log.append(entry("again")).await, Ok(7));
    assert_eq!(names(dir.path()).len(), 2, "the new segment goes on");
}

#[test]
fn a_directory_without_a_log_is_no_whole_log() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(verify(&dir.path().join("none")).unwrap_err().defect, Defect::Unreadable { .. }));
}
