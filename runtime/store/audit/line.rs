//! One line: written, and looked at without believing anything in it.

use serde::Deserialize;
use serde_json::Value;

use super::{Defect, Entry, MAX_DATA, MAX_SUBJECT};

/// What stands for the hash of the entry before the first.
pub(super) const ORIGIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const BEFORE_HASH: &str = ",\"hash\":\"";
const AFTER_HASH: &str = "\"}";
const HASH: usize = ORIGIN.len();

/// The longest line that is looked at: escapes make up to six bytes of one.
pub(super) const MAX_LINE: usize = MAX_DATA + 6 * MAX_SUBJECT + 1024;

/// The line of an entry, with its end, and its hash.
pub(super) fn sealed(entry: &Entry, seq: u64, at: u64, prev: &str) -> (String, String) {
    let Entry { kind, by, subject, data } = entry;
    let (kind, who, subject) = (kind.name(), by.who.name(), Value::from(subject.as_str()));
    let mut line = format!(
        r#"{{"seq":{seq},"at":{at},"prev":"{prev}","kind":"{kind}","actor":"{who}","subject":{subject},"data":{data}"#
    );
    let hash = blake3::hash(line.as_bytes()).to_hex().to_string();
    for part in [BEFORE_HASH, &hash, AFTER_HASH, "\n"] {
        line.push_str(part);
    }
    (line, hash)
}

/// How a line stands in the chain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) prev: String,
    pub(super) hash: String,
}

/// The link of a line without its end, if the line's hash is that of its content.
pub(super) fn link(line: &[u8]) -> Result<Link, Defect> {
    #[derive(Deserialize)]
    struct Content {
        seq: u64,
        prev: String,
    }
    let malformed = |cause: &str| Defect::Malformed { cause: cause.to_owned() };
    let framed = line.len().checked_sub(BEFORE_HASH.len() + HASH + AFTER_HASH.len());
    let (content, frame) = line.split_at(framed.ok_or_else(|| malformed("it is too short"))?);
    let hash = frame
        .strip_prefix(BEFORE_HASH.as_bytes())
        .and_then(|rest| rest.strip_suffix(AFTER_HASH.as_bytes()))
        .and_then(|hash| std::str::from_utf8(hash).ok())
        .ok_or_else(|| malformed("it does not end with a hash"))?;
    if *blake3::hash(content).to_hex() != *hash {
        return Err(Defect::Changed);
    }
    let Content { seq, prev } = serde_json::from_slice(line).map_err(|error| malformed(&error.to_string()))?;
    Ok(Link { seq, prev, hash: hash.to_owned() })
}
