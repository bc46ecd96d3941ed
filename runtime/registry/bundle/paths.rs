//! Paths in a bundle: relative, with `/`, written in one way only.

use super::{MAX_BUNDLE_PATH, RegistryError, refused};

/// Refuses what could name a place outside the folder on any system, or the same place twice.
pub(super) fn check(path: &str) -> Result<(), RegistryError> {
    let reason = if path.is_empty() {
        "is an empty path"
    } else if path.len() > MAX_BUNDLE_PATH {
        "is longer than 512 bytes; shorten it"
    } else if path.starts_with('/') {
        "is absolute; paths are relative to the module's folder"
    } else if path.contains(|c: char| c == '\\' || c == ':' || c.is_control()) {
        "has a backslash, a colon or a control character; rename it"
    } else if path.split('/').any(|part| part == "..") {
        "leaves the module's folder"
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        "has an empty or `.` part; write it plainly"
    } else {
        return Ok(());
    };
    Err(refused(path, reason))
}

/// Whether the file is no part of the module: hidden, an editor's, or below `target`. Meant for files and folders alike.
pub(super) fn is_left_out(path: &str) -> bool {
    path == "target" || path.starts_with("target/") || path.split('/').any(is_hidden_or_backup)
}

fn is_hidden_or_backup(name: &str) -> bool {
    let backup = [".bak", ".swp", ".swo", ".swx"].iter().any(|end| name.ends_with(end));
    name.starts_with('.')
        || name.ends_with('~')
        || backup
        || (name.len() > 1 && name.starts_with('#') && name.ends_with('#'))
}

/// The folders that `path` is in, outermost first.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}
