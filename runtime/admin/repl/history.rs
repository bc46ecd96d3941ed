//! The lines that were typed, kept across starts in `DATA/repl.history`, which only its owner may read.

use std::path::{Path, PathBuf};

use reedline::{FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery};

use super::words;
use crate::admin::PrivateFileError;
use crate::admin::private;

/// The file's name in the data directory.
const NAME: &str = "repl.history";

/// How many lines are kept.
const LINES: usize = 1000;

/// Beginnings of lines that carry values of the user's, which may be secrets.
const FREE: &[&str] = &["config", "eval"];

/// What the name of a secret looks like.
const SECRETS: &[&str] =
    &["password", "passwd", "secret", "token", "credential", "apikey", "api_key", "api-key", "bearer"];

/// The history of a data directory.
pub(super) struct Lines(FileBackedHistory);

impl Lines {
    /// Reads the file, and makes it if it is missing.
    ///
    /// # Errors
    /// It cannot be made, read, or kept from others.
    pub(super) fn open(data: &Path) -> std::result::Result<Self, PrivateFileError> {
        let path = path(data);
        private::touch(&path)?;
        let history = FileBackedHistory::with_file(LINES, path.clone());
        history.map(Self).map_err(|error| PrivateFileError::content(&path, error))
    }

    /// A history that ends with the process.
    pub(super) fn forgetful() -> Self {
        Self(FileBackedHistory::default())
    }
}

fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// Whether a line may be written to a file: a space before it, or what looks like a secret, keeps it out.
fn may_be_kept(line: &str) -> bool {
    let words = words::words(line).unwrap_or_default();
    let free = words.first().is_some_and(|word| FREE.contains(&&**word));
    let secret = |word: &String| SECRETS.iter().any(|secret| word.to_lowercase().contains(secret));
    let hides = free && words.iter().any(secret);
    !line.starts_with(' ') && !hides
}

impl History for Lines {
    fn save(&mut self, item: HistoryItem) -> Result<HistoryItem> {
        if may_be_kept(&item.command_line) { self.0.save(item) } else { Ok(item) }
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.0.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.0.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.0.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.0.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.0.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
}

/// The newest line that starts with `beginning` and is longer.
pub(super) fn continued(history: &dyn History, beginning: &str) -> Option<String> {
    let mut query = SearchQuery::last_with_prefix(beginning.to_owned(), history.session());
    // the line itself may have been typed more than once
    query.limit = None;
    let found = history.search(query).ok()?;
    found.into_iter().map(|item| item.command_line).find(|line| line != beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(history: &mut Lines, line: &str) {
        history.save(HistoryItem::from_command_line(line)).unwrap();
    }

    #[test]
    fn lines_outlive_the_process_and_only_their_owner_reads_them() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut history = Lines::open(dir.path()).unwrap();
        for line in ["list", "activate a@1.0.0", "activate a@1.1.0"] {
            save(&mut history, line);
        }
        history.sync().unwrap();
        let again = Lines::open(dir.path()).unwrap();
        assert_eq!(continued(&again, "act").as_deref(), Some("activate a@1.1.0"));
        assert_eq!(continued(&again, "list"), None, "nothing is added to a whole line");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(dir.path().join("repl.history")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_could_read_is_closed_to_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("repl.history");
        std::fs::write(&path, "list\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let history = Lines::open(dir.path()).unwrap();
        assert_eq!(continued(&history, "li").as_deref(), Some("list"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn secrets_and_lines_after_a_space_are_not_kept() {
        for line in [" list", "config set mailer smtp.password hunter2", "eval mailer 'connect(\"s\", API_KEY)'"] {
            assert!(!may_be_kept(line), "{line}");
        }
        for line in ["list", "config set mailer greeting hello", "activate token-service@1.0.0"] {
            assert!(may_be_kept(line), "{line}");
        }
    }
}
