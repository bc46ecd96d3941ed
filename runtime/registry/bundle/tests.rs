use std::fs;

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

fn bundle(files: &[(&str, &str)]) -> Result<Bundle, RegistryError> {
    let manifest = [(FILE_NAME.to_owned(), Bytes::from_static(b"id: m\n"))];
    Bundle::new(
        files.iter().map(|(path, text)| ((*path).to_owned(), Bytes::from(text.to_string()))).chain(manifest).collect(),
    )
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (path, text) in files.iter().chain(&[(FILE_NAME, "id: m\n")]) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// An archive with entries that no honest program writes: the name goes into the header as it is.
fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, content) in entries.iter().chain(&[(FILE_NAME, EntryType::Regular, &b"id: m\n"[..])]) {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn refusal(result: Result<Bundle, RegistryError>) -> String {
    result.expect_err("it should be refused").to_string()
}

#[test]
fn a_folder_and_its_archive_are_the_same_bundle() {
    let long = format!("lib/{}/util.lua", "d".repeat(150));
    let dir = folder(&[("main.lua", "return {}"), (&long, "x"), ("migrations/001.sql", "")]);
    let read = Bundle::read_dir(dir.path()).unwrap();
    assert_eq!(
        read.paths().into_iter().collect::<Vec<_>>(),
        [long.as_str(), "main.lua", "migrations/001.sql", FILE_NAME]
    );
    assert_eq!(Bundle::from_tar(&read.to_tar()).unwrap(), read);
    assert_eq!(read.to_tar(), Bundle::from_tar(&read.to_tar()).unwrap().to_tar());
    assert_eq!(read.manifest(), b"id: m\n");
}

#[test]
fn the_digest_depends_on_every_path_and_byte_and_on_nothing_else() {
    let digest = |files: &[(&str, &str)]| bundle(files).unwrap().digest().to_owned();
    let base = digest(&[("a", "12"), ("b", "3")]);
    assert_eq!(base, digest(&[("b", "3"), ("a", "12")]));
    for other in
        [[("a", "1"), ("b", "23")], [("a", "12"), ("c", "3")], [("a", "12"), ("b", "4")], [("a", "3"), ("b", "12")]]
    {
        assert_ne!(base, digest(&other));
    }
    assert!(is_digest(&base));
    assert!(!is_digest("../../etc") && !is_digest(&base.to_uppercase()) && !is_digest(""));
}

#[test]
fn what_people_do_not_mean_to_ship_is_left_out() {
    let left_out =
        [".git/config", ".env", "main.lua~", "a.swp", "lib/x.bak", "#main.lua#", "target/debug/x", "lib/.DS_Store"];
    let files: Vec<_> =
        left_out.iter().chain(&["main.lua", "lib/target/a.lua", "#"]).map(|path| (*path, "x")).collect();
    let dir = folder(&files);
    let read = Bundle::read_dir(dir.path()).unwrap();
    assert_eq!(read.paths().into_iter().collect::<Vec<_>>(), ["#", "lib/target/a.lua", "main.lua", FILE_NAME]);
    let entries: Vec<_> = files.iter().map(|(path, text)| (*path, EntryType::Regular, text.as_bytes())).collect();
    assert_eq!(Bundle::from_tar(&archive(&entries)).unwrap(), read, "the same whichever way it comes");
    for path in left_out {
        assert!(refusal(bundle(&[(path, "x")])).contains("leave it out"));
    }
}

#[test]
fn a_folder_without_a_manifest_is_refused() {
    let dir = TempDir::new().unwrap();
    assert!(refusal(Bundle::read_dir(dir.path())).contains("no `module.manifest.yaml`"));
    assert!(refusal(Bundle::read_dir(&dir.path().join("none"))).contains("reading failed"));
    assert!(refusal(Bundle::new(BTreeMap::new())).contains("no `module.manifest.yaml`"));
}

#[cfg(unix)]
#[test]
fn links_and_special_files_in_a_folder_are_refused() {
    let dir = folder(&[("main.lua", "x")]);
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("secret.txt")).unwrap();
    assert!(refusal(Bundle::read_dir(dir.path())).contains("`secret.txt` is a symbolic link"));
    fs::remove_file(dir.path().join("secret.txt")).unwrap();
    std::os::unix::fs::symlink("/etc", dir.path().join("lib")).unwrap();
    assert!(refusal(Bundle::read_dir(dir.path())).contains("`lib` is a symbolic link"));
    fs::remove_file(dir.path().join("lib")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert!(refusal(Bundle::read_dir(dir.path())).contains("`socket` is neither"));
}

#[test]
fn paths_that_leave_the_folder_or_have_two_names_are_refused() {
    let cases = [
        ("/etc/passwd", "is absolute"),
        ("../x", "leaves the module's folder"),
        ("a/../../x", "leaves the module's folder"),
        ("a/..", "leaves the module's folder"),
        ("a//b", "empty or `.` part"),
        ("a/./b", "empty or `.` part"),
        ("a/", "empty or `.` part"),
        ("a\\b", "backslash"),
        ("C:x", "colon"),
        ("a\nb", "control character"),
        ("a\u{1b}[2Jb", "control character"),
    ];
    for (path, expected) in cases {
        let messages =
            [refusal(bundle(&[(path, "x")])), refusal(Bundle::from_tar(&archive(&[(path, EntryType::Regular, b"x")])))];
        for message in messages {
            assert!(message.contains(expected), "{path:?}: {message}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }
    assert!(refusal(bundle(&[("", "x")])).contains("empty path"));
    assert!(refusal(bundle(&[(&"x".repeat(513), "x")])).contains("longer than 512"));
    assert!(refusal(bundle(&[("a", "x"), ("a/b/c", "x")])).contains("inside `a`, which is a file"));
}

#[test]
fn hostile_archives_are_refused() {
    let check = |entries: &[(&str, EntryType, &[u8])], expected: &str| {
        let message = refusal(Bundle::from_tar(&archive(entries)));
        assert!(message.contains(expected), "{message}");
    };
    check(&[("x", EntryType::Symlink, b"")], "`x` is a link");
    check(&[("x", EntryType::Link, b"")], "`x` is a link");
    check(&[("x", EntryType::Char, b"")], "`x` is neither");
    check(&[("x", EntryType::Fifo, b"")], "`x` is neither");
    check(&[("a", EntryType::Regular, b"1"), ("a", EntryType::Regular, b"2")], "`a` is there twice");
    check(&[("a", EntryType::Regular, b"1"), ("./a", EntryType::Regular, b"1")], "`a` is there twice");
    check(&[("a", EntryType::Regular, b"1"), ("a", EntryType::Directory, b"")], "as a file and as a folder");
    check(&[("../a", EntryType::Directory, b"")], "leaves the module's folder");
    check(&[("../a", EntryType::Symlink, b"")], "link");
    let many: Vec<_> = (0..MAX_BUNDLE_FILES + 1).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), EntryType::Regular, &b""[..])).collect();
    check(&many, "more than 4096 files");
}

#[test]
fn an_archive_that_claims_more_than_it_holds_is_refused() {
    let whole = archive(&[("big", EntryType::Regular, &[b'x'; 2000])]);
    assert!(Bundle::from_tar(&whole).is_ok());
    assert!(refusal(Bundle::from_tar(&whole[..1024])).contains("cut off"));
    let mut header = Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(1 << 40);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    assert!(refusal(Bundle::from_tar(header.as_bytes())).contains("more than 64 MiB"));
    assert!(refusal(Bundle::from_tar(b"not a tar at all")).contains("archive"));
    assert!(refusal(Bundle::from_tar(&[])).contains("no `module.manifest.yaml`"));
}

#[test]
fn writing_is_idempotent_and_repairs_what_was_changed() {
    let dir = TempDir::new().unwrap();
    let bundles = dir.path().join("bundles");
    let bundle = bundle(&[("main.lua", "return {}"), ("lib/a/b.lua", "x")]).unwrap();
    let at = bundle.write_to(&bundles).unwrap();
    assert_eq!(at, bundles.join(bundle.digest()));
    assert_eq!(bundle.write_to(&bundles).unwrap(), at);
    assert_eq!(Bundle::load(&at, bundle.digest()).unwrap(), bundle);

    fs::write(at.join("main.lua"), "changed").unwrap();
    let message = Bundle::load(&at, bundle.digest()).unwrap_err().to_string();
    assert!(message.contains("changed on the disk"), "{message}");
    bundle.write_to(&bundles).unwrap();
    assert_eq!(Bundle::load(&at, bundle.digest()).unwrap(), bundle);

    let names = || fs::read_dir(&bundles).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names().collect::<Vec<_>>(), [bundle.digest()], "nothing unfinished stays");
    fs::create_dir_all(bundles.join(".unfinished-1-1/lib")).unwrap();
    remove_unfinished(&bundles);
    assert_eq!(names().count(), 1);
    remove(&at).unwrap();
    remove(&at).unwrap();
    assert_eq!(names().count(), 0);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_panic(bytes: Vec<u8>) {
        let _ = Bundle::from_tar(&bytes);
    }

    #[test]
    fn a_damaged_archive_is_a_bundle_or_an_error(at in 0..3072_usize, byte: u8) {
        let mut bytes = archive(&[("main.lua", EntryType::Regular, b"return {}")]);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(bundle) = Bundle::from_tar(&bytes) {
            prop_assert!(bundle.files().keys().all(|path| paths::check(path).is_ok()));
        }
    }

    #[test]
    fn any_files_survive_the_archive(files in proptest::collection::btree_map("[a-zä]{1,9}(/[a-z0-9]{1,80}){0,2}", any::<Vec<u8>>(), 0..6)) {
        let mut files: BTreeMap<String, Bytes> = files.into_iter().map(|(path, content)| (path, content.into())).collect();
        files.insert(FILE_NAME.to_owned(), Bytes::new());
        if let Ok(bundle) = Bundle::new(files) {
            prop_assert_eq!(Bundle::from_tar(&bundle.to_tar()).unwrap(), bundle);
        }
    }
}
