//! Manifests: what a module is, offers, needs and asks for, as plain types, read from `module.manifest.yaml`.
//!
//! [`load`] refuses a bad manifest with *every* fault at once, each with file, line, column and help. [`check_files`]
//! then compares it with the files of the module's folder. Nothing here reads a disk, and nothing here imports another
//! folder of the runtime.
//!
//! Text of any origin is safe to load: its size, nesting and expanded size are bounded ([`MAX_BYTES`], [`MAX_DEPTH`],
//! [`MAX_VALUES`]), and so are all lists, names and numbers in it.

use std::collections::BTreeMap;

mod check;
mod fault;
mod files;
mod lines;
mod parse;
mod report;
mod schema;

#[cfg(test)]
mod tests;

pub use fault::{Fault, Faults, Place};
pub use files::check_files;
pub use lines::Lines;
pub use schema::*;

/// Whether `text` can be the id of a module or a capability: lower-case letters, digits and dashes, in parts joined by dots,
/// at most 128 characters.
#[must_use]
pub fn is_id(text: &str) -> bool {
    check::is_id(text)
}

/// A size as manifests write it, such as `16MiB` or 4096, in bytes; `None` for anything else.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    check::parse_size(text)
}

/// Bytes as [`parse_size`] reads them.
#[must_use]
pub fn spelled_size(bytes: u64) -> String {
    check::spelled_size(bytes)
}

/// Whether `text` can be a host: a name in lower case, an address, or `*.` before a name.
#[must_use]
pub fn is_host(text: &str) -> bool {
    check::is_host(text)
}

/// Whether `text` can be a file or folder of a module's data: a relative path that stays inside.
#[must_use]
pub fn is_data_path(text: &str) -> bool {
    check::leaves_folder(text).is_none()
}

/// Whether `text` can stand for paths of the gateway: a path, or one with `/*` at its end.
#[must_use]
pub fn is_path_pattern(text: &str) -> bool {
    check::is_path_pattern(text)
}

/// Whether `text` can be the key of a setting.
#[must_use]
pub fn is_key(text: &str) -> bool {
    check::is_key(text)
}

/// Whether `text` can be the id of a component.
#[must_use]
pub fn is_component(text: &str) -> bool {
    check::is_component(text)
}

/// Whether `text` can be the name of an environment variable.
#[must_use]
pub fn is_variable(text: &str) -> bool {
    check::is_variable(text)
}

/// The name of the manifest in a module's folder.
pub const FILE_NAME: &str = "module.manifest.yaml";

/// The largest manifest, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// How deep lists and maps may be nested in each other.
pub const MAX_DEPTH: usize = 32;

/// How many values a manifest may have, an alias counted as all that it stands for.
pub const MAX_VALUES: usize = 50_000;

/// How many faults are reported; a last one says that there are more.
pub const MAX_FAULTS: usize = 100;

/// A manifest without faults, with what is worth a warning and where everything stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The manifest.
    pub manifest: Manifest,
    /// What is legal but probably not meant, in the order of the text.
    pub warnings: Vec<Fault>,
    file: String,
    places: BTreeMap<String, Place>,
}

impl Loaded {
    /// Where the value at `path` stands, such as `apis[0].path` or `lifecycle.deactivation.cleanup[1]`. For a path that
    /// is not in the text: where the nearest value around it stands, and at last the start of the file.
    pub fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Place::START,
            }
        }
    }

    /// A fault at the value of `path` (see [`Loaded::place`]), for checks that only others can make.
    pub fn fault(&self, path: &str, message: impl Into<String>, help: Option<String>) -> Fault {
        let Place { line, column } = self.place(path);
        Fault { file: self.file.clone(), line, column, message: message.into(), help }
    }
}

/// Reads and checks the manifest `text`; `file_name` only names it in faults.
///
/// # Errors
/// All faults found, in the order of the text, at most [`MAX_FAULTS`] and one that says there are more. A text that is
/// no YAML has only the faults up to the place where reading stopped.
pub fn load(file_name: &str, text: &[u8]) -> Result<Loaded, Faults> {
    let mut report = report::Report::new(file_name);
    let root = parse::parse(text, &mut report);
    let checked = root.map(|root| check::check(&root, &mut report));
    let (faults, warnings) = report.finish();
    match checked {
        Some((mut manifest, places)) if faults.is_empty() => {
            manifest.lines = Lines::of(&places);
            Ok(Loaded { manifest, warnings, file: file_name.to_owned(), places })
        }
        _ => Err(Faults(faults)),
    }
}
