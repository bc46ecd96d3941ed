//! Looks at the whole log and finds the first place at which it is not what was written.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{self, Line, Segment};
use super::head::{self, Kept};
use super::line::{self, Link};
use super::{AuditFault, Defect};

/// A log that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// How many entries it holds.
    pub entries: u64,
    /// In how many segments.
    pub segments: usize,
    /// Its newest entry.
    pub head: Head,
}

/// The newest entry of a log. Kept elsewhere, it shows later that what was there then is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number; 0 if there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

/// Checks the whole log in `dir`: every line, the chain, the segments, and that its end is there. Nothing is changed, and a
/// runtime may write to it meanwhile: an unfinished line behind the newest acknowledged entry is no fault.
///
/// # Errors
/// The first place that is not as it was written, or that cannot be read.
pub fn verify(dir: &Path) -> Result<Verified, AuditFault> {
    let unreadable = |error: io::Error| AuditFault {
        file: ".".to_owned(),
        line: 1,
        defect: Defect::Unreadable { cause: error.to_string() },
    };
    let scan = scan(dir).map_err(unreadable)?;
    match scan.fault {
        Some(fault) => Err(fault),
        None => Ok(Verified { entries: scan.entries, segments: scan.segments.len(), head: scan.end }),
    }
}

/// All that a look at a log tells.
pub(super) struct Scan {
    pub(super) segments: Vec<Segment>,
    /// Lines that are entries by their hash.
    pub(super) entries: u64,
    /// The last of them.
    pub(super) end: Head,
    /// What the head file says; the origin where it says nothing.
    pub(super) kept: Head,
    /// The first fault.
    pub(super) fault: Option<AuditFault>,
    /// The unfinished last line: its segment's length without it, and its bytes.
    pub(super) torn: Option<(u64, u64)>,
    /// Whether the last segment can go on behind `end`.
    pub(super) open_end: bool,
}

/// Looks at the log in `dir`.
pub(super) fn scan(dir: &Path) -> io::Result<Scan> {
    // in this order: whatever is written meanwhile is newer than the head, and what is read of it may be unfinished
    let kept = head::read(dir)?;
    let segments = files::segments(dir)?;
    let origin = || Head { seq: head::origin().0, hash: head::origin().1 };
    let known = match &kept {
        Kept::Newest(seq, hash) => Head { seq: *seq, hash: hash.clone() },
        Kept::Missing | Kept::Changed => origin(),
    };
    let scan = Scan { segments, entries: 0, end: origin(), kept: known, fault: None, torn: None, open_end: false };
    let mut look = Look { expected: 1, place: (String::new(), 1), scan };
    for (index, segment) in look.scan.segments.clone().iter().enumerate() {
        let last = index + 1 == look.scan.segments.len();
        look.segment(dir, segment, last)?;
    }
    look.end(&kept);
    Ok(look.scan)
}

struct Look {
    /// The number of the next entry.
    expected: u64,
    /// Where the next line stands.
    place: (String, usize),
    scan: Scan,
}

impl Look {
    fn segment(&mut self, dir: &Path, segment: &Segment, last: bool) -> io::Result<()> {
        self.place = (segment.name.clone(), 1);
        self.count(segment.first);
        self.expected = segment.first;
        self.scan.open_end = true;
        let file = match File::open(dir.join(&segment.name)) {
            Ok(file) => file,
            Err(error) => {
                self.scan.open_end = false;
                self.fault(Defect::Unreadable { cause: error.to_string() });
                return Ok(());
            }
        };
        let (mut reader, mut text, mut length) = (BufReader::new(file), Vec::new(), 0);
        loop {
            match files::next_line(&mut reader, &mut text)? {
                Line::End => return Ok(()),
                Line::Whole => {
                    let link = line::link(&text);
                    self.scan.open_end = link.is_ok();
                    match link {
                        Ok(link) => self.link(link),
                        Err(defect) => self.damaged(defect),
                    }
                    length += text.len() as u64 + 1;
                }
                Line::Endless => {
                    self.scan.open_end = false;
                    self.damaged(Defect::Malformed { cause: "it is too long".to_owned() });
                    length += text.len() as u64;
                }
                Line::Unfinished if last && self.scan.kept.seq < self.expected => {
                    self.scan.torn = Some((length, text.len() as u64));
                }
                Line::Unfinished => {
                    self.scan.open_end = false;
                    self.fault(Defect::Unfinished);
                }
            }
            self.place.1 += 1;
        }
    }

    fn link(&mut self, link: Link) {
        self.count(link.seq);
        if link.prev != self.scan.end.hash {
            self.fault(Defect::Unlinked);
        }
        if link.seq == self.scan.kept.seq && link.hash != self.scan.kept.hash {
            self.fault(Defect::Replaced { newest: link.seq });
        }
        self.expected = link.seq.saturating_add(1);
        self.scan.entries += 1;
        self.scan.end = Head { seq: link.seq, hash: link.hash };
    }

    /// A line that is no entry stands for one: the fault is told once, and the next is looked at by its own number.
    fn damaged(&mut self, defect: Defect) {
        self.fault(defect);
        self.expected = self.expected.saturating_add(1);
    }

    fn count(&mut self, found: u64) {
        let expected = self.expected;
        if found > expected {
            self.fault(Defect::Missing { expected, found });
        } else if found < expected {
            self.fault(Defect::Misplaced { expected, found });
        }
    }

    fn end(&mut self, kept: &Kept) {
        let newest = self.scan.kept.seq;
        if newest > self.scan.end.seq {
            if self.scan.segments.is_empty() {
                self.place = (head::NAME.to_owned(), 1);
            }
            self.fault(Defect::CutOff { newest });
        }
        self.place = (head::NAME.to_owned(), 1);
        match kept {
            Kept::Newest(..) => {}
            Kept::Missing if self.scan.segments.is_empty() => {}
            Kept::Missing => self.fault(Defect::HeadMissing),
            Kept::Changed => self.fault(Defect::HeadChanged),
        }
    }

    fn fault(&mut self, defect: Defect) {
        let (file, line) = self.place.clone();
        self.scan.fault.get_or_insert(AuditFault { file, line, defect });
    }
}
