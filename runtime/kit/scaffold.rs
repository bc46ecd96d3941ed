//! A new module: it passes `check` without a warning, its tests hold, and it serves at once.

use std::fs;
use std::path::{Path, PathBuf};

use replug_scripts::{Language, stubs};
use serde::Serialize;

use super::KitError;
use crate::manifest::{self, FILE_NAME};

/// Files of both languages, by path.
const COMMON: [(&str, &str); 2] =
    [(FILE_NAME, include_str!("scaffold/manifest.yaml")), ("README.md", include_str!("scaffold/README.md"))];

const LUA: [(&str, &str); 6] = [
    ("main.lua", include_str!("scaffold/lua/main.lua")),
    ("lib/greeting.lua", include_str!("scaffold/lua/greeting.lua")),
    ("tests/greeting.lua", include_str!("scaffold/lua/tests.lua")),
    (".luaurc", include_str!("scaffold/lua/luaurc.json")),
    (".vscode/settings.json", include_str!("scaffold/lua/settings.json")),
    (".vscode/extensions.json", include_str!("scaffold/lua/extensions.json")),
];

const RHAI: [(&str, &str); 5] = [
    ("main.rhai", include_str!("scaffold/rhai/main.rhai")),
    ("lib/greeting.rhai", include_str!("scaffold/rhai/greeting.rhai")),
    ("tests/greeting.rhai", include_str!("scaffold/rhai/tests.rhai")),
    ("Rhai.toml", include_str!("scaffold/rhai/Rhai.toml")),
    (".vscode/extensions.json", include_str!("scaffold/rhai/extensions.json")),
];

/// A module that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Its files, by path in that folder.
    pub files: Vec<String>,
    /// What to do next.
    pub next: Vec<String>,
}

/// Makes the folder `parent/id` with a module of that id. What editors read of the host functions is in its hidden folders,
/// which are no part of a bundle.
///
/// # Errors
/// `id` is none, there is something of that name, or it cannot be written; what was written by then stays.
pub fn create(language: Language, id: &str, parent: &Path) -> Result<Created, KitError> {
    if !manifest::is_id(id) {
        return Err(KitError::Name(id.chars().take(128).collect()));
    }
    let dir = parent.join(id);
    if dir.symlink_metadata().is_ok() {
        return Err(KitError::Exists(dir));
    }
    fs::create_dir_all(parent).map_err(failed("creating", parent))?;
    // not `create_dir_all`: of two who make it at once, one must fail
    fs::create_dir(&dir).map_err(failed("creating", &dir))?;
    let mut files = Vec::new();
    for (path, text) in texts(language, id) {
        let place = dir.join(&path);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(failed("creating", folder))?;
        }
        fs::write(&place, text).map_err(failed("writing", &place))?;
        files.push(path);
    }
    files.sort();
    let shown = shown(&dir);
    let next = [format!("replug check {shown}"), format!("replug test {shown}"), format!("replug serve {shown} --dev")];
    Ok(Created { id: id.to_owned(), dir, files, next: next.into() })
}

fn texts(language: Language, id: &str) -> Vec<(String, String)> {
    let (files, stub, text, called): (&[_], _, _, _) = match language {
        Language::Lua => (&LUA, ".vscode/replug.d.luau", stubs::luau(), "Lua"),
        Language::Rhai => (&RHAI, ".vscode/replug.d.rhai", stubs::rhai(), "Rhai"),
    };
    let ending = language.ending();
    let fill = |text: &str| {
        text.replace("{{id}}", id)
            .replace("{{name}}", &title(id))
            .replace("{{language}}", called)
            .replace("{{entry}}", &format!("main.{ending}"))
            .replace("{{ending}}", ending)
    };
    let files = COMMON.iter().chain(files).map(|(path, text)| ((*path).to_owned(), fill(text)));
    files.chain([(stub.to_owned(), text)]).collect()
}

/// The id as words: `rate-limits` is `Rate limits`.
fn title(id: &str) -> String {
    let words = id.replace(['-', '.'], " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// The folder as a shell takes it.
fn shown(dir: &Path) -> String {
    let text = dir.display().to_string();
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> KitError {
    let path = path.to_owned();
    move |error| KitError::Files { action, path, cause: error.to_string() }
}

#[cfg(test)]
mod tests;
