//! Reads some entries without reading what stands before them.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

use super::files::{self, Line};
use super::{Record, line};

/// The most entries that are read at once.
pub const MAX_READ: usize = 1000;

/// Bytes of lines after which no more entries are read at once.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A stretch that is read rather than halved.
const STRETCH: u64 = 64 * 1024;

/// At most `limit` entries from number `from` up to `newest`.
pub(super) fn read(dir: &Path, from: u64, limit: usize, newest: u64) -> io::Result<Vec<Record>> {
    let segments = files::segments(dir)?;
    let start = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
    let (mut found, mut bytes, mut text) = (Vec::new(), 0, Vec::new());
    for (index, segment) in segments.iter().enumerate().skip(start) {
        let mut reader = BufReader::new(File::open(dir.join(&segment.name))?);
        if index == start {
            seek(&mut reader, from)?;
        }
        loop {
            if found.len() >= limit.min(MAX_READ) || bytes > MAX_BYTES {
                return Ok(found);
            }
            match files::next_line(&mut reader, &mut text)? {
                Line::Whole => {}
                Line::Endless => continue,
                Line::Unfinished | Line::End => break,
            }
            let Ok(record) = serde_json::from_slice::<Record>(&text) else { continue };
            if record.seq > newest {
                return Ok(found);
            }
            if record.seq >= from {
                bytes += text.len();
                found.push(record);
            }
        }
    }
    Ok(found)
}

/// Puts `reader` at the start of a line at or before entry `from`: numbers ascend, so the file is halved again and again.
fn seek(reader: &mut BufReader<File>, from: u64) -> io::Result<()> {
    let (mut low, mut high) = (0, reader.get_ref().metadata()?.len());
    let mut text = Vec::new();
    while high - low > STRETCH {
        let middle = low + (high - low) / 2;
        reader.seek(SeekFrom::Start(middle))?;
        // the rest of a line that began before
        let skipped = io::BufRead::skip_until(reader, b'\n')?;
        let at = middle + skipped as u64;
        let seen = files::next_line(reader, &mut text)?;
        // behind a damaged line nothing is known, so all from `low` is read
        let Some(link) = matches!(seen, Line::Whole).then(|| line::link(&text).ok()).flatten() else { break };
        if link.seq <= from {
            low = at;
        } else {
            high = middle;
        }
    }
    reader.seek(SeekFrom::Start(low))?;
    Ok(())
}
