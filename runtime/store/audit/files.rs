//! The files of a log: their names, their modes, their entries in the directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::path::Path;

use super::line::MAX_LINE;
use crate::store::disk::{create_synced, sync_dir};

const SUFFIX: &str = ".jsonl";

/// A segment: the number of its first entry, and its file's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) name: String,
}

impl Segment {
    pub(super) fn new(first: u64) -> Self {
        Self { first, name: format!("{first:020}{SUFFIX}") }
    }

    fn of(name: &str) -> Option<Self> {
        let segment = Self::new(name.strip_suffix(SUFFIX)?.parse().ok()?);
        (segment.name == name).then_some(segment)
    }
}

/// The segments of `dir`, ascending.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        found.extend(entry?.file_name().to_str().and_then(Segment::of));
    }
    found.sort();
    Ok(found)
}

/// Creates the directory for its owner alone.
pub(super) fn make_private(dir: &Path) -> io::Result<()> {
    create_synced(dir)?;
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// Creates an empty segment; its entry in the directory is synced.
pub(super) fn create(dir: &Path, segment: &Segment) -> io::Result<File> {
    let file = private(OpenOptions::new().append(true).create_new(true)).open(dir.join(&segment.name))?;
    file.sync_all()?;
    sync_dir(dir)?;
    Ok(file)
}

/// Replaces a small file as a whole: a crash leaves the old one or the new one.
pub(super) fn replace(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = private(OpenOptions::new().write(true).create(true).truncate(true)).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    sync_dir(dir)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// A line of a segment.
pub(super) enum Line {
    /// A whole line, without its end.
    Whole,
    /// What stands behind the last line's end.
    Unfinished,
    /// A line that no entry is as long as; the rest of it is read next.
    Endless,
    /// Nothing more.
    End,
}

/// Reads the next line into `line`.
pub(super) fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let limit = MAX_LINE as u64 + 1;
    io::Read::take(from, limit).read_until(b'\n', line)?;
    Ok(match line.last() {
        None => Line::End,
        Some(b'\n') => {
            line.pop();
            Line::Whole
        }
        Some(_) if line.len() as u64 == limit => Line::Endless,
        Some(_) => Line::Unfinished,
    })
}
