//! `config`, `kv`, `db` and `services`: what a module keeps, and whom it calls.

use std::fmt::Display;
use std::sync::Arc;

use replug_scripts::json::{self, Length};
use replug_scripts::{CallContext, HostError, HostErrorKind, HostFn, Mirrored, Pending, Value};

use super::{Args, Guard, mirrored};
use crate::manifest::Access;
use crate::sandbox::permissions::{At, CALLER, ResourceType};
use crate::sandbox::ports::{CONNECTION_TAKEN, DATABASE_FULL, Database, Guest, Statement};
use crate::sandbox::quota::storage::Kind;
use crate::store::{KvEntry, KvError, MAX_KV_VALUE, check_key};

/// Keys that `kv.list` gives where no limit is asked for.
const LISTED: i64 = 1000;

/// How deep calls of services may go, and events that follow from each other.
pub(super) const DEEPEST: usize = 8;

impl Guard {
    pub(super) fn config_get(&self, args: &Args) -> Result<Value, HostError> {
        match args.get(0) {
            Value::Null => Ok(self.config.clone()),
            Value::Text(key) => Ok(self.config.get(key).cloned().unwrap_or_default()),
            _ => Err(args.wrong(0, "a string")),
        }
    }

    pub(super) fn kv(&self, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        let (kv, module, now) = (&self.supplies.kv, &*call.module, (self.clock)());
        let writes = matches!(args.function, HostFn::KvPut | HostFn::KvCas);
        let max = if writes && call.mirrored.is_none() { self.storage_quota() } else { 0 };
        let function = args.function;
        let failed = |error: KvError| match error {
            // the store knows only its own share
            KvError::QuotaExceeded { used, .. } => {
                self.live.exceed(ResourceType::Storage, At::Call(&function.path()), Some(call));
                self.storage.exceeded(&function.path(), module, Kind::Kv, used, max)
            }
            error => HostError::new(kind_of(&error), error.to_string()),
        };
        let may_last = |key: &str| {
            check_key(key).map_err(failed)?;
            mirrored::permit(function, call)
        };
        match args.function {
            HostFn::KvGet => {
                let value = kv.get(module, args.text(0)?, now).map_err(failed)?;
                value.map_or(Ok(Value::Null), |json| decode(args, &json))
            }
            HostFn::KvPut => {
                let (key, entry) = (args.text(0)?, self.entry(args, 1, 2, now)?);
                may_last(key)?;
                let coming = self.storage.coming(module, entry.cost(key));
                let room = self.storage.room(module, Kind::Kv, max)?;
                kv.put(module, key, entry, room, now).map_err(failed)?;
                drop(coming);
                self.storage.show(module);
                Ok(Value::Null)
            }
            HostFn::KvDelete => {
                let key = args.text(0)?;
                may_last(key)?;
                let was_there = kv.delete(module, key, now).map_err(failed)?;
                self.storage.show(module);
                Ok(Value::Bool(was_there))
            }
            HostFn::KvCas => {
                let expected = match args.get(1) {
                    Value::Null => None,
                    value => Some(encode(args, value)?),
                };
                let new = match args.get(2) {
                    Value::Null => None,
                    _ => Some(self.entry(args, 2, 3, now)?),
                };
                let key = args.text(0)?;
                may_last(key)?;
                let coming = self.storage.coming(module, new.as_ref().map_or(0, |entry| entry.cost(key)));
                let room = self.storage.room(module, Kind::Kv, max)?;
                let done = kv.cas(module, key, expected.as_deref(), new, room, now).map_err(failed)?;
                drop(coming);
                self.storage.show(module);
                Ok(Value::Bool(done))
            }
            _ => {
                let prefix = if *args.get(0) == Value::Null { "" } else { args.text(0)? };
                let limit = if *args.get(1) == Value::Null { LISTED } else { args.whole(1)? };
                let limit = usize::try_from(limit).map_err(|_| args.wrong(1, "a number from 0 on"))?;
                let keys = kv.list(module, prefix, None, limit, now).map_err(failed)?;
                Ok(Value::List(keys.into_iter().map(Value::Text).collect()))
            }
        }
    }

