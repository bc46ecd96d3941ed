//! The demo keeps what it promises, from any folder, and leaves nothing behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the demo may take to begin its first chapter, and to end once it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// The demo, run in the folder `cwd` with temporary files in `tmp`.
fn demo(cwd: &Path, tmp: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replug"));
    command.args(["demo", "--json"]).current_dir(cwd).env("TMPDIR", tmp).stdin(Stdio::null());
    command
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("the folder is there").next().is_none()
}

#[test]
fn the_demo_keeps_its_promises_in_an_empty_folder_and_leaves_nothing_behind() {
    let (cwd, tmp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = demo(cwd.path(), tmp.path()).output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"));
    let promises = document["promises"].as_array().expect("promises");
    let broken: Vec<_> = promises.iter().filter(|promise| promise["kept"] != true).collect();
    assert!(broken.is_empty(), "{broken:#?}\n{err}");
    assert_eq!((output.status.code(), &document["outcome"]), (Some(0), &Value::from("kept")), "{document}");
    let mut chapters: Vec<_> = promises.iter().map(|promise| promise["chapter"].as_str().unwrap()).collect();
    chapters.dedup();
    assert_eq!(chapters, ["gradual", "swap", "rollback", "limits", "recovery"]);
    for chapter in 1..=5 {
        assert!(err.contains(&format!("\n{chapter}. ")), "chapter {chapter} is told: {err}");
    }
    assert!(is_empty(cwd.path()) && is_empty(tmp.path()));
}

#[cfg(unix)]
#[test]
fn a_demo_that_is_interrupted_says_so_and_leaves_nothing_behind() {
    let (cwd, tmp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = cwd.path().join("log");
    let mut command = demo(cwd.path(), tmp.path());
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut process = command.spawn().expect("the binary runs");
    let logged = || std::fs::read_to_string(&log).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !logged().contains("\n1. ") {
        assert!(Instant::now() < deadline && process.try_wait().unwrap().is_none(), "{}", logged());
    }
    assert!(!is_empty(tmp.path()), "it works in a temporary folder");
    assert!(Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it does not end: {}", logged());
    };
    assert_eq!(status.code(), Some(1), "{}", logged());
    let error: Value = serde_json::from_str(logged().lines().last().unwrap()).expect("an error document");
    assert!(error["error"]["message"].as_str().unwrap().contains("interrupted"), "{error}");
    assert!(is_empty(tmp.path()), "{}", logged());
}
