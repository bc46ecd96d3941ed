//! Backups, as text for people.

use std::path::Path;

use super::moment;
use crate::store::archive::Contents;

pub(in crate::admin::cli) fn backup(file: &Path, contents: &Contents) -> String {
    let Contents { bytes, hash, .. } = contents;
    format!(
        "wrote {} ({bytes} bytes, checked): {}\nits checksum: {hash}\nit holds what is secret in the data directory, but for the \
         admin token: keep it as safe",
        file.display(),
        held(contents)
    )
}

pub(in crate::admin::cli) fn restored(file: &Path, data: &Path, contents: &Contents, kept: Option<&str>) -> String {
    let (file, data) = (file.display(), data.display());
    let kept = kept.map_or(String::new(), |kept| format!("\nwhat was there before is in {data}/{kept}"));
    format!("restored {file} to {data}: {}{kept}\nstart it: replug serve --data {data}", held(contents))
}

fn held(contents: &Contents) -> String {
    let Contents { about, records, bundle_files, databases, files, .. } = contents;
    format!(
        "{records} records as of {}, {bundle_files} files of bundles, {databases} databases, {files} files of modules",
        moment(about.at)
    )
}
