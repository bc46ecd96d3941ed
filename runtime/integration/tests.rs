//! A small runtime for the tests of this folder: real instances of Lua modules behind a real router.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Handler, Value};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::host::HostServices;
use super::{ApiBinding, Authenticator, ServiceCalls};
use crate::actors::router::tests::Rig;
use crate::actors::router::{CallError, Endpoint, Instance, RouteTaken, Router, Slot};
use crate::engine::ports::{Binding, Subject};
use crate::manifest::{self, Manifest};
use crate::monitor::Events;
use crate::sandbox::guard::permissions;
use crate::sandbox::permissions::Ruling;
use crate::sandbox::ports::Database;
use crate::sandbox::quota::ModuleAccounts;
use crate::sandbox::{Outside, Supplies};
use crate::store::audit::{AuditLog, Who};
use crate::store::{KvStore, Store};

mod actors;
mod companions;
mod denials;
mod events;
mod fairness;
mod gatekeeper;
#[cfg(feature = "sqlite")]
mod guests;
mod halting;
#[cfg(feature = "sqlite")]
mod health;
mod incidents;
#[cfg(feature = "sqlite")]
mod mirrored;
mod quotas;
mod renewed;
#[cfg(feature = "rhai")]
mod rhai;
mod waiting;
mod waits;

/// Verifies the tokens `ada` (everything), `bob` (`notes.view` only) and `brief` (as bob, until it is asked again);
/// `broken` makes it fail. `authentication.count` says how often it was asked.
pub(crate) const VERIFIER: (&str, &str) = (
    r#"
id: auth
version: 1.0.0
capabilities: [{ id: authentication, interfaces: [{ name: verifier, methods: [verify, count, withdraw] }] }]
routes:
  - { path: /login, component: Login, title: Sign in, navigation: false }
  - { path: /account, component: Account, title: Account }
runtime: { workers: 1 }
"#,
    r#"
local asked = 0
local people = { ada = { "*" }, bob = { "notes.view" }, brief = { "notes.view" }, nobody = {} }
return {
  services = {
    ["authentication.verify"] = function(args)
      asked = asked + 1
      if args.token == "broken" then error("the secret of the verifier") end
      local held = people[args.token]
      if not held then return nil end
      local lasts = if args.token == "brief" then 50 else 60000
      return { subject = args.token, permissions = held, expires = time.now() + lasts }
    end,
    ["authentication.count"] = function() return asked end,
    ["authentication.withdraw"] = function() services.invalidate("authentication") end,
  },
  pages = {
    Login = function() return { body = "<h1>Sign in</h1>" } end,
    Account = function(req) return { body = "<h1>Account</h1>" } end,
  },
}
"#,
);

