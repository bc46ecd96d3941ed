//! The demo keeps what it promises, from any folder, and leaves nothing behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the demo may take for a chapter, and to end once it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// The demo, run in the folder `cwd` with temporary files in `tmp`. Where the tests were started by `nohup`, it does not inherit
/// that: it would outlive its terminal.
fn demo(cwd: &Path, tmp: &Path) -> Command {
    let mut command = Command::new("env");
    if cfg!(target_os = "linux") {
        command.arg("--default-signal=HUP");
    }
    command
        .arg(env!("CARGO_BIN_EXE_replug"))
        .args(["demo", "--json"])
        .current_dir(cwd)
        .env("TMPDIR", tmp)
        .stdin(Stdio::null());
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
    let demo = Interrupted::begin(1);
    assert!(!is_empty(demo.tmp.path()), "it works in a temporary folder");
    demo.ends_by("-INT");
}

/// Its last chapter has a process of its own, which no signal of the terminal reaches.
#[cfg(unix)]
#[test]
fn a_demo_whose_terminal_is_closed_ends_its_process_too() {
    let mut demo = Interrupted::begin(5);
    let file = |folder: std::fs::DirEntry| std::fs::read(folder.path().join("child/runtime.json")).ok();
    let child = loop {
        assert!(demo.process.try_wait().unwrap().is_none(), "{}", demo.logged());
        let file = std::fs::read_dir(demo.tmp.path()).unwrap().flatten().find_map(file);
        if let Some(file) = file.and_then(|file| serde_json::from_slice::<Value>(&file).ok()) {
            break file["pid"].to_string();
        }
    };
    demo.ends_by("-HUP");
    let alive = Command::new("kill").args(["-0", &child]).stderr(Stdio::null()).status().unwrap();
    assert!(!alive.success(), "process {child} is left");
}

/// A demo that is to be interrupted.
#[cfg(unix)]
struct Interrupted {
    process: std::process::Child,
    cwd: tempfile::TempDir,
    tmp: tempfile::TempDir,
}

#[cfg(unix)]
impl Interrupted {
    /// One that has come to this chapter.
    fn begin(chapter: u32) -> Self {
        let (cwd, tmp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = demo(cwd.path(), tmp.path());
        command.stdout(Stdio::null()).stderr(std::fs::File::create(cwd.path().join("log")).unwrap());
        let process = command.spawn().expect("the binary runs");
        let mut demo = Self { process, cwd, tmp };
        let deadline = Instant::now() + PATIENCE * chapter;
        while !demo.logged().contains(&format!("\n{chapter}. ")) {
            assert!(Instant::now() < deadline && demo.process.try_wait().unwrap().is_none(), "{}", demo.logged());
        }
        demo
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(self.cwd.path().join("log")).unwrap()
    }

    /// Sends it a signal, after which it ends and leaves nothing.
    fn ends_by(mut self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.logged());
        };
        assert_eq!(status.code(), Some(1), "{}", self.logged());
        let error: Value = serde_json::from_str(self.logged().lines().last().unwrap()).expect("an error document");
        assert!(error["error"]["message"].as_str().unwrap().contains("interrupted"), "{error}");
        assert!(is_empty(self.tmp.path()), "{}", self.logged());
    }
}

#[cfg(unix)]
impl Drop for Interrupted {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
