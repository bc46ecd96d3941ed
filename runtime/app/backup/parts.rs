//! Files and folders: into a backup, and made for one.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::BackupError;
use crate::registry::is_digest;
use crate::store::archive::{Kind, Writer};

/// The beginning of names of files that a module's file is written under before it has its name.
const UNFINISHED: &str = ".replug-";

/// How deep folders are followed. Modules make none deeper.
const DEEPEST: usize = 64;

/// Adds the bundles of `dir` that are not `written` yet. One that goes meanwhile is left out.
pub(super) fn bundles<W: Write>(
    dir: &Path,
    written: &mut BTreeSet<String>,
    writer: &mut Writer<W>,
) -> Result<(), BackupError> {
    for digest in names(dir)?.into_iter().filter(|name| is_digest(name)) {
        if !written.contains(&digest) && tree(&dir.join(&digest), Kind::Bundle, &digest, writer, DEEPEST)? {
            written.insert(digest);
        }
    }
    Ok(())
}

/// Adds the files that modules keep.
pub(super) fn files<W: Write>(dir: &Path, writer: &mut Writer<W>) -> Result<(), BackupError> {
    for module in names(dir)? {
        tree(&dir.join(&module), Kind::File, &module, writer, DEEPEST)?;
    }
    Ok(())
}

/// Adds databases that nobody has open.
#[cfg(not(feature = "sqlite"))]
pub(super) fn databases<W: Write>(dir: &Path, writer: &mut Writer<W>) -> Result<(), BackupError> {
    for name in names(dir)? {
        if let Some(module) = name.strip_suffix(".sqlite") {
            file(&dir.join(&name), Kind::Database, module, writer)?;
        }
    }
    Ok(())
}

/// Adds what is in a folder. Links, devices and the like are no one's but of who put them there, and left out; so are files that
/// are being written. False if the folder or a part of it is not there.
fn tree<W: Write>(
    dir: &Path,
    kind: Kind,
    name: &str,
    writer: &mut Writer<W>,
    depth: usize,
) -> Result<bool, BackupError> {
    if depth == 0 || !dir.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Ok(false);
    }
    let mut whole = true;
    for entry in names(dir)? {
        let (path, name) = (dir.join(&entry), format!("{name}/{entry}"));
        let found = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                whole = false;
                continue;
            }
            found => found.map_err(|error| BackupError::io(&path, "reading", &error))?,
        };
        if found.is_dir() {
            whole &= tree(&path, kind, &name, writer, depth - 1)?;
        } else if found.is_file() && !(kind == Kind::File && entry.starts_with(UNFINISHED)) {
            whole &= file(&path, kind, &name, writer).map(|()| path.exists())?;
        }
    }
    Ok(whole && dir.exists())
}

/// Adds a file, if it is there.
pub(super) fn file<W: Write>(path: &Path, kind: Kind, name: &str, writer: &mut Writer<W>) -> Result<(), BackupError> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::io(path, "reading", &error)),
        Ok(file) => {
            writer.file(kind, name, file)?;
            Ok(())
        }
    }
}

/// The names of what is in a folder, in order; none where there is no folder. Names that are no text are nobody's.
fn names(dir: &Path) -> Result<Vec<String>, BackupError> {
    let failed = |error: &io::Error| BackupError::io(dir, "reading", error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed(&error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(|error| failed(&error))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Makes a folder for its owner alone, and those that lead to it.
pub(in crate::app) fn make_private(dir: &Path) -> Result<(), BackupError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| BackupError::io(dir, "creating", &error))
}

/// Makes a file for its owner alone; one of that name goes first.
pub(super) fn create(path: &Path) -> Result<File, BackupError> {
    unlink(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| BackupError::io(path, "creating", &error))
}

/// Removes a file, if it is there; false where an open one cannot be.
pub(super) fn unlink(path: &Path) -> Result<bool, BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && cfg!(windows) => Ok(false),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::io(path, "removing", &error)),
        _ => Ok(true),
    }
}
