//! The guard: every host call of a script is checked, counted and carried out here.

mod crypto;
mod data;
mod files;
#[cfg(feature = "http-client")]
mod http;
mod logs;
mod samples;
mod text;

use std::sync::{Arc, OnceLock};

use prometheus::{Histogram, IntCounter};
use replug_scripts::api::FUNCTIONS;
use replug_scripts::{CallContext, Host, HostError, HostErrorKind, HostFn, Value};

use super::outside::Outside;
use super::permissions::Grants;
use super::ports::{Database, Services};
use super::quota::storage::StorageLedger;
use crate::manifest::Manifest;
use crate::monitor::{InstanceKey, Metrics};
use crate::store::KvStore;

/// The share of a VM's memory that one file or answer may take: it crosses as a copy, and the script has to do something
/// with it.
const MOST_OF_MEMORY: u64 = 4;

/// What all guards of a runtime share.
#[derive(Clone)]
pub struct Supplies {
    /// The stores of modules.
    pub kv: KvStore,
    /// The databases of modules; none in a build without one.
    pub database: Option<Arc<dyn Database>>,
    /// The services of modules.
    pub services: Arc<dyn Services>,
    /// Files, network and what counts them.
    pub outside: Outside,
    /// Where calls are counted.
    pub metrics: Metrics,
}

/// The host of one instance.
pub struct Guard {
    grants: Grants,
    /// The effective configuration, as a map.
    config: Value,
    supplies: Supplies,
    storage: StorageLedger,
    key: InstanceKey,
    /// Bytes of the largest file or answer that a call may read.
    most: u64,
    /// One of each function; a function that is never called has no series.
    calls: Vec<OnceLock<IntCounter>>,
    query_seconds: OnceLock<Histogram>,
    /// Made by the first request, and anew when the rules are others; its connections end with it.
    #[cfg(feature = "http-client")]
    client: std::sync::Mutex<Option<Arc<super::net::Client>>>,
    flood: logs::Flood,
}

impl Guard {
    /// The guard of an instance of `manifest`.
    #[must_use]
    pub fn new(key: &InstanceKey, manifest: &Manifest, supplies: Supplies) -> Self {
        let grants = Grants::declared(manifest);
        let storage = StorageLedger::new(
            supplies.kv.clone(),
            supplies.outside.files.clone(),
            supplies.database.clone(),
            supplies.metrics.clone(),
            supplies.outside.accounts.clone(),
        );
        storage.open(&key.id, grants.storage);
        let (ledger, id) = (storage.clone(), Arc::clone(&key.id));
        // the first look at a module's files reads its folders
        supplies.outside.behind(move || ledger.show(&id));
        Self {
            grants,
            storage,
            most: manifest.runtime.limits.memory / MOST_OF_MEMORY,
            config: Value::map(manifest.config.defaults().into_iter().map(|(key, value)| (key, plain(value)))),
            key: key.clone(),
            calls: FUNCTIONS.iter().map(|_| OnceLock::new()).collect(),
            query_seconds: OnceLock::new(),
            #[cfg(feature = "http-client")]
            client: std::sync::Mutex::default(),
            flood: logs::Flood::default(),
            supplies,
        }
    }
}

impl Guard {
    /// The storage quota that holds now, which is also that of what others write for the module.
    fn storage_quota(&self) -> u64 {
        self.storage.open(&self.key.id, self.grants.storage);
        self.grants.storage
    }

    /// Does what has a quota of its own when it is the module's turn.
    fn slow(&self, args: &Args, work: crypto::Slow, call: &CallContext) -> Result<Value, HostError> {
        let (outside, function) = (&self.supplies.outside, args.function.path());
        let module = Arc::clone(&call.module);
        outside.wait(&function, outside.passwords.clone().run(function.clone(), module, call.deadline, work))
    }
}

impl Host for Guard {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        use HostFn as F;
        let calls = || self.supplies.metrics.host_calls(&self.key, &function.path());
        self.calls[function as usize].get_or_init(calls).inc();
        let mut args = Args { function, args };
        match function {
            F::LogTrace | F::LogVerbose | F::LogInfo | F::LogWarn | F::LogError => {
                self.flood.log(function, &args, call);
                Ok(Value::Null)
            }
            F::JsonEncode => text::json_encode(&args),
            F::JsonDecode => text::json_decode(&args),
            F::TimeNow => Ok(Value::Int(text::now())),
            F::TimeFormat => text::time_format(&args),
            F::TimeParse => text::time_parse(&args),
            F::CryptoRandom => crypto::random(&args),
            F::CryptoUuid => crypto::uuid(),
            F::CryptoHash => crypto::hash(&args),
            F::CryptoEncode => crypto::encode(&args),
            F::CryptoDecode => crypto::decode(&args),
            F::CryptoSha256 => crypto::sha256(&args),
            F::CryptoHmac => crypto::hmac(&args),
            F::CryptoEqual => crypto::equal(&args),
            F::CryptoPasswordHash => self.slow(&args, crypto::password_hash(&args)?, call),
            F::CryptoPasswordVerify => self.slow(&args, crypto::password_verify(&args)?, call),
            F::CryptoJwtSign => crypto::jwt_sign(&args),
            F::CryptoJwtVerify => crypto::jwt_verify(&args),
            F::CryptoJwtKeyId => crypto::jwt_key_id(&args),
            F::ConfigGet => self.config_get(&args),
            F::KvGet | F::KvPut | F::KvDelete | F::KvList | F::KvCas => self.kv(&mut args, call),
            F::DbQuery | F::DbExecute | F::DbTransaction => self.db(&mut args, call),
            F::DbForCaller => self.db_for_caller(&mut args, call),
            F::FsRead | F::FsWrite | F::FsAppend | F::FsList | F::FsStat | F::FsRemove | F::FsMkdir | F::FsExists => {
                self.fs(&args, call)
            }
            #[cfg(feature = "http-client")]
            F::HttpRequest | F::HttpGet | F::HttpPost => self.http(&mut args, call),
            #[cfg(not(feature = "http-client"))]
            F::HttpRequest | F::HttpGet | F::HttpPost => {
                Err(args.failed(HostErrorKind::Failed, "this build of the runtime has no HTTP client"))
            }
            F::EnvGet => self.env_get(&args),
            F::MetricsCount | F::MetricsGauge | F::MetricsObserve => self.sample(&args),
            F::ServicesCall => self.services_call(&mut args, call),
            F::ServicesInvalidate => {
                let capability = args.text(0)?;
                self.grants.provides("services.invalidate", capability)?;
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

#[cfg(test)]
mod tests;
