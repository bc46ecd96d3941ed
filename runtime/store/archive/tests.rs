//! A file that is whole is read as it was written, and no other is taken for one.

use proptest::prelude::*;

use super::*;

fn about() -> About {
    let audit = Head { seq: 7, hash: "a".repeat(64) };
    About { what: What::Backup, program: "0.1.0".to_owned(), at: 1_795_608_580_066, audit }
}

fn record(tree: &str, key: u64, value: &[u8]) -> RawRecord {
    use crate::store::keys::KeyOf as _;
    let mut bytes = Vec::new();
    tree.write(&mut bytes);
    key.write(&mut bytes);
    RawRecord::new(bytes, [&1_u16.to_be_bytes()[..], value].concat()).unwrap()
}

fn written(records: &[RawRecord], files: &[(Kind, String, Vec<u8>)]) -> (Vec<u8>, String) {
    let mut writer = Writer::begin(Vec::new(), Path::new("x"), &about()).unwrap();
    records.iter().for_each(|record| writer.record(record).unwrap());
    for (kind, name, content) in files {
        assert_eq!(writer.file(*kind, name, content.as_slice()).unwrap(), content.len() as u64);
    }
    writer.finish().unwrap()
}

type Read = (Vec<RawRecord>, Vec<(Kind, String, Vec<u8>)>);

fn read(bytes: &[u8]) -> Result<Read, ArchiveError> {
    let mut archive = Archive::begin(bytes, Path::new("x"))?;
    assert_eq!(*archive.about(), about());
    let (mut records, mut files, mut open) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(section) = archive.next()? {
        if section.kind == Kind::Records {
            records.extend(section.records().map_err(|cause| archive.damaged(cause))?);
            continue;
        }
        let part = section.part().map_err(|cause| archive.damaged(cause))?;
        open.extend_from_slice(part.bytes);
        if part.last {
            files.push((section.kind, section.name.clone(), std::mem::take(&mut open)));
        }
    }
    Ok((records, files))
}

fn sample() -> Read {
    let records = (0..40).map(|key| record("notes", key, &vec![7; 30_000])).collect();
    let large = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
    let files = vec![
        (Kind::Bundle, "d/main.lua".to_owned(), b"return {}".to_vec()),
        (Kind::Database, "m".to_owned(), large[..2 * 1024 * 1024].to_vec()),
        (Kind::File, "m/empty".to_owned(), Vec::new()),
        (Kind::File, "m/large".to_owned(), large),
    ];
    (records, files)
}

#[test]
fn what_was_written_is_read_back_and_counted() {
    let (records, files) = sample();
    let (bytes, hash) = written(&records, &files);
    assert_eq!(read(&bytes), Ok((records, files)));
    let found = Archive::begin(bytes.as_slice(), Path::new("x")).unwrap().look_through().unwrap();
    assert_eq!((found.bytes, found.hash, found.records), (bytes.len() as u64, hash, 40));
    assert_eq!((found.bundle_files, found.databases, found.files), (1, 1, 2));
}

#[test]
fn a_newer_format_and_another_file_are_refused_by_name() {
    let (mut bytes, _) = written(&[], &[]);
    bytes[9] = 2;
    let error = read(&bytes).unwrap_err();
    assert_eq!(error, ArchiveError::TooNew { path: "x".into(), found: 2 });
    assert!(error.to_string().contains("format 2") && error.to_string().contains("up to 1"), "{error}");
    for other in [&b""[..], b"REPL", b"a text that is longer than what a backup begins with"] {
        assert_eq!(read(other).unwrap_err(), ArchiveError::Foreign { path: "x".into() });
    }
}

#[test]
fn sections_that_change_places_or_are_left_out_are_found() {
    let file = |name: &str| (Kind::File, name.to_owned(), name.as_bytes().to_vec());
    let (bytes, _) = written(&[], &[file("m/a"), file("m/b")]);
    let at = |name: &str| bytes.windows(3).position(|found| found == name.as_bytes()).unwrap() - 7;
    let (first, second) = (at("m/a"), at("m/b"));
    let (head, a, rest) = (&bytes[..first], &bytes[first..second], &bytes[second..]);
    let (b, end) = rest.split_at(a.len());
    for (what, changed) in [("swapped", [head, b, a, end].concat()), ("left out", [head, a, end].concat())] {
        assert!(matches!(read(&changed), Err(ArchiveError::Damaged { .. })), "{what}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(read(&longer).unwrap_err().to_string().contains("behind its end"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_changed_bit_and_no_cut_goes_unseen(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let records: Vec<_> = values.iter().zip(0..).map(|(value, key)| record("notes", key, value)).collect();
        let files: Vec<_> = values.iter().map(|value| (Kind::File, "m/f".to_owned(), value.clone())).collect();
        let (bytes, _) = written(&records, &files);
        let at = at.index(bytes.len());
        let mut changed = bytes.clone();
        changed[at] ^= 1 << bit;
        prop_assert!(read(&changed).is_err(), "bit {bit} of byte {at}");
        prop_assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        prop_assert_eq!(read(&bytes), Ok((records, files)));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        let _ = read(&bytes);
        let _ = read(&[&MAGIC[..], &FORMAT.to_be_bytes(), &bytes].concat());
    }
}