    /// The entry of a value argument and its options: `ttl` in milliseconds, `cache`.
    fn entry(&self, args: &Args, value: usize, options: usize, now: u64) -> Result<KvEntry, HostError> {
        let mut entry = KvEntry::new(encode(args, args.get(value))?);
        let Value::Map(given) = args.get(options) else {
            return if *args.get(options) == Value::Null { Ok(entry) } else { Err(args.wrong(options, "a map")) };
        };
        for (name, option) in given {
            match (name.as_str(), option) {
                ("ttl", ttl) => {
                    let ttl = ttl.as_i64().and_then(|ttl| u64::try_from(ttl).ok()).filter(|ttl| *ttl > 0);
                    let wrong = || args.failed(HostErrorKind::InvalidArgument, "ttl must be milliseconds above 0");
                    entry.expires_at = Some(now.saturating_add(ttl.ok_or_else(wrong)?));
                }
                ("cache", Value::Bool(cache)) => entry.cache = *cache,
                _ => {
                    let wrong = format!("option `{name}`: there are ttl (milliseconds) and cache (boolean)");
                    return Err(args.failed(HostErrorKind::InvalidArgument, wrong));
                }
            }
        }
        Ok(entry)
    }

    pub(super) fn db(&self, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        let function = args.function;
        self.live.grants().database(&function.path())?;
        if function == HostFn::DbTransaction {
            let given = args.list(0)?;
            let statements: Result<Vec<_>, _> = given.into_iter().map(|one| in_transaction(args, one)).collect();
            return self.run(args, &call.module, Access::Write, &statements?, call).map(Value::List);
        }
        let statement = single(args)?;
        let result = self.run(args, &call.module, Access::Write, &[statement], call)?.pop().unwrap_or_default();
        match (function, &result) {
            (HostFn::DbQuery, Value::Map(_)) => {
                Err(args.failed(HostErrorKind::InvalidArgument, "the statement gives no rows; use db.execute"))
            }
            (HostFn::DbExecute, Value::List(_)) => {
                Err(args.failed(HostErrorKind::InvalidArgument, "the statement gives rows; use db.query"))
            }
            _ => Ok(result),
        }
    }

    pub(super) fn db_for_caller(&self, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        let access = self.live.grants().caller_database(&args.function.path())?;
        let Some(caller) = &call.caller else {
            return Err(
                args.failed(HostErrorKind::NotFound, "nobody called: it works in a service that a module calls")
            );
        };
        let statement = single(args)?;
        self.visit(args, (CALLER, caller), access, statement, call)
    }

    pub(super) fn db_of(&self, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        let module = args.text(0)?.to_owned();
        let access = if module == *call.module {
            self.live.grants().database(&args.function.path())?;
            Access::Write
        } else {
            self.live.grants().foreign_database(&args.function.path(), &module)?
        };
        let statement = Statement { sql: args.text(1)?.to_owned(), params: args.list(2)? };
        self.visit(args, (&module, &module), access, statement, call)
    }

    /// Runs a statement on the database of another module, for which the manifest asks by the name `asked`.
    fn visit(
        &self,
        args: &Args,
        (asked, module): (&str, &str),
        access: Access,
        statement: Statement,
        call: &CallContext,
    ) -> Result<Value, HostError> {
        let done = self.run(args, module, access, &[statement], call);
        let mut results = done.map_err(|error| match error.kind {
            // the database knows neither the function nor the manifest
            HostErrorKind::PermissionDenied => self.live.grants().refuse_change(&args.function.path(), asked),
            _ => error,
        })?;
        Ok(results.pop().unwrap_or_default())
    }

    fn run(
        &self,
        args: &Args,
        module: &str,
        access: Access,
        statements: &[Statement],
        call: &CallContext,
    ) -> Result<Vec<Value>, HostError> {
        let Some(database) = &self.supplies.database else {
            return Err(args.failed(HostErrorKind::Failed, "this build of the runtime has no database"));
        };
        if let Some(copy) = &call.mirrored {
            return self.read_for_copy((database, copy), (args.function, module, access), statements, call);
        }
        let max = if module == &*call.module { self.storage_quota() } else { self.storage.max(module) };
        let room = self.storage.room(module, Kind::Database, max)?;
        let seconds = self.query_seconds.get_or_init(|| self.supplies.metrics.query_seconds(&self.key));
        let _timer = seconds.start_timer();
        let guest = (module != &*call.module).then_some(Guest { module: &call.module, access });
        let done = database.run_within(room, module, guest, statements, call.deadline);
        if access == Access::Write {
            self.storage.show(module);
        }
        done.map_err(|error| match error {
            // the database knows only its own share
            full if full.kind == HostErrorKind::Overloaded && full.message.ends_with(DATABASE_FULL) => {
                self.storage_exceeded(module, &args.function.path(), call);
                let wanted = room.saturating_add(1);
                let told = self.storage.exceeded(&args.function.path(), module, Kind::Database, wanted, max);
                HostError::new(full.kind, format!("{}: {}", full.message, told.message))
            }
            error => error,
        })
    }

