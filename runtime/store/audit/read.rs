//! Reads some entries without reading what stands before them, and says where some are missing.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

use super::files::{self, Line};
use super::{Defect, Record, line};

/// The most entries that are read at once.
pub const MAX_READ: usize = 1000;

/// Bytes of lines after which no more entries are read at once.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A stretch that is read rather than halved.
const STRETCH: u64 = 64 * 1024;

/// What is read of the log: between `from` and the last row, each number is an entry's or lies inside a damage.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Row {
    /// An entry whose line is as its hash says. Whether it follows from the one before is told by [`super::verify`] only.
    Entry(Record),
    /// A place at which the log is not what was written.
    Damage(Damage),
}

/// What stands between two entries is not what was written. If their numbers are neighbours, it is a line too many, else the
/// numbers between them are those of the entries that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The number of the entry before; 0 if it would be the first.
    pub after: u64,
    /// The number of the entry behind, which may be one that is not yet written.
    pub before: u64,
    /// What is wrong, or what is wrong first.
    #[serde(rename = "damaged")]
    pub defect: Defect,
}

impl Row {
    /// The entry, if it is one.
    #[must_use]
    pub const fn entry(&self) -> Option<&Record> {
        match self {
            Self::Entry(record) => Some(record),
            Self::Damage(_) => None,
        }
    }
}

/// At most `limit` entries from number `from` up to `newest`, and what is damaged between them.
pub(super) fn read(dir: &Path, from: u64, limit: usize, newest: u64) -> io::Result<Vec<Row>> {
    let (from, limit) = (from.max(1), limit.min(MAX_READ));
    if from > newest || limit == 0 {
        return Ok(Vec::new());
    }
    let (segments, end) = (files::segments(dir)?, newest.saturating_add(1));
    let start = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
    let mut page = Page { from, limit, next: from, wrong: None, rows: Vec::new(), numbers: 0, bytes: 0 };
    let mut text = Vec::new();
    for (index, segment) in segments.iter().enumerate().skip(start) {
        let mut reader = BufReader::new(File::open(dir.join(&segment.name))?);
        if index == start {
            page.next = seek(&mut reader, from)?.unwrap_or(segment.first).min(from);
        }
        page.reach(segment.first.min(end));
        while !page.is_full() {
            match files::next_line(&mut reader, &mut text)? {
                Line::Whole => match entry(&text) {
                    Ok(_) if page.next >= end => break,
                    Ok(record) if record.seq < end => page.push(record, text.len()),
                    Ok(record) => page.note(Defect::Misplaced { expected: page.next, found: record.seq }),
                    Err(defect) => page.note(defect),
                },
                Line::Endless => page.note(Defect::Malformed { cause: "it is too long".to_owned() }),
                // behind the newest entry one is being written
                Line::Unfinished if page.next < end => page.note(Defect::Unfinished),
                Line::Unfinished | Line::End => break,
            }
        }
        if page.is_full() {
            return Ok(page.rows);
        }
    }
    if page.next < end {
        page.note(Defect::CutOff { newest });
    }
    page.reach(end);
    Ok(page.rows)
}

/// The entry of a line without its end.
fn entry(text: &[u8]) -> Result<Record, Defect> {
    line::link(text)?;
    serde_json::from_slice(text).map_err(|error| Defect::Malformed { cause: error.to_string() })
}

struct Page {
    from: u64,
    limit: usize,
    /// The number that should come next.
    next: u64,
    /// What was wrong first since the entry before that one.
    wrong: Option<Defect>,
    rows: Vec<Row>,
    /// Rows that stand for numbers: a line too many takes nobody's place.
    numbers: usize,
    bytes: usize,
}

impl Page {
    const fn is_full(&self) -> bool {
        self.numbers >= self.limit || self.bytes > MAX_BYTES
    }

    fn note(&mut self, defect: Defect) {
        self.wrong.get_or_insert(defect);
    }

    /// All before entry `seq` was looked at.
    fn reach(&mut self, seq: u64) {
        let missing = seq > self.next;
        if missing {
            self.note(Defect::Missing { expected: self.next, found: seq });
        }
        let (next, wrong) = (self.next, self.wrong.take());
        self.next = next.max(seq);
        // a line that is no entry before `from` belongs to what was read before, unless it stands right before
        let Some(defect) = wrong.filter(|_| self.next > self.from || !missing && self.next == self.from) else {
            return;
        };
        self.numbers += usize::from(missing);
        self.rows.push(Row::Damage(Damage { after: next.max(self.from) - 1, before: self.next, defect }));
    }

    fn push(&mut self, record: Record, length: usize) {
        if record.seq < self.next {
            self.note(Defect::Misplaced { expected: self.next, found: record.seq });
            return;
        }
        self.reach(record.seq);
        if record.seq < self.from {
            self.next = record.seq.saturating_add(1);
        } else if !self.is_full() {
            self.next = record.seq.saturating_add(1);
            self.numbers += 1;
            self.bytes += length;
            self.rows.push(Row::Entry(record));
        }
    }
}

/// Puts `reader` at the start of a line at or before entry `from`: numbers ascend, so the file is halved again and again.
/// Gives the number of the entry there, if it is not the file's first line.
fn seek(reader: &mut BufReader<File>, from: u64) -> io::Result<Option<u64>> {
    let (mut low, mut high) = (0, reader.get_ref().metadata()?.len());
    let (mut text, mut number) = (Vec::new(), None);
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
            (low, number) = (at, Some(link.seq));
        } else {
            high = middle;
        }
    }
    reader.seek(SeekFrom::Start(low))?;
    Ok(number)
}
