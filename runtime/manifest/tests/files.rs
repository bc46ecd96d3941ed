//! A manifest against the files of its folder.

use std::collections::BTreeSet;

use super::super::{Fault, check_files};
use super::good;

const MANIFEST: &str = "\
id: m
version: 1.0.0
database:
  migrations:
    - version: 1.0.0
      file: migrations/1.sql
    - version: 1.1.0
      file: migrations/2.sql
      down: migrations/back.sql
    - version: 1.2.0
      file: migrations/3.sql
      irreversible: true
components:
  - id: Chart
    file: ui/chart.js
";

const FILES: [&str; 7] = [
    "main.lua",
    "migrations/1.sql",
    "migrations/1.down.sql",
    "migrations/2.sql",
    "migrations/back.sql",
    "migrations/3.sql",
    "ui/chart.js",
];

fn set(files: &[&str]) -> BTreeSet<String> {
    files.iter().map(|file| (*file).to_owned()).collect()
}

fn lines(faults: &[Fault]) -> Vec<String> {
    let help = |fault: &Fault| fault.help.clone().unwrap_or_default();
    faults.iter().map(|fault| format!("{fault} | {}", help(fault))).collect()
}

#[test]
fn a_folder_with_everything_has_no_faults() {
    let files = set(&FILES);
    let loaded = good(MANIFEST);
    assert_eq!(check_files(&loaded, &files), []);
    assert_eq!(loaded.manifest.entry(&files).as_deref(), Some("main.lua"));
    let migrations = loaded.manifest.database.map(|database| database.migrations).unwrap_or_default();
    let down: Vec<_> = migrations.iter().map(|migration| migration.down_file(&files)).collect();
    assert_eq!(down, [Some("migrations/1.down.sql".to_owned()), Some("migrations/back.sql".to_owned()), None]);
}

#[test]
fn every_missing_file_is_named_where_it_is_asked_for() {
    let faults = check_files(&good(MANIFEST), &set(&["main.rhai", "migrations/3.sql", "ui/charts.js"]));
    let add = "add the file; paths begin at the module's folder";
    assert_eq!(
        lines(&faults),
        [
            "m.yaml:6:13: database.migrations[0].file: the module has no file `migrations/1.sql` \
             | did you mean `migrations/3.sql`?"
                .to_owned(),
            "m.yaml:8:13: database.migrations[1].file: the module has no file `migrations/2.sql` \
             | did you mean `migrations/3.sql`?"
                .to_owned(),
            format!("m.yaml:9:13: database.migrations[1].down: the module has no file `migrations/back.sql` | {add}"),
            "m.yaml:15:11: components[0].file: the module has no file `ui/chart.js` | did you mean `ui/charts.js`?"
                .to_owned(),
        ]
    );
}

#[test]
fn two_entry_scripts_are_refused_unless_one_is_named() {
    let both = set(&["main.lua", "main.rhai"]);
    let loaded = good("id: m\nversion: 1.0.0\n");
    let help = "remove one, or name the one that counts: `runtime: { entry: main.lua }`";
    let expected = format!("m.yaml:1:1: both main.lua and main.rhai are there | {help}");
    assert_eq!(lines(&check_files(&loaded, &both)), [expected]);
    assert_eq!(loaded.manifest.entry(&both), None);

    let named = good("id: m\nversion: 1.0.0\nruntime: { entry: main.rhai }\n");
    assert_eq!(check_files(&named, &both), []);
    assert_eq!(named.manifest.entry(&both).as_deref(), Some("main.rhai"));
}

#[test]
fn a_module_without_an_entry_script_is_refused() {
    let help = "add main.lua or main.rhai, or name the script: `runtime: { entry: FILE }`";
    let none = format!("m.yaml:3:10: the module has no entry script | {help}");
    let loaded = good("id: m\nversion: 1.0.0\nruntime: { workers: 1 }\n");
    assert_eq!(lines(&check_files(&loaded, &set(&["README.md"]))), [none]);

    let named = good("id: m\nversion: 1.0.0\nruntime: { entry: src/main.lua }\n");
    let faults = check_files(&named, &set(&["src/mian.lua", "main.lua"]));
    let expected = "m.yaml:3:19: runtime.entry: the module has no file `src/main.lua` | did you mean `src/mian.lua`?";
    assert_eq!(lines(&faults), [expected]);
    assert_eq!(named.manifest.entry(&set(&["main.lua"])), None);
}

#[test]
fn suspended_calls_are_refused_where_the_language_has_none() {
    let loaded = good("id: m\nversion: 1.0.0\nruntime: { concurrency: 4 }\n");
    assert_eq!(check_files(&loaded, &set(&["main.lua"])), []);
    let faults = lines(&check_files(&loaded, &set(&["main.rhai"])));
    let expected = "m.yaml:3:25: runtime.concurrency: main.rhai is Rhai, whose calls cannot be suspended \
                    | remove `concurrency`, or raise `workers` instead";
    assert_eq!(faults, [expected]);
}

#[test]
fn a_place_outside_the_text_is_that_of_the_nearest_value_around_it() {
    let loaded = good(MANIFEST);
    let at = |path: &str| (loaded.place(path).line, loaded.place(path).column);
    assert_eq!(at("database.migrations[1].down"), (9, 13));
    assert_eq!(at("database.migrations[0].down"), (5, 7));
    assert_eq!(at("database.migrations[9].down"), (5, 5));
    assert_eq!(at("lifecycle.activation.timeout"), (1, 1));
    let fault = loaded.fault("components[0].file", "cannot be read", None);
    assert_eq!(fault.to_string(), "m.yaml:15:11: cannot be read");
}
