use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::CommandFactory;

use super::*;
use crate::admin::commands::{Finding, Location, verbs};

mod choosing;
mod records;
mod relations;
mod remote;
mod steering;
mod top;

/// What stands for an output of the process.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output that cannot be written to.
struct Blocked(io::ErrorKind);

impl Write for Blocked {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a command line came to.
struct Ended {
    exit: Exit,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> serde_json::Value {
        assert_eq!(self.out.lines().count(), 1, "one document: {}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }

    fn error(&self) -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&self.err).unwrap_or_else(|_| panic!("{}", self.err))["error"].clone()
    }
}

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("replug").chain(line.split_whitespace()).map(OsString::from).collect()
}

fn typed(line: Vec<OsString>) -> Ended {
    typed_on(line, Paper::default(), Paper::default())
}

fn typed_on(line: Vec<OsString>, out: Paper, err: Paper) -> Ended {
    let exit = match parse_from::<Cli>(line, &mut Output::to(out.clone(), err.clone(), false)) {
        Err(exit) => exit,
        Ok(Cli { command: Command::Request(request), globals }) => {
            requests::run(request, &globals, &mut Output::to(out.clone(), err.clone(), globals.json))
        }
        Ok(cli) => panic!("{cli:?}"),
    };
    Ended { exit, out: out.text(), err: err.text() }
}

