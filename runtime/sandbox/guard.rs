//! The guard: every host call of a script is checked, counted and carried out here.

mod actors;
mod application;
mod args;
mod charge;
mod crypto;
mod data;
mod events;
mod files;
#[cfg(feature = "http-client")]
mod http;
mod logs;
mod mirrored;
mod samples;
mod text;
mod wait;

use std::sync::{Arc, OnceLock};

use prometheus::{Histogram, IntCounter};
use replug_scripts::api::FUNCTIONS;
use replug_scripts::{Answer, CallContext, Host, HostError, HostErrorKind, HostFn, Pending, Value};
use tokio::runtime::Handle;

use self::args::Args;
use self::charge::Charge;
use super::outside::Outside;
use super::permissions::{Clock, Live, PermissionManager};
use super::ports::{Application, Database, Residence, Residents, Services};
use super::quota::ModuleAccounts;
use super::quota::storage::StorageLedger;
use crate::manifest::Manifest;
use crate::monitor::{Aborts, Events, InstanceKey, Metrics};
use crate::store::KvStore;
use crate::store::audit::Who;

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
    /// What modules reach of each other beyond services.
    pub application: Arc<dyn Application>,
    /// What modules may reach.
    pub permissions: PermissionManager,
    /// The actors, events and timers of modules.
    pub residents: Arc<dyn Residents>,
    /// Files, network and what counts them.
    pub outside: Outside,
    /// Where calls are counted.
    pub metrics: Metrics,
    /// What modules use.
    pub accounts: ModuleAccounts,
    /// Where what happens is told.
    pub events: Events,
    /// Who aborts the process.
    pub aborts: Aborts,
    /// Where what scripts wait for runs. Scripts themselves never run on its threads.
    pub runtime: Handle,
}

/// The host of one instance.
pub struct Guard {
    live: Arc<Live>,
    /// Milliseconds since 1970-01-01 UTC.
    clock: Clock,
    /// The effective configuration, as a map.
    config: Value,
    supplies: Supplies,
    storage: StorageLedger,
    /// What its slot holds.
    residence: Arc<dyn Residence>,
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
    charge: Charge,
}

