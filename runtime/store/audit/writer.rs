//! The one thread that appends.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot, watch};

use super::files::{self, Segment};
use super::head::HeadFile;
use super::line;
use super::scan::{Head, Scan, scan};
use super::{AuditError, Cut, Entry, Found};
use crate::store::StoreError;
use crate::store::disk;
use crate::store::fault::WriteFault;

/// Entries that may wait; who comes after them waits to be let in.
const QUEUE: usize = 256;

/// One sync serves at most this many entries, so that nobody waits for an endless group.
const GROUP: usize = 256;

/// Makes what was written to a file durable.
pub(super) type Sync = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

/// What a log is opened with; a test has its own.
pub(super) struct Settings {
    /// Bytes after which a segment is followed by the next.
    pub(super) segment: u64,
    /// Milliseconds since 1970.
    pub(super) clock: Box<dyn Fn() -> u64 + Send>,
    /// Puts what was written onto the disk.
    pub(super) sync: Sync,
}

/// Something to do for the writer.
pub(super) enum Job {
    Append { entry: Entry, reply: oneshot::Sender<Result<u64, AuditError>> },
    Close { reply: oneshot::Sender<Result<(), AuditError>> },
}

/// The handle on the writer. Dropping it finishes what is queued and ends the thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    fault: WriteFault,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the files of `dir` and starts the thread.
    pub(super) fn open(dir: &Path, settings: Settings) -> Result<(Self, watch::Receiver<u64>, Found), AuditError> {
        let failed = |error: io::Error| AuditError::Open { dir: dir.to_owned(), cause: error.to_string() };
        files::make_private(dir).map_err(failed)?;
        let lock = disk::lock(dir).map_err(|error| match error {
            StoreError::Locked { dir, holder } => AuditError::Locked { dir, holder },
            error => AuditError::Open { dir: dir.to_owned(), cause: error.to_string() },
        })?;
        let scan = scan(dir).map_err(failed)?;
        let cut = cut(dir, &scan).map_err(failed)?;
        let found = Found { entries: scan.entries, cut, fault: scan.fault.clone() };
        let files = Files::open(dir, &scan).map_err(failed)?;
        let (newest, seen) = watch::channel(files.end.seq);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let fault = WriteFault::default();
        let state = State { files, settings, fault: fault.clone(), newest, _lock: lock };
        let thread = thread::Builder::new().name("replug-audit".to_owned()).spawn(move || state.run(queue));
        let thread = Some(thread.map_err(failed)?);
        Ok((Self { jobs: Some(jobs), fault, thread }, seen, found))
    }

    pub(super) async fn send(&self, job: Job) -> Result<(), AuditError> {
        let jobs = self.jobs.as_ref().ok_or(AuditError::Closed)?;
        jobs.send(job).await.map_err(|_| self.gone())
    }

    pub(super) fn takes(&self) -> Result<(), AuditError> {
        let is_closed = self.jobs.as_ref().is_none_or(mpsc::Sender::is_closed);
        if is_closed || self.fault.cause().is_some() { Err(self.gone()) } else { Ok(()) }
    }

    /// Why the writer does not answer any more.
    pub(super) fn gone(&self) -> AuditError {
        poisoned(&self.fault).unwrap_or(AuditError::Closed)
    }

    pub(super) fn fault(&self) -> WriteFault {
        self.fault.clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log's writer thread panicked");
        }
    }
}

/// Cuts the unfinished last line off. Nobody was told that it was written.
fn cut(dir: &Path, scan: &Scan) -> io::Result<Option<Cut>> {
    let (Some((length, bytes)), Some(last)) = (scan.torn, scan.segments.last()) else { return Ok(None) };
    let file = File::options().write(true).open(dir.join(&last.name))?;
    file.set_len(length)?;
    file.sync_all()?;
    Ok(Some(Cut { file: last.name.clone(), bytes }))
}

/// The open segment, and where the chain stands.
struct Files {
    dir: PathBuf,
    file: File,
    size: u64,
    end: Head,
    head: HeadFile,
}

