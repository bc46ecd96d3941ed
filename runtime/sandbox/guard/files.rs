//! `fs` and `env`: the module's own files, and the environment variables that it asks for.

use bytes::Bytes;
use replug_scripts::{CallContext, HostError, HostErrorKind, HostFn, Value};

use super::{Args, Guard, mirrored};
use crate::manifest::Access;
use crate::sandbox::fs::{Entry, Kind};
use crate::sandbox::permissions::{At, ResourceType};

/// The longest name of a variable that is looked up.
const LONGEST_NAME: usize = 1024;

impl Guard {
    pub(super) fn fs(&self, args: &Args, call: &CallContext) -> Result<Value, HostError> {
        let function = args.function.path();
        let access = match args.function {
            HostFn::FsRead | HostFn::FsList | HostFn::FsStat | HostFn::FsExists => Access::Read,
            _ => Access::Write,
        };
        let path = self.live.grants().file(&function, args.text(0)?, access)?;
        if call.mirrored.is_some() && access == Access::Write {
            if matches!(args.function, HostFn::FsWrite | HostFn::FsAppend) {
                args.bytes(1)?;
            }
            mirrored::permit(args.function, call)?;
        }
        // a copy writes nothing, and the quota of its version is not that of the clients' requests
        let max = if call.mirrored.is_some() { 0 } else { self.storage_quota() };
        let module = &*call.module;
        let folder = self.supplies.outside.files.folder(module);
        let room = |files| {
            let checked = self.storage.check_files(&function, module, files, max);
            if checked.as_ref().is_err_and(|error| error.kind == HostErrorKind::Overloaded) {
                self.live.exceed(ResourceType::Storage, At::Call(&function), Some(call));
            }
            checked
        };
        let named = |error: HostError| {
            HostError::new(
                error.kind,
                match error.kind {
                    // the ledger names the function itself
                    HostErrorKind::Overloaded => error.message,
                    _ => format!("{function}: {}", error.message),
                },
            )
        };
        let done = match args.function {
            HostFn::FsRead => folder.read(&path, self.most).map(text_or_bytes),
            HostFn::FsWrite => folder.write(&path, args.bytes(1)?, &room).map(|()| Value::Null),
            HostFn::FsAppend => folder.append(&path, args.bytes(1)?, &room).map(|()| Value::Null),
            HostFn::FsMkdir => folder.mkdir(&path, &room).map(Value::Bool),
            HostFn::FsRemove => folder.remove(&path).map(Value::Bool),
            HostFn::FsList => folder.list(&path).map(|entries| Value::List(entries.into_iter().map(listed).collect())),
            HostFn::FsStat => folder.stat(&path).map(|found| found.map_or(Value::Null, |entry| stat(&entry))),
            _ => folder.stat(&path).map(|found| Value::Bool(found.is_some())),
        };
        if access == Access::Write && done.is_ok() {
            self.storage.show(module);
        }
        done.map_err(named)
    }

    pub(super) fn env_get(&self, args: &Args) -> Result<Value, HostError> {
        let name = args.text(0)?;
        if name.len() > LONGEST_NAME {
            return Err(args.wrong(0, "the name of a variable"));
        }
        self.live.grants().environment("env.get", name)?;
        // read at each call, so that a module never holds what was taken away
        let value = std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes);
        Ok(value.map_or(Value::Null, text_or_bytes))
    }
}

/// Text where it is text.
pub(super) fn text_or_bytes(data: Vec<u8>) -> Value {
    match String::from_utf8(data) {
        Ok(text) => Value::Text(text),
        Err(error) => Value::Bytes(Bytes::from(error.into_bytes())),
    }
}

fn kind(entry: &Entry) -> Value {
    Value::from(match entry.kind {
        Kind::File => "file",
        Kind::Folder => "folder",
        Kind::Other => "other",
    })
}

fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn listed(entry: Entry) -> Value {
    Value::map([("kind", kind(&entry)), ("size", whole(entry.size)), ("name", Value::Text(entry.name))])
}

fn stat(entry: &Entry) -> Value {
    Value::map([("kind", kind(entry)), ("size", whole(entry.size)), ("modified", whole(entry.modified))])
}
