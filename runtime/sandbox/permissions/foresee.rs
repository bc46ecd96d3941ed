//! What would be refused of a call that stands in a text: by the rules that the guard asks, as far as the text tells the
//! arguments. Without running it, so for hints only.

use replug_scripts::scan::Argument;
use replug_scripts::{HostError, HostErrorKind, HostFn};

use super::asked::CALLER;
use super::compiled::{Grants, denied};
use super::permission::Permission;
use crate::manifest::{Access, FILE_NAME, Manifest};
use crate::sandbox::net::Target;

/// A call that would be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The refusal.
    pub refusal: HostError,
}

impl Foreseen {
    /// The line of the manifest that would undo it, if one does.
    #[must_use]
    pub fn line(&self) -> Option<&str> {
        let before = &self.refusal.message[..self.refusal.message.find(&format!("` in {FILE_NAME}"))?];
        Some(&before[before.rfind('`')? + 1..])
    }
}

/// What a manifest declares and asks for, all of it granted.
#[derive(Clone, Debug)]
pub struct Foresight<'a> {
    manifest: &'a Manifest,
    grants: Grants,
}

impl<'a> Foresight<'a> {
    /// Of this manifest.
    #[must_use]
    pub fn new(manifest: &'a Manifest) -> Self {
        Self { manifest, grants: Grants::compile(manifest, &manifest.permissions) }
    }

    /// Why a call of `function` would be refused; nothing where it would not, or where that cannot be known. Every function
    /// stands here: one that is new must be judged, too.
    #[must_use]
    pub fn of(&self, function: HostFn, arguments: &[Argument]) -> Option<Foreseen> {
        use HostFn as F;
        let (grants, called) = (&self.grants, function.path());
        let at = |index: usize| arguments.get(index).unwrap_or(&Argument::Other);
        let (system, application) = (&self.manifest.permissions.system, &self.manifest.permissions.application);
        // where nothing of the kind is asked for, any call is refused
        let any = |is_asked: bool, permission: Permission| (!is_asked).then(|| grants.refuse(&called, &permission));
        let refusal = match function {
            F::LogTrace | F::LogVerbose | F::LogInfo | F::LogWarn | F::LogError => None,
            F::JsonEncode | F::JsonDecode | F::TimeNow | F::TimeFormat | F::TimeParse => None,
            F::CryptoRandom | F::CryptoUuid | F::CryptoHash | F::CryptoSha256 | F::CryptoHmac => None,
            F::CryptoEncode | F::CryptoDecode | F::CryptoEqual => None,
            F::CryptoPasswordHash | F::CryptoPasswordVerify => None,
            F::CryptoJwtSign | F::CryptoJwtVerify | F::CryptoJwtKeyId => None,
            F::ConfigGet | F::KvGet | F::KvPut | F::KvDelete | F::KvList | F::KvCas => None,
            F::MetricsCount | F::MetricsGauge | F::MetricsObserve | F::TimersCancel => None,
            F::ConfigOf => match (at(0), at(1)) {
                (Argument::Text(module), _) if *module == self.manifest.id => None,
                (Argument::Text(module), Argument::Text(key)) => grants.configuration(&called, module, key).err(),
                (Argument::Text(module), _) => {
                    let permission = Permission::Configuration { module: module.clone(), key: "KEY".to_owned() };
                    any(application.configurations.iter().any(|one| one.module == *module), permission)
                }
                _ => {
                    let permission = Permission::Configuration { module: "MODULE".to_owned(), key: "KEY".to_owned() };
                    any(!application.configurations.is_empty(), permission)
                }
            },
            F::DbQuery | F::DbExecute | F::DbTransaction => grants.database(&called).err(),
            F::DbForCaller => grants.database_of(&called, CALLER, access(at(0))).err(),
            F::DbOf => match at(0) {
                Argument::Text(module) if *module == self.manifest.id => grants.database(&called).err(),
                Argument::Text(module) => grants.database_of(&called, module, access(at(1))).err(),
                _ => {
                    let permission = Permission::Database { module: "MODULE".to_owned(), access: access(at(1)) };
                    any(system.database.iter().any(|one| one.module != CALLER), permission)
                }
            },
            F::HttpRequest | F::HttpGet | F::HttpPost => match target(at(0)) {
                Some(target) => grants.talk(&called, &target).err(),
                None => any(!system.network.is_empty(), Permission::Network { host: "HOST".to_owned(), port: 443 }),
            },
            F::FsRead | F::FsList | F::FsStat | F::FsExists => self.file(&called, at(0), Access::Read),
            F::FsWrite | F::FsAppend | F::FsRemove | F::FsMkdir => self.file(&called, at(0), Access::Write),
            F::EnvGet => match at(0) {
                Argument::Text(name) => grants.environment(&called, name).err(),
                _ => any(!system.environment.is_empty(), Permission::Environment("NAME".to_owned())),
            },
            F::EventsPublish => self.topic(&called, at(0)),
            F::TimersAfter | F::TimersEvery => self.topic(&called, at(1)),
            F::ActorsSend | F::ActorsCall => match at(0) {
                Argument::Text(name) => grants.actor(&called, name).err(),
                _ if grants.actors.is_empty() => grants.actor(&called, "ACTOR").err(),
                _ => None,
            },
            F::ServicesCall => self.service(&called, at(0)),
            F::ServicesInvalidate => match at(0) {
                Argument::Text(name) => grants.provides(&called, name).err(),
                _ if self.manifest.capabilities.is_empty() => grants.provides(&called, "CAPABILITY").err(),
                _ => None,
            },
            F::ServicesRequest => match at(1) {
                Argument::Text(path) => {
                    grants.api(&called, path).err().filter(|_| grants.route(&called, path).is_err())
                }
                Argument::Start(start) if start.ends_with('/') => {
                    let below = format!("{start}_");
                    let may = grants.api(&called, &below).is_ok() || grants.route(&called, &below).is_ok();
                    any(may, Permission::Api(format!("{start}*")))
                }
                _ => {
                    let is_asked = !application.apis.is_empty() || !application.routes.is_empty();
                    any(is_asked, Permission::Api("/PATH".to_owned()))
                }
            },
            F::ServicesRender => match at(0) {
                Argument::Text(id) => grants.component(&called, id).err(),
                _ => any(!application.components.is_empty(), Permission::Component("COMPONENT".to_owned())),
            },
        };
        refusal.map(|refusal| Foreseen { refusal })
    }

