//! What a module may reach, compiled from its manifest and the decisions about it, looked up on each call.

use std::collections::BTreeMap;
use std::sync::Arc;

use replug_scripts::{HostError, HostErrorKind};

use super::asked::CALLER;
use super::decisions::Ruled;
use super::permission::Permission;
use super::refusal;
use super::rules::{End, Names, Paths};
use crate::manifest::{Access, ActorSpec, FILE_NAME, Manifest, Permissions};
use crate::sandbox::fs::{FilePath, FileRules};
use crate::sandbox::net::{NetworkRules, Target};
use crate::sandbox::ports::{Reach, Suppliers};

/// What one version of a module may reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Grants {
    module: Box<str>,
    /// Of which groups there is anything at all: most modules have none of them.
    groups: u16,
    database: bool,
    databases: Names<Access>,
    files: FileRules,
    network: Arc<NetworkRules>,
    environment: Names<()>,
    routes: Paths,
    apis: Paths,
    components: Names<()>,
    settings: Names<Names<()>>,
    /// Its actors.
    pub actors: Vec<ActorSpec>,
    suppliers: Arc<Suppliers>,
    provides: Vec<String>,
    /// Bytes that its store, files and database may take together.
    pub storage: u64,
    effective: Permissions,
    /// How it stands with what is asked for, for the words of refusals.
    ruled: Arc<[Ruled]>,
}

/// A bit for each group of permissions.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Group {
    Databases = 1,
    Files = 1 << 1,
    Environment = 1 << 2,
    Routes = 1 << 3,
    Apis = 1 << 4,
    Components = 1 << 5,
    Settings = 1 << 6,
}

impl Grants {
    /// What `manifest` declares and what is left of what it asks for.
    #[must_use]
    pub fn compile(manifest: &Manifest, effective: &Permissions) -> Self {
        let (system, application) = (&effective.system, &effective.application);
        let any = |group: Group, is_empty: bool| if is_empty { 0 } else { group as u16 };
        let larger = |known: &mut Access, more: Access| *known = more.max(*known);
        let mut settings = BTreeMap::<_, Vec<_>>::new();
        for it in &application.configurations {
            settings.entry(&it.module).or_default().extend(it.keys.iter().map(|key| (key, ())));
        }
        let settings = settings.into_iter().map(|(module, keys)| (module, Names::new(keys, End::First, |(), ()| ())));
        Self {
            module: manifest.id.as_str().into(),
            groups: any(Group::Databases, system.database.is_empty())
                | any(Group::Files, system.filesystem.is_empty())
                | any(Group::Environment, system.environment.is_empty())
                | any(Group::Routes, application.routes.is_empty())
                | any(Group::Apis, application.apis.is_empty())
                | any(Group::Components, application.components.is_empty())
                | any(Group::Settings, application.configurations.is_empty()),
            database: manifest.database.is_some(),
            databases: Names::new(system.database.iter().map(|it| (&it.module, it.access)), End::First, larger),
            files: FileRules::new(&system.filesystem),
            network: Arc::new(NetworkRules::new(&system.network, &effective.resources.network).placed(&manifest.lines)),
            environment: Names::new(system.environment.iter().map(|name| (name, ())), End::First, |(), ()| ()),
            routes: Paths::new(&application.routes),
            apis: Paths::new(&application.apis),
            components: Names::new(application.components.iter().map(|id| (id, ())), End::First, |(), ()| ()),
            // each module is there once
            settings: Names::new(settings, End::First, |_, _| ()),
            actors: manifest.runtime.actors.clone(),
            suppliers: Arc::new(Suppliers::of(manifest)),
            provides: manifest.capabilities.iter().map(|capability| capability.id.clone()).collect(),
            storage: effective.resources.storage.max,
            effective: effective.clone(),
            ruled: Arc::default(),
        }
    }

    /// The same, whose refusals say how it stands with what the manifest asks for.
    #[must_use]
    pub fn explained_by(mut self, ruled: Vec<Ruled>) -> Self {
        self.ruled = ruled.into();
        Arc::make_mut(&mut self.network).explain(&self.module, Arc::clone(&self.ruled));
        self
    }

    /// What is left of what the manifest asks for, the quotas among it.
    #[must_use]
    pub const fn effective(&self) -> &Permissions {
        &self.effective
    }

    /// Whose services it may call.
    #[must_use]
    pub const fn suppliers(&self) -> &Arc<Suppliers> {
        &self.suppliers
    }

