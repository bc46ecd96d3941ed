//! The REPL: at a terminal as a person uses it, and over a pipe as a script does.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::{Module, Ran, Server, Terminal, patience};

fn greeter(version: &str) -> Module {
    Module::echo("greeter", version, "lua")
}

fn at_terminal(data: &Path) -> Terminal {
    let terminal = Terminal::start(&["repl", "--data", &data.display().to_string()], &[]);
    terminal.line_ends(">");
    terminal
}

/// Whether the lines that were shown have these beginnings, in this order.
fn assert_shown(shown: &str, expected: &[&str]) {
    let mut lines = shown.lines().map(str::trim_start);
    for expected in expected {
        assert!(lines.any(|line| line.starts_with(expected)), "{expected} in:\n{shown}");
    }
}

#[tokio::test]
async fn a_module_lives_at_the_prompt_from_register_to_unregister() {
    let server = Server::with(&[]).await;
    let (one, two) = (server.write(&greeter("1.0.0")), server.write(&greeter("1.1.0")));
    let repl = at_terminal(&server.data());
    repl.line_ends(&format!("replug {}>", server.address("admin")));

    assert_shown(&repl.run(&format!("register {one}")), &["registered greeter@1.0.0"]);
    assert_shown(&repl.run("list"), &["nothing serves yet"]);
    repl.press("activate gree\t");
    repl.line_has("> activate greeter");
    repl.press("\t");
    repl.line_has("> activate greeter@1.0.0");
    assert_shown(&repl.enter(), &["greeter@1.0.0 is active"]);
    assert_shown(&repl.run("show greeter"), &["# greeter@1.0.0: active", "id: greeter"]);
    assert_shown(&repl.run(&format!("update {two}")), &["registered greeter@1.1.0", "greeter@1.1.0 "]);
    assert_eq!(server.get("/api/greeter").await.header("x-replug-module"), "greeter@1.1.0");
    repl.press("rollback gr\t");
    repl.line_has("> rollback greeter");
    assert_shown(&repl.enter(), &["greeter@1.0.0 is active"]);
    assert_shown(&repl.run("list"), &["ID ", "greeter  1.0.0"]);
    let json = repl.run("list --json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()[0]["version"], "1.0.0");
    assert_shown(&repl.run("deactivate greeter"), &["greeter@1.0.0 is out of service"]);
    assert_shown(&repl.run("unregister greeter"), &["unregistered greeter@1.0.0, greeter@1.1.0"]);
    assert_shown(&repl.run("show greeter"), &["error: "]);
    repl.press("exit\r");
    assert_eq!(repl.end(), 0, "an error of a line ends nothing");
}

#[tokio::test]
async fn lines_come_back_after_a_restart_and_the_keys_cancel_and_end() {
    let server = Server::with(&[]).await;
    let repl = at_terminal(&server.data());
    repl.run("versions greeter");
    repl.run(" list");
    repl.press("\x04");
    assert_eq!(repl.end(), 0);

    let repl = at_terminal(&server.data());
    repl.press("\x1b[A");
    repl.line_ends("> versions greeter");
    repl.press("\x03");
    repl.line_ends(">");
    // what was typed before goes on as a hint, and the right arrow takes it
    repl.press("vers");
    repl.line_ends("> versions greeter");
    repl.press("\x1b[C");
    assert_shown(&repl.enter(), &["error: greeter is not registered"]);
    repl.press("activate ");
    repl.line_ends("> activate ID[@V] [--strategy instant|gradual] [--set ID[@V]] [--no-wait]");
    repl.press("\x03");
    repl.line_ends(">");
    assert_shown(&repl.run("help activate"), &["Start a version", "Usage: activate"]);
    repl.press("\x04");
    assert_eq!(repl.end(), 0);
    let kept = std::fs::read_to_string(server.data().join("repl.history")).unwrap();
    assert!(kept.contains("versions greeter") && !kept.contains("list"), "{kept}");
}

#[tokio::test]
async fn several_candidates_stand_in_a_menu_and_paths_are_completed() {
    let server = Server::with(&[greeter("1.0.0"), Module::echo("greenhouse", "1.0.0", "lua")]).await;
    let dir = server.write(&greeter("2.0.0"));
    let repl = at_terminal(&server.data());
    repl.press("versions gr\t");
    let stands = |text: &str, id: &str| text.lines().any(|line| line.starts_with(id) && line.contains("1.0.0"));
    repl.wait(|text| stands(text, "greeter") && stands(text, "greenhouse"), "the menu");
    repl.press("\x03");
    repl.line_ends(">");
    let parent = Path::new(&dir).parent().unwrap().display().to_string();
    repl.press(&format!("check {parent}/gree\t"));
    repl.line_ends("later/greeter-2.0.0/");
    assert_shown(&repl.enter(), &["greeter@2.0.0: no faults"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_command_is_broken_off_and_a_lost_runtime_is_found_again() {
    let mut server = Server::with(&[]).await;
    let repl = at_terminal(&server.data());
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &server.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    // it stops a moment after the signal was sent
    let stat = format!("/proc/{}/stat", server.pid());
    let deadline = patience();
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        assert!(Instant::now() < deadline, "it does not stop");
        std::thread::yield_now();
    }
    repl.press("deactivate greeter\r");
    repl.wait(|text| text.contains("deactivating"), "the progress");
    repl.press("\x03");
    repl.wait(|text| text.contains("error: interrupted"), "the interruption");
    repl.line_ends("replug (not connected)>");
    signal("-CONT");
    assert_shown(&repl.run("list"), &["nothing serves yet", "connected to process"]);

    server.kill();
    assert_shown(&repl.run("list"), &["error: the runtime of", "help: start it", "connection lost: "]);
    // Tab has nothing to offer, and does not wait for anybody
    repl.press("activate \t");
    repl.wait(|text| text.contains("> activate"), "what was typed");
    repl.press("\x03");
    repl.line_ends("replug (not connected)>");
    server.start().await;
    assert_shown(&repl.run("list"), &["nothing serves yet", "connected to process"]);
    repl.line_ends(&format!("replug {}>", server.address("admin")));
}

#[tokio::test]
async fn colours_are_left_out_where_they_are_not_wanted() {
    let server = Server::with(&[]).await;
    let data = server.data().display().to_string();
    for (variables, coloured) in [([("NO_COLOR", "1")], false), ([("NO_COLOR", "")], true)] {
        let repl = Terminal::start(&["repl", "--data", &data], &variables);
        repl.line_ends(">");
        repl.run("list");
        assert_eq!(repl.is_coloured(), coloured, "{variables:?}");
    }
}

#[test]
fn without_a_runtime_it_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let repl = Terminal::start(&["repl", "--data", &data.display().to_string()], &[]);
    repl.wait(|text| text.contains("error: no runtime serves") && text.contains("help: start it"), "the error");
    assert_eq!(repl.end(), 4);
    assert!(!data.exists(), "it leaves nothing behind");
}

/// Runs the lines over a pipe.
async fn piped(server: &Server, args: &[&str], lines: String) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replug"));
    command.arg("repl").args(args).arg("--data").arg(server.data());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = move || {
        let mut process = command.spawn().expect("the binary starts");
        process.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
        let output = process.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    };
    tokio::task::spawn_blocking(run).await.expect("it runs")
}

#[tokio::test]
async fn over_a_pipe_lines_run_in_order_and_the_first_failure_is_the_end() {
    let server = Server::with(&[]).await;
    let dir = server.write(&greeter("1.0.0"));
    let ran = piped(&server, &[], format!("# set up\n\nregister {dir}\nactivate greeter@1.0.0 --json\n")).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("registered greeter@1.0.0 ("), "{ran:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(lines[1]).unwrap()["outcome"], "active");

    let lines = "rollback greeter\nactivate\ndeactivate greeter\n";
    let ran = piped(&server, &["--stop"], lines.to_owned()).await;
    assert!(ran.code == 1 && ran.err.starts_with("line 1: error: ") && ran.out.is_empty(), "{ran:?}");
    assert_eq!(server.slot("greeter").await.unwrap()["state"], "active");
    let ran = piped(&server, &[], lines.to_owned()).await;
    assert!(ran.code == 1 && ran.out.starts_with("greeter@1.0.0 is out of service"), "{ran:?}");
    assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{ran:?}");
    assert_eq!(server.slot("greeter").await.unwrap()["state"], "inactive");
}
