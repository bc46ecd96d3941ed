//! With real files, links, pipes.

use std::os::unix::fs::symlink;

use replug_scripts::HostErrorKind;
use tempfile::TempDir;

use super::*;

struct Fixture {
    dir: TempDir,
    folder: Arc<Folder>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Files::new(dir.path().join("files")).folder("shop");
        Self { dir, folder }
    }

    /// With the module's folder on the disk.
    fn begun() -> Self {
        let fixture = Self::new();
        fixture.write("kept", b"kept").unwrap();
        fixture
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("files/shop")
    }

    fn write(&self, path: &str, data: &[u8]) -> Result<(), HostError> {
        self.folder.write(&at(path), data, &|_| Ok(()))
    }

    fn append(&self, path: &str, data: &[u8]) -> Result<(), HostError> {
        self.folder.append(&at(path), data, &|_| Ok(()))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, HostError> {
        self.folder.read(&at(path), 1 << 20)
    }

    /// What the files cost when they are measured anew, as after a restart.
    fn measured(&self) -> u64 {
        Files::new(self.dir.path().join("files")).used("shop").unwrap()
    }
}

fn at(path: &str) -> FilePath {
    FilePath::parse(path).unwrap()
}

fn full(_: u64) -> Result<(), HostError> {
    Err(HostError::new(HostErrorKind::Overloaded, "full"))
}

#[test]
fn what_is_written_is_read_listed_and_removed() {
    let files = Fixture::new();
    assert_eq!(files.folder.list(&at(".")).unwrap(), []);
    assert_eq!(files.read("a/b.txt").unwrap_err().kind, HostErrorKind::NotFound);
    files.write("a/b.txt", b"one").unwrap();
    files.append("a/b.txt", b" two").unwrap();
    files.append("a/c", &[0, 255]).unwrap();
    assert_eq!(files.read("a/b.txt").unwrap(), b"one two");
    let listed = files.folder.list(&at("a")).unwrap();
    let listed: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.size)).collect();
    assert_eq!(listed, [("b.txt", Kind::File, 7), ("c", Kind::File, 2)]);
    assert_eq!(files.folder.stat(&at("a")).unwrap().unwrap().kind, Kind::Folder);
    assert!(files.folder.stat(&at("a/b.txt")).unwrap().unwrap().modified > 1_600_000_000_000);
    assert_eq!(files.folder.stat(&at("x/y")).unwrap(), None);
    assert_eq!(files.folder.remove(&at("a")).unwrap_err().kind, HostErrorKind::Conflict);
    for name in ["a/b.txt", "a/c", "a"] {
        assert!(files.folder.remove(&at(name)).unwrap(), "{name}");
        assert!(!files.folder.remove(&at(name)).unwrap(), "{name}");
    }
    assert_eq!((files.folder.used().unwrap(), files.measured()), (0, 0));
}

#[test]
fn a_file_is_replaced_as_a_whole_and_for_its_owner_alone() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let files = Fixture::begun();
    let before = std::fs::File::open(files.root().join("kept")).unwrap();
    files.write("kept", b"new").unwrap();
    let old = std::io::read_to_string(before).unwrap();
    assert_eq!(old, "kept", "whoever reads the old file reads it to its end");
    let found = std::fs::metadata(files.root().join("kept")).unwrap();
    assert_eq!((found.permissions().mode() & 0o777, found.nlink()), (0o600, 1));
    assert_eq!(std::fs::metadata(files.root()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(files.root()).unwrap().count(), 1, "nothing is left beside it");
}

/// Whatever stands in the module's folder, and whoever put it there, leads nowhere else.
#[test]
fn no_link_leads_out() {
    let files = Fixture::begun();
    let outside = files.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let root = files.root();
    symlink(&outside, root.join("folder")).unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();
    symlink("../../outside/secret", root.join("relative")).unwrap();
    symlink("kept", root.join("inside")).unwrap();
    symlink("/proc/self/environ", root.join("environ")).unwrap();
    symlink(root.join("nothing"), root.join("dangling")).unwrap();
    std::fs::hard_link(outside.join("secret"), root.join("hard")).unwrap();
    for path in ["folder/secret", "file", "relative", "inside", "environ", "dangling", "hard", "dangling/x"] {
        let read = files.read(path).expect_err(path);
        assert!(!read.message.contains(files.dir.path().to_str().unwrap()), "{read}");
        files.append(path, b"changed").expect_err(path);
        files.write(path, b"changed").expect_err(path);
    }
    files.write("folder/new", b"x").unwrap_err();
    files.folder.mkdir(&at("folder/new"), &|_| Ok(())).unwrap_err();
    files.folder.list(&at("folder")).unwrap_err();
    files.folder.remove(&at("folder/secret")).unwrap_err();
    assert_eq!(files.folder.stat(&at("file")).unwrap().unwrap().kind, Kind::Other);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(files.read("kept").unwrap(), b"kept");
    assert!(!root.join("nothing").exists());
}

