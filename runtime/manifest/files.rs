//! A manifest against the files of its folder.

use std::collections::BTreeSet;

use super::report::{in_order, nearest};
use super::{ENTRY_FILES, Fault, Loaded};

/// Every fault that only the module's files can show: an entry script that is missing or twofold, and migrations, their
/// way down and components whose files are missing. `files` are paths relative to the module's folder, with `/`.
pub fn check_files(loaded: &Loaded, files: &BTreeSet<String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let manifest = &loaded.manifest;
    match (&manifest.runtime.entry, ENTRY_FILES.map(|name| files.contains(name))) {
        (Some(entry), _) => faults.extend(missing(loaded, "runtime.entry", entry, files)),
        (None, [true, true]) => {
            let help = "remove one, or name the one that counts: `runtime: { entry: main.lua }`";
            faults.push(loaded.fault("runtime", "both main.lua and main.rhai are there", Some(help.to_owned())));
        }
        (None, [false, false]) => {
            let help = "add main.lua or main.rhai, or name the script: `runtime: { entry: FILE }`";
            faults.push(loaded.fault("runtime", "the module has no entry script", Some(help.to_owned())));
        }
        (None, _) => {}
    }
    if let Some(entry) = manifest.entry(files).filter(|entry| entry.ends_with(".rhai"))
        && manifest.runtime.concurrency > 1
    {
        let message = format!("runtime.concurrency: {entry} is Rhai, whose calls cannot be suspended");
        let help = "remove `concurrency`, or raise `workers` instead".to_owned();
        faults.push(loaded.fault("runtime.concurrency", message, Some(help)));
    }
    for (index, migration) in manifest.database.iter().flat_map(|database| &database.migrations).enumerate() {
        let path = format!("database.migrations[{index}]");
        faults.extend(missing(loaded, &format!("{path}.file"), &migration.file, files));
        if let Some(down) = &migration.down {
            faults.extend(missing(loaded, &format!("{path}.down"), down, files));
        }
    }
    for (index, component) in manifest.components.iter().enumerate() {
        if let Some(file) = &component.file {
            faults.extend(missing(loaded, &format!("components[{index}].file"), file, files));
        }
    }
    in_order(faults, &loaded.file, "faults")
}

fn missing(loaded: &Loaded, path: &str, file: &str, files: &BTreeSet<String>) -> Option<Fault> {
    if files.contains(file) {
        return None;
    }
    let near = nearest(file, files.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
    let help = near.unwrap_or_else(|| "add the file; paths begin at the module's folder".to_owned());
    Some(loaded.fault(path, format!("{path}: the module has no file `{file}`"), Some(help)))
}
