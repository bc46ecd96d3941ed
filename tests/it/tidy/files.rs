//! The repository's text files, and the rule that holds for all of them.

use std::path::{Path, PathBuf};

use super::rules::Breach;

/// Folders whose Rust sources are checked.
const CODE: &[&str] = &["runtime", "scripts", "tests", "benches", "examples"];

/// The top of the repository.
pub(crate) fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the repository as (path with `/`, text), sorted. Left out are what a folder's `.gitignore` names in it,
/// hidden files other than `.ci` (editors keep theirs there), links, and files that are not UTF-8.
pub(crate) fn texts() -> Vec<(String, String)> {
    let top = top();
    let mut found = Vec::new();
    walk(&top, &top, &mut found);
    found.sort();
    found
}

fn walk(top: &Path, dir: &Path, found: &mut Vec<(String, String)>) {
    let ignored = ignored(dir);
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("cannot list {}: {e}", dir.display()));
    for entry in entries {
        let path = entry.expect("a directory entry can be read").path();
        let name = path.strip_prefix(top).expect("it lies under the top").to_string_lossy().replace('\\', "/");
        let hidden = name.starts_with('.') && !name.starts_with(".ci");
        if hidden || ignored.contains(&path) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(top, &path, found);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push((name, text));
        }
    }
}

/// What the `.gitignore` of a folder names in that folder.
fn ignored(dir: &Path) -> Vec<PathBuf> {
    let lines = std::fs::read_to_string(dir.join(".gitignore")).unwrap_or_default();
    lines.lines().filter_map(|line| Some(dir.join(line.strip_prefix('/')?.trim_end_matches('/')))).collect()
}

/// Whether the file at `path` is Rust code that the rules check.
pub(crate) fn is_code(path: &str) -> bool {
    path.ends_with(".rs") && CODE.iter().any(|top| path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')))
}

/// Absolute paths that exist on one machine only.
pub(crate) fn host_paths(path: &str, text: &str, out: &mut Vec<Breach>) {
    for (index, line) in text.lines().enumerate() {
        for root in ["work", "root", "home"] {
            let needle = format!("/{root}/");
            let before = |at: usize| line[..at].chars().next_back();
            let starts = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || "._-~}".contains(c));
            if line.match_indices(&needle).any(|(at, _)| starts(before(at))) {
                out.push(Breach {
                    file: path.to_owned(),
                    line: index + 1,
                    rule: "host path",
                    message: format!("`{needle}…` exists on one machine: write it relative to the repository"),
                });
            }
        }
    }
}
