//! Paths of this machine that can stand at the cursor.

use std::path::Path;

use super::complete::Candidate;
use super::words;

/// How many entries of a folder are looked at.
const ENTRIES: usize = 10_000;

/// The folders that start with `typed`, and the files if `files` may stand there, by name. A folder ends with `/`, so that
/// what is in it can follow; hidden entries are offered once their dot is typed.
pub(super) fn starting_with(typed: &str, files: bool) -> Vec<Candidate> {
    let (folder, name) = typed.rfind('/').map_or(("", typed), |at| typed.split_at(at + 1));
    let Ok(entries) = std::fs::read_dir(if folder.is_empty() { Path::new(".") } else { Path::new(folder) }) else {
        return Vec::new();
    };
    let candidate = |entry: std::fs::DirEntry| {
        let found = entry.file_name().into_string().ok()?;
        let hidden = found.starts_with('.') && !name.starts_with('.');
        // what a link leads to counts
        let is_folder = entry.path().is_dir();
        if hidden || !found.starts_with(name) || !(is_folder || files) {
            return None;
        }
        let end = if is_folder { "/" } else { "" };
        Some(Candidate { value: words::quoted(&format!("{folder}{found}{end}")), about: None, ends: !is_folder })
    };
    let mut found: Vec<_> = entries.take(ENTRIES).filter_map(|entry| candidate(entry.ok()?)).collect();
    found.sort_by(|a, b| a.value.cmp(&b.value));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_offered_and_files_where_they_may_stand() {
        let dir = tempfile::TempDir::new().unwrap();
        for folder in ["greeter", "green house", ".hidden", "mailer"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("greetings.txt"), "").unwrap();
        let found = |typed: &str, files| {
            let typed = format!("{}/{typed}", dir.path().display());
            let cut = |value: &str| value.replace(&format!("{}/", dir.path().display()), "");
            starting_with(&typed, files).iter().map(|it| (cut(&it.value), it.ends)).collect::<Vec<_>>()
        };
        let folder = |name: &str| (name.to_owned(), false);
        assert_eq!(found("gree", false), [folder("'green house/'"), folder("greeter/")]);
        assert_eq!(found("greet", true), [folder("greeter/"), ("greetings.txt".to_owned(), true)]);
        assert_eq!((found(".h", false), found("x", true)), (vec![folder(".hidden/")], vec![]));
        assert_eq!(found("missing/", true), []);
    }
}
