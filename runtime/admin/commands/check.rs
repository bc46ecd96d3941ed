//! `check`: everything that can be known of a module's folder without a server.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use replug_scripts::{SourceFault, Suite};
use serde::{Deserialize, Serialize};

use super::{CommandError, Finding, Location};
use crate::engine::validate::sources;
use crate::kit::suites;
use crate::manifest::{self, ENTRY_FILES, FILE_NAME, Faults, Loaded};
use crate::registry::{Bundle, RegistryError};

mod grants;
mod handlers;
mod standards;

/// What `check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// `id@version`; none while the manifest has faults.
    pub module: Option<String>,
    /// What would be refused, or would fail when the module starts.
    pub faults: Vec<Finding>,
    /// What is legal but probably not meant.
    pub warnings: Vec<Finding>,
}

/// Checks the manifest, the files and the scripts of `dir`, and reports all that is wrong at once. Only the entry script's top
/// level is run, in a sandbox that reaches nothing, to see whether it has the handlers that the manifest names.
///
/// # Errors
/// The folder cannot be read, or has no manifest.
pub fn check(dir: &Path) -> Result<CheckReport, CommandError> {
    let (text, bundle) = match Bundle::read_dir(dir) {
        Ok(bundle) => (bundle.manifest().to_vec(), Ok(bundle)),
        Err(error) => match read_manifest(dir) {
            // The manifest can be checked in spite of a file that cannot be registered.
            Some(text) => (text, Err(error)),
            None => return Err(error.into()),
        },
    };
    let mut report = CheckReport::default();
    let loaded = match manifest::load(&place(dir, FILE_NAME), &text) {
        Ok(loaded) => {
            report.module = Some(loaded.manifest.label());
            report.warnings = loaded.warnings.iter().cloned().map(Finding::from).collect();
            Some(loaded)
        }
        Err(Faults(faults)) => {
            report.faults = faults.into_iter().map(Finding::from).collect();
            None
        }
    };
    match bundle {
        Ok(bundle) => {
            let paths = bundle.paths();
            if let Some(loaded) = &loaded {
                report.faults.extend(manifest::check_files(loaded, &paths).into_iter().map(Finding::from));
            }
            for entry in entries(loaded.as_ref(), &paths) {
                let program =
                    sources(entry.clone(), bundle.files()).and_then(|sources| replug_scripts::compile(&sources));
                match (program, &loaded) {
                    (Err(faults), _) => report.faults.extend(named(dir, faults)),
                    (Ok(program), Some(loaded)) if report.faults.is_empty() => {
                        handlers::check(dir, &entry, loaded, &*program, &mut report);
                    }
                    (Ok(_), _) => {}
                }
                report.faults.extend(named(dir, tests(&bundle, &entry)));
            }
            if let Some(loaded) = &loaded {
                grants::check(dir, loaded, &bundle, &mut report.warnings);
                standards::check(loaded, &bundle, &mut report.warnings);
            }
        }
        Err(error) => report.faults.push(unfit(dir, error)),
    }
    Ok(report)
}

/// `file` of the folder as the user would name it.
fn place(dir: &Path, file: &str) -> String {
    dir.join(file).display().to_string()
}

fn read_manifest(dir: &Path) -> Option<Vec<u8>> {
    let file = File::open(dir.join(FILE_NAME)).ok()?;
    let mut text = Vec::new();
    // One byte more than is allowed, so that a manifest that is too large is told as such.
    file.take(manifest::MAX_BYTES as u64 + 1).read_to_end(&mut text).ok()?;
    Some(text)
}

/// What keeps the folder from being a bundle, as a fault at the file that does.
fn unfit(dir: &Path, error: RegistryError) -> Finding {
    let file = match &error {
        RegistryError::Refused { path, .. } => place(dir, path),
        _ => dir.display().to_string(),
    };
    let CommandError { message, help, .. } = error.into();
    Finding { location: Location { file, line: 1, column: 1 }, message, help }
}

/// The scripts to compile: the manifest's entry, or while that is unknown every file that could be one.
fn entries(loaded: Option<&Loaded>, files: &BTreeSet<String>) -> Vec<String> {
    match loaded.and_then(|loaded| loaded.manifest.entry(files)) {
        Some(entry) => vec![entry],
        None => ENTRY_FILES.iter().filter(|name| files.contains(**name)).map(ToString::to_string).collect(),
    }
}

/// What is wrong with the test files, and with what only they use.
fn tests(bundle: &Bundle, entry: &str) -> Vec<SourceFault> {
    let mut faults = Vec::new();
    for file in suites::files(bundle.files().keys()) {
        let compiled = suites::sources_of(file, bundle, entry).and_then(|sources| Suite::compile(&sources));
        faults
            .extend(compiled.err().unwrap_or_default().into_iter().filter(|fault| fault.file.starts_with(suites::DIR)));
    }
    faults
}

/// The faults with their files named as the user would.
fn named(dir: &Path, faults: Vec<SourceFault>) -> impl Iterator<Item = Finding> {
    faults.into_iter().map(move |mut fault| {
        fault.file = place(dir, &fault.file);
        Finding::from(fault)
    })
}

#[cfg(test)]
mod tests;