    /// Files are asked for by the folder at the top.
    fn file(&self, called: &str, argument: &Argument, access: Access) -> Option<HostError> {
        let path = match argument {
            Argument::Text(path) => Some(path.as_str()),
            Argument::Start(start) => start.rfind('/').map(|end| &start[..end]),
            Argument::Other => None,
        };
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            let asked = &self.manifest.permissions.system.filesystem;
            let permission = Permission::Filesystem { path: "PATH".to_owned(), access };
            return (!asked.iter().any(|one| one.access >= access)).then(|| self.grants.refuse(called, &permission));
        };
        let refused = self.grants.file(called, path, access).err()?;
        let top = path.split('/').next().unwrap_or(path).to_owned();
        let permission = Permission::Filesystem { path: top, access };
        (refused.kind == HostErrorKind::PermissionDenied).then(|| self.grants.refuse(called, &permission))
    }

    fn topic(&self, called: &str, argument: &Argument) -> Option<HostError> {
        match argument {
            Argument::Text(topic) => self.grants.topic(called, topic).err(),
            Argument::Start(start) if start.contains('.') => self.grants.topic(called, start).err(),
            _ => None,
        }
    }

    /// Who provides a capability shows only where modules are registered, so a call is foreseen to fail where it can reach
    /// nobody: neither a module nor a service that the application must have.
    fn service(&self, called: &str, argument: &Argument) -> Option<HostError> {
        let capability = match argument {
            Argument::Text(service) => service.rsplit_once('.')?.0,
            Argument::Start(start) => start.strip_suffix('.').unwrap_or("CAPABILITY"),
            Argument::Other => "CAPABILITY",
        };
        let Manifest { id, capabilities, dependencies, .. } = self.manifest;
        if capabilities.iter().any(|one| one.id == capability) {
            let why = format!("{called}: {id} provides {capability} itself; call the function, not the service");
            return Some(HostError::new(HostErrorKind::PermissionDenied, why));
        }
        let is_required =
            capabilities.iter().any(|one| one.requirements.iter().any(|one| one.capability == capability));
        if !dependencies.is_empty() || is_required {
            return None;
        }
        let why = format!(
            "the module depends on no other one, and requires no {capability} of the application (`capabilities: [{{ id: {id}, \
             requirements: [{capability}] }}]`)"
        );
        Some(denied(called, &why, &format!("dependencies: [{{ id: {capability} }}]")))
    }
}

/// Where a request goes, if its URL has the host as a whole.
fn target(argument: &Argument) -> Option<Target> {
    match argument {
        Argument::Text(url) => Target::parse(url).ok(),
        Argument::Start(start) => {
            let (_, rest) = start.split_once("://")?;
            rest.contains(['/', '?', '#']).then(|| Target::parse(start).ok())?
        }
        Argument::Other => None,
    }
}

/// What a statement does to a database, by its first word.
fn access(argument: &Argument) -> Access {
    let (Argument::Text(sql) | Argument::Start(sql)) = argument else { return Access::Read };
    let word = sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let changes = ["insert", "update", "delete", "replace", "create", "drop", "alter"];
    if changes.iter().any(|change| word.eq_ignore_ascii_case(change)) { Access::Write } else { Access::Read }
}
