//! The way from a module's folder to a file: part by part, through no link.

use std::io;
use std::path::Path;

use cap_fs_ext::{DirExt as _, FollowSymlinks, MetadataExt as _, OpenOptionsFollowExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions};

use super::{ENTRY_COST, RESERVED};

/// Opens the module's folder.
pub(super) fn open_root(root: &Path) -> io::Result<Dir> {
    Dir::open_ambient_dir(root, ambient_authority())
}

/// Makes the module's folder, for its owner alone.
pub(super) fn make_root(root: &Path) -> io::Result<Dir> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(root)?;
    open_root(root)
}

/// Goes down from `dir` as far as folders exist; what is left of `folders` is missing.
pub(super) fn descend(mut dir: Dir, mut folders: &[String]) -> io::Result<(Dir, &[String])> {
    while let Some((next, rest)) = folders.split_first() {
        match dir.open_dir_nofollow(next) {
            Ok(below) => dir = below,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
        folders = rest;
    }
    Ok((dir, folders))
}

/// Goes down from `dir`; every folder must exist.
pub(super) fn follow(dir: Dir, folders: &[String]) -> io::Result<Dir> {
    match descend(dir, folders)? {
        (dir, []) => Ok(dir),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Makes one folder after the other below `dir`; each is on the disk when it returns.
pub(super) fn make(mut dir: Dir, folders: &[String]) -> io::Result<Dir> {
    for folder in folders {
        dir.create_dir(folder)?;
        sync(&dir)?;
        dir = dir.open_dir_nofollow(folder)?;
    }
    Ok(dir)
}

/// What `name` is, if it is there; a link is a link.
pub(super) fn look(dir: &Dir, name: &str) -> io::Result<Option<Metadata>> {
    match dir.symlink_metadata(name) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why the contents of what was found are not touched; `None` for a plain file with one name.
pub(super) fn odd(found: &Metadata) -> Option<&'static str> {
    let kind = found.file_type();
    if kind.is_dir() {
        Some("it is a folder")
    } else if kind.is_symlink() {
        Some("it is a link, and links are not followed")
    } else if !kind.is_file() {
        Some("it is no plain file")
    } else if found.nlink() > 1 {
        Some("the file has several names (hard links), which may be anywhere")
    } else {
        None
    }
}

/// Options that open no link.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.follow(FollowSymlinks::No);
    options
}

/// Options for what is made: for its owner alone.
pub(super) fn creating() -> OpenOptions {
    let mut options = options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes changes in a folder last.
#[cfg(unix)]
pub(super) fn sync(dir: &Dir) -> io::Result<()> {
    // the handle itself may be good for walking only
    dir.open(".")?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync(_dir: &Dir) -> io::Result<()> {
    Ok(()) // A directory cannot be opened as a file there; the file system journals its entries.
}

/// What everything below `dir` costs, `depth` folders deep at most. Removes what an interrupted write left.
pub(super) fn cost(dir: &Dir, depth: usize) -> io::Result<u64> {
    let (mut total, mut folders) = (0, Vec::new());
    for entry in dir.entries()? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_file() && name.to_str().is_some_and(|name| name.starts_with(RESERVED)) {
            dir.remove_file(&name)?;
            continue;
        }
        total += ENTRY_COST;
        if kind.is_dir() {
            folders.push(name);
        } else if kind.is_file() {
            total += entry.metadata()?.len();
        }
    }
    if let Some(depth) = depth.checked_sub(1) {
        for folder in folders {
            total += cost(&dir.open_dir_nofollow(&folder)?, depth)?;
        }
    }
    Ok(total)
}
