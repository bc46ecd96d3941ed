//! The guard: every host call of a script is checked, counted and carried out here.

mod application;
mod crypto;
mod data;
mod logs;
mod text;

use std::sync::{Arc, OnceLock};

use prometheus::{Histogram, IntCounter};
use replug_scripts::api::FUNCTIONS;
use replug_scripts::{CallContext, Host, HostError, HostErrorKind, HostFn, Value};

use super::permissions::{Live, PermissionManager};
use super::ports::{Application, Database, Services};
use crate::manifest::Manifest;
use crate::monitor::{InstanceKey, Metrics};
use crate::store::KvStore;
use crate::store::audit::Who;

/// What all guards of a runtime share.
#[derive(Clone)]
pub struct Supplies {
    /// The stores of modules.
    pub kv: KvStore,
    /// The databases of modules; none in a build without one.
    pub database: Option<Arc<dyn Database>>,
    /// The services of modules.
    pub services: Arc<dyn Services>,
    /// What modules reach of each other beyond services.
    pub application: Arc<dyn Application>,
    /// What modules may reach.
    pub permissions: PermissionManager,
    /// Where calls are counted.
    pub metrics: Metrics,
}

/// The host of one instance.
pub struct Guard {
    live: Arc<Live>,
    /// The effective configuration, as a map.
    config: Value,
    supplies: Supplies,
    key: InstanceKey,
    /// One of each function; a function that is never called has no series.
    calls: Vec<OnceLock<IntCounter>>,
    query_seconds: OnceLock<Histogram>,
    flood: logs::Flood,
}

impl Guard {
    /// The guard of an instance of `manifest`.
    #[must_use]
    pub fn new(key: &InstanceKey, manifest: &Manifest, supplies: Supplies) -> Self {
        Self {
            live: supplies.permissions.open(key, manifest),
            config: Value::map(manifest.config.defaults().into_iter().map(|(key, value)| (key, plain(value)))),
            key: key.clone(),
            calls: FUNCTIONS.iter().map(|_| OnceLock::new()).collect(),
            query_seconds: OnceLock::new(),
            flood: logs::Flood::default(),
            supplies,
        }
    }
}

impl Host for Guard {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        let calls = || self.supplies.metrics.host_calls(&self.key, &function.path());
        self.calls[function as usize].get_or_init(calls).inc();
        let mut args = Args { function, args };
        let done = self.carry_out(function, &mut args, call);
        match &done {
            Err(error) if is_own_denial(function, error) => {
                self.live.deny(Who::Runtime, &function.path(), &error.message, Some(call))
            }
            _ => self.live.allow(),
        }
        done
    }
}

/// Whether the guard denied the call. What another module was denied comes through its callers, who did nothing wrong.
fn is_own_denial(function: HostFn, error: &HostError) -> bool {
    use HostFn as F;
    let carries_others = matches!(function, F::ServicesCall | F::ServicesRequest | F::ServicesRender);
    error.kind == HostErrorKind::PermissionDenied
        && (!carries_others || error.message.starts_with(&format!("permission denied: {}: ", function.path())))
}

impl Guard {
    fn carry_out(&self, function: HostFn, args: &mut Args, call: &CallContext) -> Result<Value, HostError> {
        use HostFn as F;
        match function {
            F::LogTrace | F::LogVerbose | F::LogInfo | F::LogWarn | F::LogError => {
                self.flood.log(function, args, call);
                Ok(Value::Null)
            }
            F::JsonEncode => text::json_encode(args),
            F::JsonDecode => text::json_decode(args),
            F::TimeNow => Ok(Value::Int(text::now())),
            F::TimeFormat => text::time_format(args),
            F::TimeParse => text::time_parse(args),
            F::CryptoRandom => crypto::random(args),
            F::CryptoUuid => crypto::uuid(),
            F::CryptoSha256 => crypto::sha256(args),
            F::CryptoHmac => crypto::hmac(args),
            F::CryptoEqual => crypto::equal(args),
            F::CryptoPasswordHash => crypto::password_hash(args),
            F::CryptoPasswordVerify => crypto::password_verify(args),
            F::CryptoJwtSign => crypto::jwt_sign(args),
            F::CryptoJwtVerify => crypto::jwt_verify(args),
            F::CryptoJwtKeyId => crypto::jwt_key_id(args),
            F::ConfigGet => self.config_get(args),
            F::ConfigOf => self.config_of(args),
            F::KvGet | F::KvPut | F::KvDelete | F::KvList | F::KvCas => self.kv(args, call),
            F::DbQuery | F::DbExecute | F::DbTransaction => self.db(args, call),
            F::DbForCaller => self.db_for_caller(args, call),
            F::DbOf => self.db_of(args, call),
            F::ServicesCall => self.services_call(args, call),
            F::ServicesRequest => self.services_request(args, call),
            F::ServicesRender => self.services_render(args, call),
            F::ServicesInvalidate => {
                let capability = args.text(0)?;
                self.live.grants().provides("services.invalidate", capability)?;
                self.supplies.services.invalidate(capability);
                Ok(Value::Null)
            }
        }
    }
}

/// JSON as plain data; a manifest's defaults are JSON already, so nothing is lost.
fn plain(value: serde_json::Value) -> Value {
    serde_json::from_value(value).unwrap_or_default()
}

/// The arguments of one call, read with errors that name function and position.
struct Args {
    function: HostFn,
    args: Vec<Value>,
}

impl Args {
    fn get(&self, index: usize) -> &Value {
        self.args.get(index).unwrap_or(&Value::Null)
    }

    fn take(&mut self, index: usize) -> Value {
        self.args.get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    fn wrong(&self, index: usize, expected: &str) -> HostError {
        HostError::argument(&self.function.path(), index + 1, expected, self.get(index).kind())
    }

    fn text(&self, index: usize) -> Result<&str, HostError> {
        self.get(index).as_str().ok_or_else(|| self.wrong(index, "a string"))
    }

    fn bytes(&self, index: usize) -> Result<&[u8], HostError> {
        self.get(index).as_bytes().ok_or_else(|| self.wrong(index, "a string"))
    }

    fn whole(&self, index: usize) -> Result<i64, HostError> {
        self.get(index).as_i64().ok_or_else(|| self.wrong(index, "a whole number"))
    }

    fn list(&mut self, index: usize) -> Result<Vec<Value>, HostError> {
        match self.take(index) {
            Value::Null => Ok(Vec::new()),
            Value::List(items) => Ok(items),
            // an empty table says no more than that it is empty
            Value::Map(map) if map.is_empty() => Ok(Vec::new()),
            other => Err(HostError::argument(&self.function.path(), index + 1, "a list", other.kind())),
        }
    }

    /// An error of this function, from outside.
    fn failed(&self, kind: HostErrorKind, cause: impl std::fmt::Display) -> HostError {
        HostError::new(kind, format!("{}: {cause}", self.function.path()))
    }
}

/// A permission manager for tests of the folders above, without decisions.
#[cfg(test)]
pub(crate) fn permissions(
    store: &crate::store::Store,
    audit: crate::store::audit::AuditLog,
    metrics: &Metrics,
) -> PermissionManager {
    let parts = (Arc::new(|| 7_u64) as _, metrics.clone(), Arc::new(KvStore::new(store)) as _);
    PermissionManager::start(store, audit, parts).expect("the store can be read")
}
