//! What the guard needs from the layers above it. They implement these; it names none of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use replug_scripts::api::Request;
use replug_scripts::{CallContext, HostError, Readying, Value};
use semver::VersionReq;

use super::permissions::{Live, ResourceType};
use super::quota::Account;
use crate::manifest::{Access, ActorSpec, Manifest, ResourceQuotas};
use crate::store::KvStore;

/// The run of `init` or `warmup` that a call is, by which the runtime has a version get ready; nothing for what only follows from
/// one. A client chooses the id of its request, but none of its calls has a run.
#[must_use]
pub fn readying(call: &CallContext) -> Option<&Readying> {
    let is_first = call.caller.is_none() && call.chain.is_empty() && call.hops == 0;
    call.readying.as_deref().filter(|_| is_first)
}

/// One SQL statement with its positional parameters.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The statement; exactly one.
    pub sql: String,
    /// A scalar for each `?`.
    pub params: Vec<Value>,
}

/// What a transaction says that would make a database larger than it may be.
pub const DATABASE_FULL: &str = "the database is full";

/// What a transaction says that found the connection of its guest taken until its deadline, or its call's limit of time.
pub const CONNECTION_TAKEN: &str = "the one connection that another module has is in use";

/// What a message says that found the mailbox of its actor full.
pub const MAILBOX_FULL: &str = "its mailbox is full";

/// What is said of a module that has [`MAX_TIMERS`].
pub const TIMERS_FULL: &str = "which is the most";

/// The most timers of a module, and of what a version's `init` and `warmup` set.
pub const MAX_TIMERS: usize = 1000;

/// Another module that works on a database; or the copies of requests of a module, also on its own.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// Its id, or what stands for it and no other guest.
    pub module: &'a str,
    /// What it may do there.
    pub access: Access,
}

/// The databases of modules.
pub trait Database: Send + Sync {
    /// Runs statements on the database of `module` as one transaction: all take effect or none. The result of each is a
    /// list of rows (maps by column) or `{changes, last_insert_id}`. A guest waits for its own last transaction, and keeps the
    /// module itself from none of its connections. Blocks, at most until `deadline`, or until what runs on this thread may not go
    /// on ([`replug_scripts::may_go_on`]).
    ///
    /// The database takes at most `room` bytes after it; what it takes already stays. That holds for this transaction alone,
    /// whatever those beside it may take.
    ///
    /// # Errors
    /// `invalid-argument` for SQL that is wrong or not allowed, `permission-denied` for a change by a guest that may only
    /// read, and for nothing else; `conflict` for a constraint, `timeout`; `overloaded` for a module that was stopped, and with a
    /// message that ends with [`DATABASE_FULL`] where `room` does not suffice: nothing was changed then.
    fn run_within(
        &self,
        room: u64,
        module: &str,
        guest: Option<Guest<'_>>,
        statements: &[Statement],
        deadline: Instant,
    ) -> Result<Vec<Value>, HostError>;

    /// The same with all the room that a database may have.
    ///
    /// # Errors
    /// As [`Database::run_within`].
    fn run(
        &self,
        module: &str,
        guest: Option<Guest<'_>>,
        statements: &[Statement],
        deadline: Instant,
    ) -> Result<Vec<Value>, HostError> {
        self.run_within(u64::MAX, module, guest, statements, deadline)
    }

    /// Bytes that the database of `module` takes: its pages as of the last commit, with the room of what was deleted; 0
    /// without one. Does not block.
    fn size(&self, module: &str) -> u64;

    /// Checks that the database of `module` answers and has every table that its applied migrations made. Blocks, at most
    /// until `deadline`.
    ///
    /// # Errors
    /// `not-found` without a database, `timeout`, `failed` when it cannot be read or tables are missing; the message
    /// names them.
    fn check(&self, module: &str, deadline: Instant) -> Result<(), HostError>;
}

/// What modules reach of each other beyond services. Whether they may was asked before.
#[async_trait]
pub trait Application: Send + Sync {
    /// The value of a setting of `module`; null where it has none.
    ///
    /// # Errors
    /// `not-found` when the module does not serve or has no such setting, `permission-denied` for one that is a secret.
    fn setting(&self, module: &str, key: &str) -> Result<Value, HostError>;

    /// Asks an api or a page, whichever of them `reach` has, as a part of `call`: `{status, headers, body}`. Waits at
    /// most until `call.deadline`.
    ///
    /// # Errors
    /// `not-found`, `permission-denied` for a page or an api that `reach` has not or that whoever signed in may not see,
    /// `timeout`, `overloaded`, or what the module said.
    async fn request(&self, request: Request, reach: Reach, call: &CallContext) -> Result<Value, HostError>;

    /// Has a component drawn, as a part of `call`: `{status, headers, body}`. Waits at most until `call.deadline`.
    ///
    /// # Errors
    /// `not-found`, `conflict` when several modules have it, `timeout`, `overloaded`, or what the module said.
    async fn render(&self, component: &str, request: Request, call: &CallContext) -> Result<Value, HostError>;
}

/// What may stand at a path that is asked; of what may not, the refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// Pages.
    pub pages: Result<(), HostError>,
    /// Apis.
    pub apis: Result<(), HostError>,
}