    /// Whether it has a database of its own.
    ///
    /// # Errors
    /// It declares none.
    pub fn database(&self, function: &str) -> Result<(), HostError> {
        self.database
            .then_some(())
            .ok_or_else(|| denied(function, "this module has no database of its own", "database: { migrations: […] }"))
    }

    /// How it may reach the database of the module that calls it.
    ///
    /// # Errors
    /// Its manifest does not ask for it, or an administrator denied it.
    pub fn caller_database(&self, function: &str) -> Result<Access, HostError> {
        self.databases.get(CALLER).copied().ok_or_else(|| {
            self.refuse(function, &Permission::Database { module: CALLER.to_owned(), access: Access::Read })
        })
    }

    /// Whether it provides `capability`.
    ///
    /// # Errors
    /// It does not.
    pub fn provides(&self, function: &str, capability: &str) -> Result<(), HostError> {
        self.provides.iter().any(|provided| provided == capability).then_some(()).ok_or_else(|| {
            denied(
                function,
                &format!("this module does not provide {capability}"),
                &format!("capabilities: [{{ id: {capability} }}]"),
            )
        })
    }

    /// How it may reach the database of another module.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn foreign_database(&self, function: &str, module: &str) -> Result<Access, HostError> {
        let access = self.databases.get(module).copied().filter(|_| module != CALLER);
        access.ok_or_else(|| {
            self.refuse(function, &Permission::Database { module: module.to_owned(), access: Access::Read })
        })
    }

    /// The refusal of a change of a database that it may only read; `module` as its manifest says it, `caller` too.
    #[must_use]
    pub fn refuse_change(&self, function: &str, module: &str) -> HostError {
        self.refuse(function, &Permission::Database { module: module.to_owned(), access: Access::Write })
    }

    /// Whether it may reach the database of `module` so.
    ///
    /// # Errors
    /// It may not; the message says why and what would allow it. This holds for the checks below as well.
    pub fn database_of(&self, function: &str, module: &str, access: Access) -> Result<(), HostError> {
        let may = self.has(Group::Databases) && self.databases.get(module).is_some_and(|allowed| *allowed >= access);
        self.check(may, function, || Permission::Database { module: module.to_owned(), access })
    }

    /// Whether it may do so to a file of its data folder; `path` is relative, with `/`.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn filesystem(&self, function: &str, path: &str, access: Access) -> Result<(), HostError> {
        let may = self.has(Group::Files) && FilePath::parse(path).is_ok_and(|path| self.files.cover(&path, access));
        self.check(may, function, || Permission::Filesystem { path: path.to_owned(), access })
    }

    /// The file that `text` names, if it may do so to it.
    ///
    /// # Errors
    /// `invalid-argument` for what is no path inside the module's folder; otherwise as [`Grants::database_of`].
    pub fn file(&self, function: &str, text: &str, access: Access) -> Result<FilePath, HostError> {
        let path = FilePath::parse(text).map_err(|why| {
            let shown: String = text.chars().take(64).collect();
            let message = format!("{function}: `{}` is no path: {why}", shown.escape_debug());
            HostError::new(HostErrorKind::InvalidArgument, message)
        })?;
        let may = self.has(Group::Files) && self.files.cover(&path, access);
        self.check(may, function, || Permission::Filesystem { path: text.to_owned(), access })?;
        Ok(path)
    }

    /// Whether it may send a request there, as far as that is known before an address is looked up.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn talk(&self, function: &str, target: &Target) -> Result<(), HostError> {
        self.network.check(function, target)
    }

    /// The actor of this name, as the manifest declares it.
    ///
    /// # Errors
    /// `not-found`: it declares none.
    pub fn actor(&self, function: &str, name: &str) -> Result<&ActorSpec, HostError> {
        self.actors.iter().find(|actor| actor.id == name).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            let message = format!(
                "{function}: the module has no actor {shown:?}; `runtime: {{ actors: [{{ id: {shown} }}] }}` in {FILE_NAME} \
                 declares one"
            );
            HostError::new(HostErrorKind::NotFound, message)
        })
    }

    /// Whether `topic` is one of its own.
    ///
    /// # Errors
    /// It is another module's.
    pub fn topic(&self, function: &str, topic: &str) -> Result<(), HostError> {
        let own = &*self.module;
        if topic.strip_prefix(own).is_some_and(|rest| rest.starts_with('.')) {
            return Ok(());
        }
        let publisher = topic.split_once('.').map_or(topic, |(id, _)| id);
        Err(HostError::refusal(format!(
            "permission denied: {function}: {topic} is no topic of {own}, whose topics begin with `{own}.`; only a module \
             with `id: {publisher}` in its {FILE_NAME} has it"
        )))
    }

    /// The rules of its network, for a client that keeps to them.
    #[must_use]
    pub const fn reach(&self) -> &Arc<NetworkRules> {
        &self.network
    }

    /// Whether it may connect to a port of a host, a name or an address.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn network(&self, function: &str, host: &str, port: u16) -> Result<(), HostError> {
        self.network.permit(function, host, port)
    }

    /// Whether it may read an environment variable.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn environment(&self, function: &str, name: &str) -> Result<(), HostError> {
        let may = self.has(Group::Environment) && self.environment.get(name).is_some();
        self.check(may, function, || Permission::Environment(name.to_owned()))
    }

    /// Whether it may ask a page of another module; `path` has no query.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn route(&self, function: &str, path: &str) -> Result<(), HostError> {
        let may = self.has(Group::Routes) && self.routes.allow(path);
        self.check(may, function, || Permission::Route(path.to_owned()))
    }

    /// Whether it may ask an api of another module; `path` has no query.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn api(&self, function: &str, path: &str) -> Result<(), HostError> {
        let may = self.has(Group::Apis) && self.apis.allow(path);
        self.check(may, function, || Permission::Api(path.to_owned()))
    }

    /// What of other modules it may ask at `path`, which has no query.
    ///
    /// # Errors
    /// Neither a page nor an api; as [`Grants::database_of`].
    pub fn at_path(&self, function: &str, path: &str) -> Result<Reach, HostError> {
        match (self.route(function, path), self.api(function, path)) {
            (Err(_), Err(_)) => Err(refusal::neither(function, &self.module, path, &self.ruled)),
            (pages, apis) => Ok(Reach { pages, apis }),
        }
    }

    /// Whether it may have a component of another module drawn.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn component(&self, function: &str, id: &str) -> Result<(), HostError> {
        let may = self.has(Group::Components) && self.components.get(id).is_some();
        self.check(may, function, || Permission::Component(id.to_owned()))
    }

    /// Whether it may read a setting of another module.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn configuration(&self, function: &str, module: &str, key: &str) -> Result<(), HostError> {
        let may = self.has(Group::Settings) && self.settings.get(module).is_some_and(|keys| keys.get(key).is_some());
        self.check(may, function, || Permission::Configuration { module: module.to_owned(), key: key.to_owned() })
    }

    /// Whether it has `permission`, of whichever kind. Of a pattern such as `*.x.org` it must have all.
    ///
    /// # Errors
    /// As [`Grants::database_of`].
    pub fn permit(&self, function: &str, permission: &Permission) -> Result<(), HostError> {
        match permission {
            Permission::Database { module, access } => self.database_of(function, module, *access),
            Permission::Filesystem { path, access } => self.filesystem(function, path, *access),
            Permission::Network { host, port } if !host.starts_with("*.") => self.network(function, host, *port),
            Permission::Environment(name) => self.environment(function, name),
            Permission::Route(path) if !path.ends_with("/*") => self.route(function, path),
            Permission::Api(path) if !path.ends_with("/*") => self.api(function, path),
            Permission::Component(id) => self.component(function, id),
            Permission::Configuration { module, key } => self.configuration(function, module, key),
            whole => {
                let given = self.ruled.iter().flat_map(|it| &it.given);
                self.check(given.into_iter().any(|given| given.covers(whole)), function, || whole.clone())
            }
        }
    }

    const fn has(&self, group: Group) -> bool {
        self.groups & group as u16 != 0
    }

    fn check(&self, may: bool, function: &str, permission: impl FnOnce() -> Permission) -> Result<(), HostError> {
        if may { Ok(()) } else { Err(self.refuse(function, &permission())) }
    }

    /// The refusal of a call of `function` that needs `permission`.
    #[cold]
    pub(super) fn refuse(&self, function: &str, permission: &Permission) -> HostError {
        refusal::refused(function, &self.module, permission, &self.ruled)
    }
}

/// `permission denied: WHAT: WHY; LINE in module.manifest.yaml would grant it`.
#[must_use]
pub fn denied(function: &str, why: &str, line: &str) -> HostError {
    HostError::refusal(format!("permission denied: {function}: {why}; `{line}` in {FILE_NAME} would grant it"))
}