impl Guard {
    /// The guard of an instance of `manifest`.
    #[must_use]
    pub fn new(key: &InstanceKey, manifest: &Manifest, supplies: Supplies) -> Self {
        let live = supplies.permissions.open(key, manifest);
        let storage = StorageLedger::new(
            supplies.kv.clone(),
            supplies.outside.files.clone(),
            supplies.database.clone(),
            supplies.metrics.clone(),
            supplies.outside.accounts.clone(),
        );
        storage.open(&key.id, &live);
        let (ledger, id) = (storage.clone(), Arc::clone(&key.id));
        // the first look at a module's files reads its folders
        supplies.outside.behind(move || ledger.show(&id));
        Self {
            charge: Charge::new(key, Arc::clone(&live), &supplies),
            residence: supplies.residents.open(&live, supplies.accounts.of(&key.id)),
            live,
            storage,
            most: manifest.runtime.limits.memory / MOST_OF_MEMORY,
            clock: Arc::new(text::now),
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

    /// The same with a clock of its own, for `time.now`, the expiry of kv entries and of tokens.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

impl Guard {
    /// What its instance may reach, for those who keep to its quotas.
    #[must_use]
    pub const fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The storage quota that holds now for what this instance writes.
    fn storage_quota(&self) -> u64 {
        self.live.grants().storage
    }

    /// The turn of a password hash, to come.
    fn password(&self, args: &Args, call: &CallContext) -> Result<Pending, HostError> {
        let work = if args.function == HostFn::CryptoPasswordHash {
            crypto::password_hash(args)?
        } else {
            crypto::password_verify(args)?
        };
        let (passwords, charge) = (self.supplies.outside.passwords.clone(), self.charge.clone());
        Ok(Box::pin(mirrored::in_turn(passwords, args.function, call.clone(), move || charge.during(work))))
    }

    /// Blocks the script's thread until `pending` is there, or its module is stopped.
    fn wait(&self, function: HostFn, pending: Pending) -> Result<Value, HostError> {
        let halt = self.live.halt();
        let done = wait::on(&self.supplies.runtime, function, halt.cuts(function, pending));
        if done.is_err() && halt.is_set() {
            // an error passes no look at the clocks: the call is stopped, and has not failed
            replug_scripts::may_go_on();
        }
        done
    }

    /// What answers by a future of its own; nothing for what blocks or answers at once.
    fn pending(&self, args: &mut Args, call: &CallContext) -> Option<Result<Pending, HostError>> {
        match args.function {
            HostFn::ServicesCall => Some(self.services_call(args, call)),
            HostFn::ServicesRequest => Some(self.services_request(args, call)),
            HostFn::ServicesRender => Some(self.services_render(args, call)),
            HostFn::ActorsCall => Some(self.actors_call(args, call)),
            HostFn::CryptoPasswordHash | HostFn::CryptoPasswordVerify => Some(self.password(args, call)),
            #[cfg(feature = "http-client")]
            HostFn::HttpRequest | HostFn::HttpGet | HostFn::HttpPost => Some(self.http(args, call)),
            _ => None,
        }
    }
}

impl Host for Guard {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        self.count(function);
        let mut args = Args::new(function, args);
        let done = match self.pending(&mut args, call) {
            Some(pending) => pending.and_then(|pending| self.wait(function, pending)),
            None => self.perform(args, call),
        };
        note(&self.live, function, &done, call);
        done
    }

    /// The client ends, once nobody waits for an answer by it any more.
    fn close_connections(&self) {
        #[cfg(feature = "http-client")]
        drop(self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    }

    /// What answers by a future of its own is awaited; what blocks gets a thread that may.
    fn begin(self: Arc<Self>, function: HostFn, args: Vec<Value>, call: &CallContext) -> Answer {
        self.count(function);
        let mut args = Args::new(function, args);
        let pending = match self.pending(&mut args, call) {
            Some(Ok(pending)) => {
                let halt = Arc::clone(self.live.halt());
                let cut: Pending = Box::pin(async move { halt.cuts(function, pending).await });
                cut
            }
            Some(Err(error)) => {
                let done = Err(error);
                note(&self.live, function, &done, call);
                return Answer::Ready(done);
            }
            None if !function.function().waits => {
                let done = self.perform(args, call);
                note(&self.live, function, &done, call);
                return Answer::Ready(done);
            }
            None => {
                let (guard, call, turns) = (Arc::clone(&self), call.clone(), self.supplies.outside.blocking.clone());
                let (of, halt) = (call.clone(), Arc::clone(self.live.halt()));
                // what has begun sees by itself that it is to end
                let work = move || guard.charge.during(|| guard.perform(args, &call));
                let place = move |work| mirrored::in_turn(turns, function, of, work);
                Box::pin(async move { halt.cuts_unbegun(function, work, place).await })
            }
        };
        let call = call.clone();
        Answer::Pending(Box::pin(async move {
            let done = pending.await;
            note(&self.live, function, &done, &call);
            done
        }))
    }
}

/// Counts a call as allowed or denied, and has a denial written.
fn note(live: &Live, function: HostFn, done: &Result<Value, HostError>, call: &CallContext) {
    match done {
        // what another module was denied comes through its callers, who did nothing wrong
        Err(error) if error.is_refusal() => {
            live.deny(Who::Runtime, &function.path(), &error.message, Some(call));
        }
        _ => live.allow(),
    }
}

impl Guard {
    fn count(&self, function: HostFn) {
        let calls = || self.supplies.metrics.host_calls(&self.key, &function.path());
        self.calls[function as usize].get_or_init(calls).inc();
    }

    /// Does what answers at once or blocks.
    fn perform(&self, mut args: Args, call: &CallContext) -> Result<Value, HostError> {
        use HostFn as F;
        match args.function {
            F::LogTrace | F::LogVerbose | F::LogInfo | F::LogWarn | F::LogError => {
                self.flood.log(args.function, &args, call);
                Ok(Value::Null)
            }
            F::JsonEncode => text::json_encode(&args),
            F::JsonDecode => text::json_decode(&args),
            F::TimeNow => Ok(Value::Int(i64::try_from((self.clock)()).unwrap_or(i64::MAX))),
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
            F::CryptoJwtSign => crypto::jwt_sign(&args),
            F::CryptoJwtVerify => crypto::jwt_verify(&args, (self.clock)() / 1000),
            F::CryptoJwtKeyId => crypto::jwt_key_id(&args),
            F::ConfigGet => self.config_get(&args),
            F::ConfigOf => self.config_of(&args),
            F::KvGet | F::KvPut | F::KvDelete | F::KvList | F::KvCas => self.kv(&mut args, call),
            F::DbQuery | F::DbExecute | F::DbTransaction => self.db(&mut args, call),
            F::DbForCaller => self.db_for_caller(&mut args, call),
            F::DbOf => self.db_of(&mut args, call),
            F::FsRead | F::FsWrite | F::FsAppend | F::FsList | F::FsStat | F::FsRemove | F::FsMkdir | F::FsExists => {
                self.fs(&args, call)
            }
            F::EnvGet => self.env_get(&args),
            F::MetricsCount | F::MetricsGauge | F::MetricsObserve => self.sample(&args, call),
            F::ActorsSend => self.actors_send(&mut args, call),
            F::EventsPublish => self.events_publish(&mut args, call),
            F::TimersAfter | F::TimersEvery => self.timers_set(&mut args, call),
            F::TimersCancel => {
                let timer = args.text(0)?;
                mirrored::permit(args.function, call)?;
                Ok(Value::Bool(self.residence.cancel_timer(timer, call)))
            }
            F::ServicesInvalidate => {
                let capability = args.text(0)?;
                self.live.grants().provides("services.invalidate", capability)?;
                mirrored::permit(args.function, call)?;
                self.supplies.services.invalidate(capability);
                Ok(Value::Null)
            }
            F::HttpRequest | F::HttpGet | F::HttpPost => {
                Err(args.failed(HostErrorKind::Failed, "this build of the runtime has no HTTP client"))
            }
            F::ServicesCall
            | F::ServicesRequest
            | F::ServicesRender
            | F::ActorsCall
            | F::CryptoPasswordHash
            | F::CryptoPasswordVerify => {
                Err(args.failed(HostErrorKind::Failed, "internal error: it answers by a future"))
            }
        }
    }
}

/// JSON as plain data; a manifest's defaults are JSON already, so nothing is lost.
fn plain(value: serde_json::Value) -> Value {
    serde_json::from_value(value).unwrap_or_default()
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

#[cfg(test)]
mod tests;