/// What modules use of what has a quota.
pub trait Usage: Send + Sync {
    /// How much `module` uses now, in the resource's unit; nothing where nobody measures it.
    fn used(&self, module: &str, resource: ResourceType) -> Option<u64>;

    /// How much of it counts against the quota where `module`, which has these quotas, wants more: also what is reserved; and of
    /// the processor more than the quota for as long as calls have to wait for it, and no more than that otherwise.
    fn taken(&self, module: &str, resource: ResourceType, quotas: &ResourceQuotas) -> Option<u64> {
        let _ = quotas;
        self.used(module, resource)
    }
}

/// What is measured by the stores of modules: the storage that they take. Files and databases are not in it.
impl Usage for KvStore {
    fn used(&self, module: &str, resource: ResourceType) -> Option<u64> {
        match resource {
            ResourceType::Storage => Self::used(self, module).ok(),
            _ => None,
        }
    }
}

/// Whom a module may call, by what its manifest declares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Suppliers {
    /// The modules that it depends on, required or not, each in these versions; none: in any.
    pub modules: Vec<(String, Option<VersionReq>)>,
    /// The capabilities that it requires, each in these versions, of whichever module.
    pub capabilities: Vec<(String, VersionReq)>,
}

impl Suppliers {
    /// Those of a manifest.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let required = manifest.capabilities.iter().flat_map(|capability| &capability.requirements);
        Self {
            modules: manifest.dependencies.iter().map(|need| (need.id.clone(), Some(need.version.clone()))).collect(),
            capabilities: required.map(|need| (need.capability.clone(), need.version.clone())).collect(),
        }
    }
}

/// The services of modules.
#[async_trait]
pub trait Services: Send + Sync {
    /// Calls `method` of a provider of `capability` among `allowed`, on behalf of `call.module`: of the chosen one, if it is among
    /// them. Waits at most until
    /// `call.deadline`; dropping the future takes the call back.
    ///
    /// # Errors
    /// `permission-denied` when none of `allowed` provides it, `not-found`, `timeout`, `overloaded`, or what the
    /// provider said.
    async fn call(
        &self,
        allowed: &Suppliers,
        capability: &str,
        method: &str,
        args: Value,
        call: &CallContext,
    ) -> Result<Value, HostError>;

    /// Asks `capability.method` with an empty map, of whichever module provides it, for the runtime's own purposes on
    /// behalf of `call.module`. Waits at most until `call.deadline`; dropping the future takes the question back.
    ///
    /// # Errors
    /// `not-found` when nothing that serves provides it, `timeout`, `overloaded`, or what the provider said.
    async fn ask(&self, capability: &str, method: &str, call: &CallContext) -> Result<Value, HostError>;

    /// Forgets cached answers of `capability`.
    fn invalidate(&self, capability: &str);
}

/// What lives in the slots of modules rather than in their versions: actors, events and timers.
pub trait Residents: Send + Sync {
    /// The access of one instance to those of its slot. They are kept as long as an instance of the module has one, or the
    /// slot goes.
    /// What waits for its module takes room in `account`.
    fn open(&self, live: &Arc<Live>, account: Arc<Account>) -> Arc<dyn Residence>;
}

/// When which handler of events is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// Its name, if the script gave one.
    pub id: Option<String>,
    /// The time until it ticks, and between two ticks; not 0.
    pub every: Duration,
    /// Whether it ticks more than once.
    pub repeats: bool,
    /// A topic of the module's own.
    pub topic: String,
    /// What the handler gets.
    pub payload: Value,
}

/// The actors, events and timers of one slot, for one of its instances.
#[async_trait]
pub trait Residence: Send + Sync {
    /// Puts a message into the mailbox of an actor. Does not wait.
    ///
    /// # Errors
    /// `overloaded`, with [`MAILBOX_FULL`] in its message: the mailbox is full; `overloaded` with the key of the manifest: the
    /// module's memory is; `not-found`: the actor has ended, or the module
    /// stopped serving.
    fn send(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<(), HostError>;

    /// The same, and waits for the reply until the deadline of `call`. Dropping the future takes the message back as long as
    /// it waits.
    ///
    /// # Errors
    /// As [`Residence::send`]; `timeout`; `conflict` for an actor that waits for itself; what the handler threw.
    async fn call(&self, actor: &ActorSpec, message: Value, call: &CallContext) -> Result<Value, HostError>;

    /// Hands an event to the modules that have a handler for its topic: the publisher, and those that depend on it. Does
    /// not wait; where too many events wait already, or the memory of a module that hears it is full, it is dropped. Its handlers
    /// are one hop further than `call`.
    fn publish(&self, topic: &str, payload: Value, call: &CallContext);

    /// Sets a timer, and gives its id. A timer of the same id is replaced, but one that repeats and is the same goes on. What a
    /// version sets while it [gets ready](readying) ticks as long as that version has the slot; where it sets that again, only the
    /// payload is replaced.
    ///
    /// # Errors
    /// `overloaded`: the module has as many as it may, with [`TIMERS_FULL`] in the message, or its memory is full; `not-found`:
    /// it stopped serving.
    fn set_timer(&self, timer: Timer, call: &CallContext) -> Result<String, HostError>;

    /// Ends a timer; whether there was one. A version that gets ready and does not have the slot yet ends its own alone.
    fn cancel_timer(&self, id: &str, call: &CallContext) -> bool;
}

#[cfg(test)]
pub(crate) mod tests;