    /// What [`Guard::run`] does for a copy of a request: it reads, on a connection that copies have beside those of requests. The
    /// quota of its version is not that of the clients' requests, so it sets no bound.
    fn read_for_copy(
        &self,
        (database, copy): (&Arc<dyn Database>, &Mirrored),
        (function, module, access): (HostFn, &str, Access),
        statements: &[Statement],
        call: &CallContext,
    ) -> Result<Vec<Value>, HostError> {
        let seconds = self.query_seconds.get_or_init(|| self.supplies.metrics.query_seconds(&self.key));
        let _timer = seconds.start_timer();
        let guest = Guest { module: &mirrored::lane(call), access: Access::Read };
        database.run(module, Some(guest), statements, call.deadline).map_err(|error| {
            if error.kind == HostErrorKind::PermissionDenied && access == Access::Write {
                return copy.refuse(&function.path());
            }
            if error.message.ends_with(CONNECTION_TAKEN) {
                copy.crowd();
            }
            error
        })
    }

    /// Has it written that the storage quota of `module`, mostly this one, refused a call.
    fn storage_exceeded(&self, module: &str, function: &str, call: &CallContext) {
        if module == &*call.module {
            self.live.exceed(ResourceType::Storage, At::Call(function), Some(call));
        } else {
            self.supplies.permissions.exceeded_by(module, ResourceType::Storage, function, call);
        }
    }

    /// The answer of a service, to come.
    pub(super) fn services_call(&self, args: &mut Args, call: &CallContext) -> Result<Pending, HostError> {
        let service = args.text(0)?;
        let Some((capability, method)) = service.rsplit_once('.').filter(|(c, m)| !c.is_empty() && !m.is_empty())
        else {
            return Err(args.failed(HostErrorKind::InvalidArgument, "a service is named `capability.method`"));
        };
        not_too_deep(args, service, call)?;
        let (capability, method) = (capability.to_owned(), method.to_owned());
        let (services, allowed) = (Arc::clone(&self.supplies.services), Arc::clone(self.live.grants().suppliers()));
        let (args, call) = (args.take(1), call.clone());
        Ok(Box::pin(async move { services.call(&allowed, &capability, &method, args, &call).await }))
    }
}

/// Whether one more call may be begun behind those that led here.
pub(super) fn not_too_deep(args: &Args, what: &str, call: &CallContext) -> Result<(), HostError> {
    if call.chain.len() < DEEPEST {
        return Ok(());
    }
    let why = format!("{what}: services call each other more than {DEEPEST} deep; is there a cycle?");
    Err(args.failed(HostErrorKind::Overloaded, why))
}

fn single(args: &mut Args) -> Result<Statement, HostError> {
    let sql = args.text(0)?.to_owned();
    Ok(Statement { sql, params: args.list(1)? })
}

fn in_transaction(args: &Args, given: Value) -> Result<Statement, HostError> {
    let wrong = |what: &str| Err(args.failed(HostErrorKind::InvalidArgument, what));
    match given {
        Value::Text(sql) => Ok(Statement { sql, params: Vec::new() }),
        Value::Map(mut map) => {
            let params = match map.remove("params") {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::List(params)) => params,
                Some(Value::Map(map)) if map.is_empty() => Vec::new(),
                Some(_) => return wrong("`params` of a statement must be a list"),
            };
            match map.remove("sql") {
                Some(Value::Text(sql)) => Ok(Statement { sql, params }),
                _ => wrong("each statement needs `sql`, a string"),
            }
        }
        _ => wrong("each statement must be a map {sql, params} or a string"),
    }
}

fn encode(args: &Args, value: &Value) -> Result<Vec<u8>, HostError> {
    let invalid = |why: &dyn Display| args.failed(HostErrorKind::InvalidArgument, why);
    match json::encode_first(value, MAX_KV_VALUE).map_err(|error| invalid(&error))? {
        (json, Length::Whole) => Ok(json),
        (_, Length::Cut) => {
            let key = args.text(0)?;
            let key = &key[..key.floor_char_boundary(100)];
            Err(invalid(&format!(
                "the value of `{key}` takes more than {MAX_KV_VALUE} bytes; keep large content in a file or a table"
            )))
        }
    }
}

fn decode(args: &Args, json: &[u8]) -> Result<Value, HostError> {
    serde_json::from_slice(json).map_err(|error| args.failed(HostErrorKind::Failed, error))
}

fn kind_of(error: &KvError) -> HostErrorKind {
    match error {
        KvError::Store(_) => HostErrorKind::Failed,
        KvError::QuotaExceeded { .. } => HostErrorKind::Overloaded,
        KvError::KeyTooLong { .. } | KvError::ValueTooLarge { .. } => HostErrorKind::InvalidArgument,
        #[allow(unreachable_patterns, reason = "the enum may grow")]
        _ => HostErrorKind::Failed,
    }
}
