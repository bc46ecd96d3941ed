//! The examples run as they say. They are built here with the features of this test; that `headless` builds without HTTP is for
//! CI to see (`.ci/run`).

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The binary of an example, built if it is missing or old: a run of this test alone does not do that.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a binary");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/it");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", name]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "the example {name} does not build");
    profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

#[test]
fn the_example_without_http_changes_its_rules_and_changes_them_back() {
    let ran = Command::new(example("headless")).output().expect("it runs");
    let said = String::from_utf8(ran.stdout).expect("UTF-8");
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let expected = [
        "10 x tea: 45.00 (list price)",
        "10 x coffee: pricing.quote: catalogue.price: there is no coffee",
        "pricing@1.1.0 is provisional",
        "10 x tea: 40.50 (ten per cent off from ten pieces on)",
        "pricing@1.0.0 is active",
        "10 x tea: 45.00 (list price)",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

/// The process of an example that must not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_example_in_an_axum_application_serves_and_stops_by_ctrl_c() {
    let binary = tokio::task::spawn_blocking(|| example("embed")).await.unwrap();
    let process = Command::new(binary).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("it starts");
    let mut process = Running(process);
    let mut said = BufReader::new(process.0.stdout.take().expect("a pipe")).lines().map(|line| line.expect("UTF-8"));
    let mut lines = Vec::new();
    let address = loop {
        let line = said.next().unwrap_or_else(|| panic!("it ended: {lines:?}"));
        match line.strip_prefix("listening on ") {
            Some(address) => break address.to_owned(),
            None => lines.push(line),
        }
    };
    let get = async |path: &str| {
        let answer = reqwest::get(format!("{address}{path}")).await.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    assert_eq!(get("/modules/hello/ada").await, (200, "Hello, ada!\n".to_owned()));
    assert_eq!(get("/greet/ada").await, (200, "Welcome back, ada, for the 2. time. (2 so far)\n".to_owned()));
    assert_eq!(get("/hello/ada").await.0, 404, "modules are below /modules only");
    let (status, problem) = get("/modules/nothing").await;
    assert!(status == 404 && problem.contains("no-module"), "{problem}");

    let sent = Command::new("kill").args(["-INT", &process.0.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    lines.extend(said);
    assert_eq!(lines.last().map(String::as_str), Some("stopped"), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with(r#"{"event":"activationEnded""#)), "{lines:?}");
    assert!(process.0.wait().expect("it ends").success());
}
