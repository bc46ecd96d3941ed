//! Services that the application around the runtime offers to scripts.
//!
//! A script calls `services.call("mailer.send", args)`, and the application's Rust code answers. What is offered is offered
//! to every module: to give a runtime a service is the consent of whoever runs it. [`HostService::only_for`] narrows it.
//!
//! | file | what it knows |
//! |---|---|
//! | `methods` | [`Methods`]: closures over types of serde's as a service |
//! | `offers` | what one runtime offers, by capability |
//! | `ask` | one call: its deadline, and a panic that costs this call only |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use replug_scripts::value::{from_value, to_value};
use replug_scripts::{HostError, HostErrorKind, Mirrored, Principal, Value};
use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

mod ask;
mod methods;
mod offers;

pub(super) use ask::ask;
pub use methods::Methods;
pub use offers::{HostServices, OfferError};

/// A service of the application around the runtime, by the name of the capability under which it is offered.
///
/// Where five lines of closures will do, see [`Methods`].
#[async_trait]
pub trait HostService: Send + Sync + 'static {
    /// Answers a call of `method`. It runs on the async runtime on which the [`Runtime`](crate::Runtime) was built; the
    /// script's thread waits. The future is dropped at [`ServiceContext::deadline`], and the script gets the error
    /// `timeout`; if it panics, the script gets `failed`, and nothing else happens.
    ///
    /// # Errors
    /// What the script gets as `{kind, message}`; it reads the message, so say nothing in it that modules may not know.
    async fn call(&self, method: &str, args: Value, context: ServiceContext) -> Result<Value, HostError>;

    /// The version of the capability, for the ranges of modules that require it. Default: 1.0.0.
    fn version(&self) -> Version {
        Version::new(1, 0, 0)
    }

    /// Whether this module may call it; otherwise its call fails with `permission-denied`. Default: every module may.
    fn admits(&self, module: &str) -> bool {
        let _ = module;
        true
    }

    /// Whether this method only reads, so that also a [copy of a request](crate::manifest::Mirror) may call it; such a call of
    /// another method is refused. Default: none does.
    fn reads(&self, method: &str) -> bool {
        let _ = method;
        false
    }

    /// The names of its methods, as far as they are known beforehand: an empty one, or one with a dot in it, which no script
    /// could call, is refused by [`Builder::build`](crate::Builder::build). Default: none.
    fn methods(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The same, where these methods [only read](HostService::reads).
    fn reading<I: IntoIterator<Item: Into<String>>>(self, methods: I) -> Reading<Self>
    where
        Self: Sized,
    {
        Reading { service: self, methods: methods.into_iter().map(Into::into).collect() }
    }

    /// The same for these modules only.
    fn only_for<I: IntoIterator<Item: Into<String>>>(self, modules: I) -> OnlyFor<Self>
    where
        Self: Sized,
    {
        OnlyFor { service: self, modules: modules.into_iter().map(Into::into).collect() }
    }
}

/// For whom and until when a service of the host answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceContext {
    /// What was called, `capability.method`.
    pub service: Arc<str>,
    /// The module whose script calls.
    pub module: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The id of the request at whose origin the call stands; logs carry it.
    pub request_id: Arc<str>,
    /// When the answer comes too late.
    pub deadline: Instant,
    /// On whose behalf, where somebody signed in.
    pub principal: Option<Arc<Principal>>,
    /// The modules that wait for the answer, the outermost first.
    pub(crate) chain: Vec<Arc<str>>,
    /// The events that led here.
    pub(crate) hops: u8,
    /// Set where the call stands behind a copy of a client's request.
    pub(crate) mirrored: Option<Arc<Mirrored>>,
}

impl ServiceContext {
    /// The arguments as a `T`.
    ///
    /// # Errors
    /// `invalid-argument`, with the place that does not fit.
    pub fn args<T: DeserializeOwned>(&self, args: Value) -> Result<T, HostError> {
        from_value(args).map_err(|misfit| {
            HostError::new(HostErrorKind::InvalidArgument, format!("{}: wrong arguments: {misfit}", self.service))
        })
    }

    /// An answer of any type of serde's.
    ///
    /// # Errors
    /// `failed`: scripts cannot hold it, such as a whole number beyond 64 bits.
    pub fn answer<T: Serialize>(&self, answer: &T) -> Result<Value, HostError> {
        to_value(answer).map_err(|misfit| {
            HostError::new(
                HostErrorKind::Failed,
                format!("{}: the answer cannot reach a script: {misfit}", self.service),
            )
        })
    }

    /// The error of a method that does not exist; `known` are those that do.
    #[must_use]
    pub fn no_method(&self, known: &[&str]) -> HostError {
        let capability = self.service.rsplit_once('.').map_or(&*self.service, |(capability, _)| capability);
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("{}: there is no such method; {capability} has {known}", self.service);
        HostError::new(HostErrorKind::NotFound, message)
    }
}

/// A service that only some modules may call; see [`HostService::only_for`].
#[derive(Clone, Debug)]
pub struct OnlyFor<S> {
    service: S,
    modules: BTreeSet<String>,
}

#[async_trait]
impl<S: HostService> HostService for OnlyFor<S> {
    async fn call(&self, method: &str, args: Value, context: ServiceContext) -> Result<Value, HostError> {
        self.service.call(method, args, context).await
    }

    fn version(&self) -> Version {
        self.service.version()
    }

    fn admits(&self, module: &str) -> bool {
        self.modules.contains(module) && self.service.admits(module)
    }

    fn reads(&self, method: &str) -> bool {
        self.service.reads(method)
    }

    fn methods(&self) -> Vec<&str> {
        self.service.methods()
    }
}

/// A service some of whose methods only read; see [`HostService::reading`].
#[derive(Clone, Debug)]
pub struct Reading<S> {
    service: S,
    methods: BTreeSet<String>,
}

#[async_trait]
impl<S: HostService> HostService for Reading<S> {
    async fn call(&self, method: &str, args: Value, context: ServiceContext) -> Result<Value, HostError> {
        self.service.call(method, args, context).await
    }

    fn version(&self) -> Version {
        self.service.version()
    }

    fn admits(&self, module: &str) -> bool {
        self.service.admits(module)
    }

    fn reads(&self, method: &str) -> bool {
        self.methods.contains(method) || self.service.reads(method)
    }

    fn methods(&self) -> Vec<&str> {
        self.service.methods()
    }
}