#[test]
fn pipes_and_sockets_are_not_opened() {
    let files = Fixture::begun();
    let _socket = std::os::unix::net::UnixListener::bind(files.root().join("socket")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(files.root().join("pipe")).status().unwrap();
    assert!(made.success());
    // opening a pipe would wait for somebody at its other end for ever
    for path in ["socket", "pipe"] {
        for error in
            [files.read(path).unwrap_err(), files.append(path, b"x").unwrap_err(), files.write(path, b"x").unwrap_err()]
        {
            assert!(error.message.contains("no plain file"), "{error}");
        }
        files.folder.remove(&at(path)).unwrap_err();
    }
}

#[test]
fn a_file_larger_than_may_be_read_is_refused() {
    let files = Fixture::new();
    files.write("a", &[7; 100]).unwrap();
    assert_eq!(files.folder.read(&at("a"), 100).unwrap().len(), 100);
    let error = files.folder.read(&at("a"), 99).unwrap_err();
    assert!(error.message.contains("larger than 99 bytes"), "{error}");
}

#[test]
fn what_has_no_room_changes_nothing() {
    let files = Fixture::begun();
    let used = files.folder.used().unwrap();
    for path in ["new", "deep/er/new"] {
        files.folder.write(&at(path), b"x", &full).unwrap_err();
        files.folder.append(&at(path), b"x", &full).unwrap_err();
    }
    files.folder.write(&at("kept"), b"longer", &full).unwrap_err();
    files.folder.append(&at("kept"), b"more", &full).unwrap_err();
    files.folder.mkdir(&at("folder"), &full).unwrap_err();
    assert_eq!(files.read("kept").unwrap(), b"kept");
    assert_eq!(std::fs::read_dir(files.root()).unwrap().count(), 1);
    assert_eq!((files.folder.used().unwrap(), files.measured()), (used, used));
    // what takes no more than before is taken also without room
    files.folder.write(&at("kept"), b"four", &full).unwrap();
    files.folder.write(&at("kept"), b"4", &full).unwrap();
    assert_eq!(files.folder.used().unwrap(), used - 3);
}

#[test]
fn what_is_used_is_counted_as_it_is_measured() {
    let files = Fixture::new();
    files.write("a/b/c", &[0; 1000]).unwrap();
    assert_eq!(files.folder.used().unwrap(), 1000 + 3 * ENTRY_COST);
    files.write("a/b/c", &[0; 10]).unwrap();
    files.append("a/b/c", &[0; 5]).unwrap();
    files.append("a/d", &[0; 5]).unwrap();
    assert!(files.folder.mkdir(&at("e/f"), &|_| Ok(())).unwrap());
    assert!(!files.folder.mkdir(&at("e/f"), &|_| Ok(())).unwrap());
    assert_eq!(files.folder.used().unwrap(), 20 + 6 * ENTRY_COST);
    assert_eq!(files.measured(), files.folder.used().unwrap());
    // what a crash left beside a file is not the module's
    std::fs::write(files.root().join("a/.replug-00"), "half").unwrap();
    assert_eq!(files.measured(), 20 + 6 * ENTRY_COST);
    assert!(!files.root().join("a/.replug-00").exists());
}

#[test]
fn writers_at_once_leave_whole_files_and_a_true_count() {
    let files = Fixture::new();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let files = &files;
            scope.spawn(move || {
                for round in 0..20 {
                    files.write("one", &vec![thread; 1000 + round]).unwrap();
                    files.append("log", &[thread]).unwrap();
                    let data = files.read("one").unwrap();
                    assert!(data.iter().all(|byte| *byte == data[0]), "half of one and half of another");
                }
            });
        }
    });
    assert_eq!(files.read("log").unwrap().len(), 80);
    assert_eq!(files.measured(), files.folder.used().unwrap());
}
