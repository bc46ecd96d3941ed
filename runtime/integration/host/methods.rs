//! Closures as a service.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use futures::future::BoxFuture;
use replug_scripts::{HostError, Value};
use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{HostService, ServiceContext};

type Method = Box<dyn Fn(Value, ServiceContext) -> BoxFuture<'static, Result<Value, HostError>> + Send + Sync>;

/// A service made of closures, with arguments and answers of any type of serde's:
///
/// ```
/// use replug::{HostError, HostErrorKind, Methods};
///
/// let sums = Methods::new().method("divide", |(a, b): (i64, i64), _| async move {
///     a.checked_div(b).ok_or_else(|| HostError::new(HostErrorKind::InvalidArgument, "sums.divide: by zero"))
/// });
/// # let _ = sums;
/// ```
///
/// A script calls it with `services.call("sums.divide", {7, 2})` once it is offered as `sums`.
pub struct Methods {
    methods: BTreeMap<String, Method>,
    version: Version,
}

impl Default for Methods {
    fn default() -> Self {
        Self { methods: BTreeMap::new(), version: Version::new(1, 0, 0) }
    }
}

impl Methods {
    /// A service without methods, of version 1.0.0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a method, whose name has no dots; of two with one name the later counts. Arguments that are no `A` are the error
    /// `invalid-argument`, which says where they are not.
    #[must_use]
    pub fn method<A, R, F, Fut>(mut self, name: impl Into<String>, answer: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(A, ServiceContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HostError>> + Send + 'static,
    {
        let method = move |args: Value, context: ServiceContext| -> BoxFuture<'static, Result<Value, HostError>> {
            let answering = context.args(args).map(|args| answer(args, context.clone()));
            Box::pin(async move { context.answer(&answering?.await?) })
        };
        self.methods.insert(name.into(), Box::new(method));
        self
    }

    /// The same in another version: see [`HostService::version`].
    #[must_use]
    pub fn in_version(self, major: u64, minor: u64, patch: u64) -> Self {
        Self { version: Version::new(major, minor, patch), ..self }
    }
}

#[async_trait]
impl HostService for Methods {
    async fn call(&self, method: &str, args: Value, context: ServiceContext) -> Result<Value, HostError> {
        match self.methods.get(method) {
            Some(method) => method(args, context).await,
            None => Err(context.no_method(&self.methods())),
        }
    }

    fn version(&self) -> Version {
        self.version.clone()
    }

    fn methods(&self) -> Vec<&str> {
        self.methods.keys().map(String::as_str).collect()
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods").field("methods", &self.methods.keys()).field("version", &self.version).finish()
    }
}
