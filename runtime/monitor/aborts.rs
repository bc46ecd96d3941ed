//! Who aborts the process: a file in which a dying process names the version whose script its thread was executing.
//!
//! In-process limits are no boundary against memory bugs of a VM itself. A version that brings the process down would do so again at each
//! start, so one that did it [`LIMIT`] times is not started by the runtime itself any more. Only an abort names anybody (SIGABRT, SIGSEGV,
//! SIGBUS, SIGILL of the process's own); a kill, the lack of memory and a power cut name nobody.
//!
//! The file is only appended to: `ID@VERSION` by the handler of these signals, `!ID@VERSION` by whoever forgives.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(unix)]
mod signal;

#[cfg(unix)]
pub use signal::install;

#[cfg(all(test, unix))]
pub(crate) use signal::executes;

#[cfg(test)]
mod tests;

/// Aborts after which a version is not started by the runtime itself any more.
pub const LIMIT: u32 = 2;

/// A larger file is written anew at the start, with what still counts.
const LARGEST: u64 = 64 << 10;

/// The file of a data directory, and what stood in it at the start. Clones share it. By default there is none, and nobody is named.
#[derive(Clone, Debug, Default)]
pub struct Aborts(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: Arc<File>,
    counts: Mutex<BTreeMap<String, u32>>,
}

/// What a thread is to be named by if it brings the process down. Clones are for the threads on which others work for it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Kept open for the handler.
    file: Arc<File>,
    /// `ID@VERSION` and the end of the line.
    line: Arc<[u8]>,
}

impl Aborts {
    /// Opens the file, which is made where it is missing, and counts what stands in it.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let counts = counted(&text);
        if text.len() as u64 > LARGEST {
            let lines = counts.iter().flat_map(|(label, count)| (0..*count).map(move |_| format!("{label}\n")));
            std::fs::write(path, lines.collect::<String>())?;
        }
        let mut file = File::options().create(true).append(true).open(path)?;
        // what a dying process wrote may lack its end
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        let inner = Inner { path: path.to_owned(), file: Arc::new(file), counts: Mutex::new(counts) };
        Ok(Self(Some(Arc::new(inner))))
    }

    /// How often `label`, an `ID@VERSION`, brought a process down since it was forgiven.
    #[must_use]
    pub fn count(&self, label: &str) -> u32 {
        let Some(inner) = &self.0 else { return 0 };
        inner.counts.lock().unwrap_or_else(PoisonError::into_inner).get(label).copied().unwrap_or(0)
    }

    /// Forgets what `label` did; it is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn forgive(&self, label: &str) -> Result<(), ForgiveError> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut counts = inner.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.contains_key(label) {
            let written =
                (&*inner.file).write_all(format!("!{label}\n").as_bytes()).and_then(|()| inner.file.sync_data());
            written.map_err(|cause| ForgiveError { path: inner.path.clone(), cause: cause.to_string() })?;
            counts.remove(label);
        }
        Ok(())
    }

    /// What a thread that executes `label` is to be named by.
    #[must_use]
    pub fn name(&self, label: &str) -> Option<Named> {
        let inner = self.0.as_ref()?;
        Some(Named { file: Arc::clone(&inner.file), line: format!("{label}\n").into_bytes().into() })
    }

    /// Does `work`; if the process aborts on this thread meanwhile, `label` is named.
    pub fn during<T>(&self, label: &str, work: impl FnOnce() -> T) -> T {
        match self.name(label) {
            Some(named) => named.during(work),
            None => work(),
        }
    }
}

/// That a version is forgiven could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: that a version is forgiven could not be written: {cause}", path.display())]
pub struct ForgiveError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub cause: String,
}

#[cfg(not(unix))]
impl Named {
    /// Does `work`; there is no handler here that would name it.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let Self { file: _, line: _ } = self;
        work()
    }
}

/// How often each version stands in the file since it was forgiven.
fn counted(text: &str) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        match line.strip_prefix('!') {
            Some(forgiven) => drop(counts.remove(forgiven)),
            None if line.contains('@') => *counts.entry(line.to_owned()).or_default() += 1,
            None => {}
        }
    }
    counts
}
