//! Bundles as tar archives. What comes in may be hostile: everything is counted before it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use bytes::Bytes;
use tar::{Archive, Builder, EntryType, Header};

use super::{Bounds, MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES, RegistryError, no_bundle, paths, refused};

/// Room for headers, long names and padding beside the files themselves.
const MAX_ARCHIVE: usize = MAX_BUNDLE_BYTES as usize + MAX_ENTRIES * 4096;

/// Files and folders.
const MAX_ENTRIES: usize = 2 * MAX_BUNDLE_FILES;

pub(super) fn read(archive: &[u8]) -> Result<BTreeMap<String, Bytes>, RegistryError> {
    if archive.len() > MAX_ARCHIVE {
        return Err(no_bundle(format!("the archive is larger than {MAX_ARCHIVE} bytes")));
    }
    let broken = |error: std::io::Error| {
        // what the reader says may quote the archive's bytes
        let cause: String = error.to_string().chars().filter(|c| c.is_ascii() && !c.is_control()).take(120).collect();
        no_bundle(format!("the archive cannot be read as tar, which must not be compressed: {cause}"))
    };
    let (mut files, mut folders, mut bounds) = (BTreeMap::new(), BTreeSet::new(), Bounds::default());
    for (count, entry) in Archive::new(archive).entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if count >= MAX_ENTRIES {
            return Err(no_bundle(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue; // A comment, such as `git archive` writes.
        }
        let bytes = entry.path_bytes().into_owned();
        let Ok(name) = String::from_utf8(bytes) else {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(refused(&name, "is not UTF-8; rename it"));
        };
        // `tar -C DIR .` begins every name so.
        let path = name.strip_prefix("./").unwrap_or(&name);
        match kind {
            EntryType::Directory => {
                let path = path.strip_suffix('/').unwrap_or(path);
                if !path.is_empty() && path != "." {
                    paths::check(path)?;
                    folders.insert(path.to_owned());
                }
            }
            EntryType::Regular => {
                paths::check(path)?;
                if paths::is_left_out(path) {
                    continue;
                }
                let size = entry.size();
                bounds.add(size)?;
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(broken)?;
                if content.len() as u64 != size {
                    return Err(refused(path, "is cut off; the archive is incomplete"));
                }
                if files.insert(path.to_owned(), Bytes::from(content)).is_some() {
                    return Err(refused(path, "is there twice"));
                }
            }
            EntryType::Symlink | EntryType::Link => {
                return Err(refused(path, "is a link; put the file itself there"));
            }
            _ => return Err(refused(path, "is neither a plain file nor a folder")),
        }
    }
    match folders.iter().find(|folder| files.contains_key(*folder)) {
        Some(folder) => Err(refused(folder, "is there twice, as a file and as a folder")),
        None => Ok(files),
    }
}

pub(super) fn write(files: &BTreeMap<String, Bytes>) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, path, &**content).expect("a checked path into memory cannot fail");
    }
    archive.into_inner().expect("writing to memory cannot fail")
}