impl Files {
    /// Goes on behind the last entry; where that would hide a fault, in a new segment behind all that is there.
    fn open(dir: &Path, scan: &Scan) -> io::Result<Self> {
        let kept = &scan.kept;
        let agree = kept.seq < scan.end.seq || *kept == scan.end;
        let (end, last) = match scan.segments.last() {
            Some(last) if agree && scan.open_end && last.first <= scan.end.seq.saturating_add(1) => {
                (scan.end.clone(), Some(last))
            }
            None if agree => (scan.end.clone(), None),
            last => {
                let first = last.map_or(0, |last| last.first);
                let newest = if kept.seq >= scan.end.seq { kept } else { &scan.end };
                (Head { seq: newest.seq.max(first), hash: newest.hash.clone() }, None)
            }
        };
        // before the first segment: a log with entries is never without
        let head = HeadFile::open(dir, end.seq, &end.hash)?;
        let file = match last {
            Some(last) => File::options().append(true).open(dir.join(&last.name))?,
            None => files::create(dir, &Segment::new(end.seq.saturating_add(1)))?,
        };
        // an entry that was written in full and not acknowledged is kept, so it must be on the disk before the next
        file.sync_all()?;
        Ok(Self { dir: dir.to_owned(), size: file.metadata()?.len(), file, end, head })
    }
}

struct State {
    files: Files,
    settings: Settings,
    fault: WriteFault,
    newest: watch::Sender<u64>,
    _lock: File,
}

impl State {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let (mut group, mut closing, mut next) = (Vec::new(), None, Some(first));
            while let Some(job) = next {
                match job {
                    Job::Append { entry, reply } => group.push((entry, reply)),
                    Job::Close { reply } => closing = Some(reply),
                }
                next = if closing.is_none() && group.len() < GROUP { queue.try_recv().ok() } else { None };
            }
            self.settle(group);
            if let Some(reply) = closing {
                queue.close();
                // what came too late learns by its dropped reply that the log is closed
                let _ = reply.send(poisoned(&self.fault).map_or(Ok(()), Err));
                return;
            }
        }
    }

    /// Writes the group with one sync and answers it.
    fn settle(&mut self, group: Vec<(Entry, oneshot::Sender<Result<u64, AuditError>>)>) {
        if group.is_empty() {
            return;
        }
        let (entries, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let first = self.files.end.seq.saturating_add(1);
        let error = match poisoned(&self.fault) {
            Some(error) => Some(error),
            None => self.write(&entries).err().map(|error| self.refuse_from_now_on(error.to_string())),
        };
        for (seq, reply) in (first..).zip(replies) {
            // a caller that stopped waiting does not take its entry back
            let _ = reply.send(error.clone().map_or(Ok(seq), Err));
        }
    }

    fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        let Self { files, settings, .. } = self;
        if files.size >= settings.segment {
            files.file = files::create(&files.dir, &Segment::new(files.end.seq.saturating_add(1)))?;
            files.size = 0;
        }
        let (mut text, mut end) = (String::new(), files.end.clone());
        for entry in entries {
            let seq = end.seq.checked_add(1).ok_or_else(|| io::Error::other("there is no number after this one"))?;
            let (line, hash) = line::sealed(entry, seq, (settings.clock)(), &end.hash);
            text.push_str(&line);
            end = Head { seq, hash };
        }
        files.file.write_all(text.as_bytes())?;
        (settings.sync)(&files.file)?;
        files.head.set(end.seq, &end.hash)?;
        files.size += text.len() as u64;
        self.newest.send_replace(end.seq);
        files.end = end;
        Ok(())
    }

    fn refuse_from_now_on(&self, cause: String) -> AuditError {
        tracing::error!(%cause, "a write to the audit log failed, entries are refused from now on");
        self.fault.set(cause.clone());
        AuditError::Write { cause }
    }
}

fn poisoned(fault: &WriteFault) -> Option<AuditError> {
    fault.cause().map(|cause| AuditError::Poisoned { cause: cause.to_owned() })
}
