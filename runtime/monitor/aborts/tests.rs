use super::*;

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("aborts");
    (dir, path)
}

#[test]
fn aborts_add_up_until_they_are_forgiven_also_over_restarts() {
    let (_dir, path) = file();
    std::fs::write(&path, "a@1.0.0\nb@1.0.0\na@1.0.0\nnonsense\n").unwrap();
    let aborts = Aborts::open(&path).unwrap();
    assert_eq!((aborts.count("a@1.0.0"), aborts.count("b@1.0.0"), aborts.count("c@1.0.0")), (2, 1, 0));
    aborts.forgive("a@1.0.0").unwrap();
    aborts.forgive("c@1.0.0").unwrap();
    assert_eq!(aborts.count("a@1.0.0"), 0);
    let again = Aborts::open(&path).unwrap();
    assert_eq!((again.count("a@1.0.0"), again.count("b@1.0.0")), (0, 1));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("c@1.0.0"), "nothing is written that is not there");
}

#[test]
fn a_line_without_its_end_is_counted_and_the_next_begins_anew() {
    let (_dir, path) = file();
    std::fs::write(&path, "a@1.0.0").unwrap();
    let aborts = Aborts::open(&path).unwrap();
    aborts.forgive("a@1.0.0").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a@1.0.0\n!a@1.0.0\n");
}

#[test]
fn a_large_file_is_written_anew_with_what_counts() {
    let (_dir, path) = file();
    let old = "b@1.0.0\n!b@1.0.0\n".repeat(10_000);
    std::fs::write(&path, format!("{old}a@1.0.0\na@1.0.0\n")).unwrap();
    assert_eq!(Aborts::open(&path).unwrap().count("a@1.0.0"), 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a@1.0.0\na@1.0.0\n");
}

#[test]
fn without_a_file_nobody_is_named() {
    let aborts = Aborts::default();
    assert!(aborts.count("a@1.0.0") == 0 && aborts.name("a@1.0.0").is_none());
    aborts.forgive("a@1.0.0").unwrap();
}

/// What ends the process of [`the_version_that_the_thread_executes_is_named_and_nobody_else`], which runs it in a process of its own.
#[cfg(unix)]
fn end(how: &str, path: &Path) {
    fn overflows(depth: u64) -> u64 {
        std::hint::black_box(if depth == u64::MAX { 0 } else { overflows(std::hint::black_box(depth + 1)) + 1 })
    }
    let how = how.strip_prefix("former ").inspect(|_| signal::tried::former()).unwrap_or(how);
    install().unwrap();
    install().unwrap();
    let aborts = Aborts::open(path).unwrap();
    let (outer, inner) = (aborts.name("outer@1.0.0").unwrap(), aborts.name("inner@1.0.0").unwrap());
    match how {
        "abort" => outer.during(|| std::process::abort()),
        "overflow" => outer.during(|| println!("{}", overflows(0))),
        "nested" => outer.during(|| inner.during(|| std::process::abort())),
        "after" => outer.during(|| {
            inner.during(|| {});
            std::process::abort()
        }),
        "unwound" => {
            let _ = std::panic::catch_unwind(|| outer.during(|| panic!("it panics")));
            std::process::abort();
        }
        "elsewhere" => outer.during(|| {
            let _ = std::thread::spawn(|| std::process::abort()).join();
        }),
        signal => outer.during(|| signal::tried::fault(signal)),
    }
}

#[cfg(unix)]
#[test]
fn the_version_that_the_thread_executes_is_named_and_nobody_else() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    let (_dir, path) = file();
    if let Ok(how) = std::env::var("REPLUG_TEST_END") {
        end(&how, Path::new(&std::env::var("REPLUG_TEST_FILE").unwrap()));
    }
    for (how, expected, ends) in [
        ("abort", "outer@1.0.0\n", libc::SIGABRT),
        ("overflow", "outer@1.0.0\n", libc::SIGABRT),
        ("nested", "inner@1.0.0\n", libc::SIGABRT),
        ("after", "outer@1.0.0\n", libc::SIGABRT),
        ("unwound", "", libc::SIGABRT),
        ("elsewhere", "", libc::SIGABRT),
        ("SIGSEGV", "outer@1.0.0\n", libc::SIGSEGV),
        ("SIGBUS", "outer@1.0.0\n", libc::SIGBUS),
        ("SIGILL", "outer@1.0.0\n", libc::SIGILL),
        // whoever was there before hears of it as well
        ("former abort", "outer@1.0.0\n", 0),
        ("former SIGSEGV", "outer@1.0.0\n", 0),
        ("former SIGBUS", "outer@1.0.0\n", 0),
        ("former SIGILL", "outer@1.0.0\n", 0),
    ] {
        let _ = std::fs::remove_file(&path);
        let name = "monitor::aborts::tests::the_version_that_the_thread_executes_is_named_and_nobody_else";
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", name, "--test-threads", "1"]).env("REPLUG_TEST_END", how).env("REPLUG_TEST_FILE", &path);
        let status = child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        match how.strip_prefix("former ") {
            Some(_) => assert_eq!(status.code(), Some(signal::tried::ENDS), "{how}: {status:?}"),
            None => assert_eq!(status.signal(), Some(ends), "{how}: {status:?}"),
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "{how}");
    }
}