fn parsed(line: &str) -> Cli {
    Cli::try_parse_from(words(line)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_definition_holds_and_each_verb_is_that_of_the_table() {
    let mut command = Cli::command();
    command.build();
    command.clone().debug_assert();
    let verbs: BTreeSet<_> = verbs::VERBS.iter().map(|verb| verb.name).collect();
    let found: BTreeSet<_> =
        command.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "help").collect();
    assert_eq!(found, verbs);
    for verb in verbs::VERBS {
        let help = typed(words(&format!("{} --help", verb.name)));
        assert_eq!((help.exit, help.err.as_str()), (Exit::Done, ""));
        assert!(help.out.contains(verb.about) && help.out.contains(verb.example), "{}", help.out);
        assert!(help.out.contains("--json") && help.out.contains("--data"), "{}", help.out);
        Cli::try_parse_from(words(verb.example.trim_start_matches("replug ")))
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn options_stand_before_and_after_the_other_arguments() {
    for line in [
        "--data d --json activate a@1.0.0 --strategy instant",
        "activate --data d --json --strategy instant a@1.0.0",
        "activate a@1.0.0 --strategy instant --data d --json",
        "--json activate a@1.0.0 --data d --strategy=instant",
    ] {
        let Cli { globals, command } = parsed(line);
        assert!(globals.json && globals.data == Path::new("d"), "{line}");
        let Command::Request(Request::Activate { module, strategy, set, no_wait }) = command else { panic!("{line}") };
        assert_eq!((module.to_string().as_str(), strategy, no_wait), ("a@1.0.0", Some(Strategy::Instant), false));
        assert!(set.is_empty());
    }
    let Cli { globals, command: Command::Serve(serve) } = parsed("serve a b --admin 127.0.0.1:0 --data d") else {
        panic!()
    };
    assert_eq!((serve.dirs, globals.data), (vec![PathBuf::from("a"), "b".into()], "d".into()));
    let Cli { globals, command: Command::Serve(serve) } = parsed("serve") else { panic!() };
    assert_eq!((serve.dirs, globals.data, globals.json), (vec![PathBuf::from("modules")], ".replug".into(), false));
    assert_eq!((serve.listen.to_string(), serve.admin.to_string()), ("127.0.0.1:8080".into(), "127.0.0.1:8081".into()));
}

#[test]
fn the_others_of_a_set_stand_behind_the_first() {
    let Cli { command: Command::Request(Request::Activate { module, set, no_wait, .. }), .. } =
        parsed("activate a@2.0.0 --set b@2.0.0 c --no-wait")
    else {
        panic!()
    };
    let set: Vec<_> = set.iter().map(ToString::to_string).collect();
    assert_eq!((module.to_string().as_str(), set, no_wait), ("a@2.0.0", vec!["b@2.0.0".to_owned(), "c".into()], true));
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_meant_in_both_forms() {
    for (line, meant) in [
        ("dance", "unrecognized subcommand 'dance'"),
        ("activate", "required arguments were not provided"),
        ("activate A@1.0.0", "names no module"),
        ("activate a@1", "no full version"),
        ("deactivate a@1.0.0", "leave @ and the version out"),
        ("activate a --strategy fast", "invalid value 'fast'"),
        ("find", "--capability"),
        ("find --capability a --category b", "cannot be used with"),
        ("rollback a --to new", "invalid value 'new'"),
        ("history a --limit 0", "0 is not in 1..=1000"),
        ("audit look", "invalid value 'look'"),
        ("audit verify --follow", "cannot be used with"),
    ] {
        let ended = typed(words(line));
        assert!(
            ended.exit == Exit::Usage && ended.out.is_empty() && ended.err.contains(meant),
            "{line}: {}",
            ended.err
        );
        let ended = typed(words(&format!("{line} --json")));
        let error = ended.error();
        assert!(ended.exit == Exit::Usage && error["kind"] == "usage", "{line}: {error}");
        assert!(error["message"].as_str().unwrap().contains(meant) && error["help"].is_string(), "{line}: {error}");
    }
    assert_eq!(typed(words("")).exit, Exit::Usage);
}

fn rendered(error: &CommandError, json: bool) -> String {
    let err = Paper::default();
    Output::to(io::sink(), err.clone(), json).error(error);
    err.text()
}

#[test]
fn an_error_is_a_line_with_help_or_one_document() {
    let error = CommandError::new("runs", "a@1.0.0 is active").with_help("replug deactivate a");
    assert_eq!(rendered(&error, false), "error: a@1.0.0 is active\n  help: replug deactivate a\n");
    let document =
        r#"{"error":{"kind":"runs","message":"a@1.0.0 is active","help":"replug deactivate a","location":null}}"#;
    assert_eq!(rendered(&error, true), format!("{document}\n"));
}

#[test]
fn every_fault_is_a_line_with_its_place_and_its_help() {
    let fault = |line, help: Option<&str>| Finding {
        location: Location { file: "m/module.manifest.yaml".into(), line, column: 5 },
        message: format!("fault {line}"),
        help: help.map(str::to_owned),
    };
    let error = CommandError::of_faults("manifest", vec![fault(2, Some("do this")), fault(9, None)]);
    let text = "m/module.manifest.yaml:2:5: fault 2\n  help: do this\nm/module.manifest.yaml:9:5: fault 9\n";
    assert_eq!(rendered(&error, false), text);
    let document: serde_json::Value = serde_json::from_str(&rendered(&error, true)).unwrap();
    let place = serde_json::json!({"file": "m/module.manifest.yaml", "line": 2, "column": 5});
    assert_eq!((&document["error"]["location"], &document["error"]["message"]), (&place, &"fault 2".into()));
}

#[test]
fn what_a_module_writes_cannot_steer_the_terminal() {
    let error = CommandError::new("failed", "\u{1b}[2Jgone\r\u{7}");
    assert_eq!(rendered(&error, false), "error: \u{fffd}[2Jgone\u{fffd}\u{fffd}\n");
}

#[test]
fn a_reader_that_had_enough_is_no_failure_and_a_full_disk_is() {
    for (kind, expected) in [(io::ErrorKind::BrokenPipe, Exit::Done), (io::ErrorKind::StorageFull, Exit::Failed)] {
        let err = Paper::default();
        let mut output = Output::to(Blocked(kind), err.clone(), false);
        output.result("text");
        output.result("more");
        assert_eq!(output.end(Exit::Done), expected);
        assert_eq!(err.text().contains("writing failed"), expected == Exit::Failed);
    }
}

fn folder(script: &str) -> tempfile::TempDir {
    let dir = tempfile::TempDir::new().unwrap();
    let manifest = "id: a\nname: A\nversion: 1.0.0\ndescription: d\ncapabilities: [{ id: a }]\n\
        lifecycle: { activation: { healthChecks: [{ endpoint: /health }] } }\n";
    std::fs::create_dir(dir.path().join("tests")).unwrap();
    for (path, text) in
        [("module.manifest.yaml", manifest), ("main.lua", script), ("README.md", "#"), ("tests/a.lua", "return {}")]
    {
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    dir
}

fn check(dir: &Path, json: bool) -> Ended {
    let mut line = words("check");
    line.push(dir.into());
    line.extend(json.then(|| OsString::from("--json")));
    typed(line)
}

#[test]
fn check_needs_no_server_and_names_files_as_they_were_typed() {
    let good = folder("return { health = function() end }");
    let ended = check(good.path(), false);
    assert_eq!((ended.exit, ended.out.as_str(), ended.err.as_str()), (Exit::Done, "a@1.0.0: no faults\n", ""));
    assert_eq!(check(good.path(), true).json(), serde_json::json!({"module": "a@1.0.0", "faults": [], "warnings": []}));

    let bad = folder("return {\n");
    let place = format!("{}:", bad.path().join("main.lua").display());
    let ended = check(bad.path(), false);
    assert!(ended.exit == Exit::Failed && ended.out.is_empty() && ended.err.starts_with(&place), "{}", ended.err);
    let ended = check(bad.path(), true);
    assert_eq!((ended.exit, ended.json()["faults"].as_array().unwrap().len()), (Exit::Failed, 1));
    assert_eq!(
        ended.error()["location"],
        ended.json()["faults"][0]
            .as_object()
            .map(|fault| {
                serde_json::json!({"file": fault["file"], "line": fault["line"], "column": fault["column"]})
            })
            .unwrap()
    );
    assert_eq!(ended.error()["kind"], "script");
    let missing = check(&bad.path().join("missing"), true);
    assert_eq!((missing.exit, missing.out.as_str(), &missing.error()["kind"]), (Exit::Failed, "", &"files".into()));
}