/// A router with what its instances need.
pub(crate) struct World {
    pub(crate) rig: Rig,
    pub(crate) router: Arc<Router>,
    pub(crate) auth: Authenticator,
    pub(crate) events: Events,
    supplies: Supplies,
    audit: AuditLog,
    dir: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::beside(HostServices::default()).await
    }

    /// The same beside services of the host.
    pub(crate) async fn beside(hosts: HostServices) -> Self {
        let rig = Rig::new().await;
        let router = Arc::new(Router::default());
        let auth = Authenticator::new(Arc::clone(&router));
        let dir = TempDir::new().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let services = Arc::new(ServiceCalls::new(Arc::clone(&router), hosts, auth.clone()));
        let events = Events::default();
        let audit = AuditLog::open(&dir.path().join("audit")).expect("a log");
        let supplies = Supplies {
            kv: KvStore::new(&store),
            permissions: permissions(&store, audit.clone(), &rig.metrics),
            database: None,
            application: Arc::clone(&services) as _,
            services,
            residents: router.residents(events.clone(), rig.metrics.clone(), Handle::current()),
            outside: Outside::new(dir.path().join("files"), Handle::current()),
            metrics: rig.metrics.clone(),
            accounts: ModuleAccounts::default(),
            events: events.clone(),
            aborts: crate::monitor::Aborts::default(),
            runtime: Handle::current(),
        };
        Self { rig, router, auth, events, supplies, audit, dir }
    }

    /// The same where the modules have so many processors among them.
    pub(crate) fn on_processors(mut self, count: usize) -> Self {
        self.supplies.accounts = ModuleAccounts::on_processors(count);
        self
    }

    /// Gives the databases to the instances to come.
    pub(crate) fn keep_in(&mut self, databases: Arc<dyn Database>) {
        self.supplies.database = Some(databases);
    }

    /// Grants what a manifest asks for.
    pub(crate) async fn grant(&self, text: &str) {
        let granted = self.supplies.permissions.grant_all_asked(&read(text), Who::Admin).await;
        granted.expect("it can be written");
    }

    /// Decides about something that a manifest asks for.
    pub(crate) async fn decide(&self, text: &str, ruling: Ruling, permission: &str) {
        let permission = permission.parse().unwrap_or_else(|error| panic!("{error}"));
        let decided = self.supplies.permissions.decide(&read(text), ruling, &[permission], Who::Admin).await;
        decided.expect("it can be written");
    }

    /// Starts a version without routing to it.
    pub(crate) async fn start(&self, text: &str, script: &str) -> Arc<Instance> {
        self.start_files(text, BTreeMap::from([("main.lua".to_owned(), Arc::from(script))])).await
    }

    /// A version of which nothing has run yet.
    pub(crate) fn instance(&self, text: &str, script: &str) -> Arc<Instance> {
        let files = BTreeMap::from([("main.lua".to_owned(), Arc::from(script))]);
        self.rig.instance(read(text), files, self.supplies.clone())
    }

    /// Starts a version of several files without routing to it.
    pub(crate) async fn start_files(&self, text: &str, files: BTreeMap<String, Arc<str>>) -> Arc<Instance> {
        self.rig.start(read(text), files, self.supplies.clone()).await
    }

    /// What a version serves.
    async fn endpoints(&self, instance: &Instance) -> Arc<[Endpoint]> {
        let subject = Subject {
            key: instance.key.clone(),
            manifest: Arc::clone(&instance.manifest),
            files: Arc::new(BTreeMap::new()),
            exports: instance.exports().clone(),
        };
        ApiBinding.commit(&subject).await.expect("manifest and script agree").into()
    }

    /// Gives an instance all the traffic of its module.
    pub(crate) async fn publish(&self, instance: &Arc<Instance>) {
        let slot = Slot::of(Arc::clone(instance), self.endpoints(instance).await);
        self.router.store(self.router.with(&instance.key.id, Some(slot)).expect("no route is taken"));
    }

    /// Gives a candidate `weight` percent of its module's traffic.
    pub(crate) async fn shift(
        &self,
        baseline: &Arc<Instance>,
        candidate: &Arc<Instance>,
        weight: u8,
    ) -> Result<(), RouteTaken> {
        let baseline = (Arc::clone(baseline), self.endpoints(baseline).await);
        let candidate = (Arc::clone(candidate), self.endpoints(candidate).await);
        let id = Arc::clone(&baseline.0.key.id);
        let slot = Slot::shifting(baseline, candidate, weight);
        self.router.store(self.router.with(&id, Some(slot))?);
        Ok(())
    }

    /// Starts a version that serves.
    pub(crate) async fn serve(&self, text: &str, script: &str) -> Arc<Instance> {
        let instance = self.start(text, script).await;
        self.publish(&instance).await;
        instance
    }

    /// Gives an instance all the traffic of its module, whether or not its script keeps to its manifest.
    pub(crate) fn publish_unchecked(&self, instance: &Arc<Instance>) {
        let slot = Slot::of(Arc::clone(instance), Arc::new([]));
        self.router.store(self.router.with(&instance.key.id, Some(slot)).expect("it has no route"));
    }

    /// Starts a version of the entry script `main.rhai` that serves.
    #[cfg(feature = "rhai")]
    pub(crate) async fn serve_rhai(&self, text: &str, script: &str) -> Arc<Instance> {
        let instance = self.start_files(text, BTreeMap::from([("main.rhai".to_owned(), Arc::from(script))])).await;
        self.publish(&instance).await;
        instance
    }

    /// Takes a module out of service.
    pub(crate) fn remove(&self, module: &str) {
        self.router.store(self.router.with(&module.into(), None).expect("removing takes no route"));
    }

    /// Calls a service as the runtime does.
    pub(crate) async fn call(&self, module: &str, service: &str, args: Value) -> Result<Value, CallError> {
        let call = CallContext {
            module: module.into(),
            version: "".into(),
            request_id: "test".into(),
            caller: None,
            deadline: Instant::now() + Duration::from_secs(5),
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored: None,
            readying: None,
        };
        self.router.call(module, 0, &Handler::Service(service.into()), vec![args], call).await
    }

    /// How often [`VERIFIER`] was asked.
    pub(crate) async fn asked(&self) -> i64 {
        let count = self.call("auth", "authentication.count", Value::Null).await.expect("it counts");
        count.as_i64().expect("a number")
    }
}

/// A manifest without faults.
pub(crate) fn read(text: &str) -> Manifest {
    manifest::load(manifest::FILE_NAME, text.as_bytes()).unwrap_or_else(|faults| panic!("{faults:?}")).manifest
}
