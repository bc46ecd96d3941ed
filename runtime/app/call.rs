//! Calls of modules' services from Rust.

use std::any::type_name;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Handler, ScriptError, Value, from_value, to_value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Runtime;
use crate::actors::CallError;
use crate::error::Error;
use crate::integration::chance;
use crate::integration::host::ServiceContext;
use crate::integration::services::{bucket, standstill};

/// How long a call from the host application may take.
const CALL: Duration = Duration::from_secs(10);

impl Runtime {
    /// Calls `method` of the module that provides `capability` and serves, with arguments of any type of serde's, and
    /// gives its answer as a `T`; see [`to_value`] and [`from_value`] for how they look in scripts. `()` is for a method
    /// without arguments, and [`Value`] an answer of any form.
    ///
    /// It takes 10 s at most, and at most `runtime.limits` of the module. Whoever stops waiting takes the call back, as far
    /// as no script runs for it yet. While the traffic of the module shifts, each call goes to either version.
    ///
    /// ```no_run
    /// # async fn example(runtime: replug::Runtime) -> Result<(), replug::Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Price {
    ///     total: f64,
    /// }
    /// let price: Price = runtime.call("pricing", "quote", ("tea", 3)).await?;
    /// assert!(price.total > 0.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Call`]: no module that provides it serves, or it failed. [`Error::Arguments`] and [`Error::Answer`]: what
    /// does not fit, and where. Lua's numbers are doubles: a whole number beyond 2^53 loses its last digits on its way into
    /// a Lua script, so pass such a number as text.
    pub async fn call<T: DeserializeOwned>(
        &self,
        capability: &str,
        method: &str,
        args: impl Serialize + Send,
    ) -> Result<T, Error> {
        self.typed(capability, method, args, None).await
    }

    /// [`Runtime::call`] with plain data both ways: nothing is converted.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn call_value(&self, capability: &str, method: &str, args: Value) -> Result<Value, Error> {
        self.answered(&service(capability, method), capability, args, None).await
    }

    /// [`Runtime::call`] by a service of the host, as a part of the call that it answers: `context` is what
    /// [`HostService::call`](crate::HostService::call) was given. It keeps the request's id and its principal, ends at
    /// [`ServiceContext::deadline`], and counts in the depth of calls. [`Runtime::call`] would begin a new request there,
    /// and a circle of modules that call each other through the host would end only by its time limits.
    ///
    /// # Errors
    /// Those of [`Runtime::call`], [`Error::Circle`] for a call that comes back to a module which waits for it and has no worker
    /// free, and a host error of the kind `mirrored` behind a [copy of a request](crate::manifest::Mirror), which asks no module.
    pub async fn call_from<T: DeserializeOwned>(
        &self,
        context: &ServiceContext,
        capability: &str,
        method: &str,
        args: impl Serialize + Send,
    ) -> Result<T, Error> {
        self.typed(capability, method, args, Some(context)).await
    }

    async fn typed<T: DeserializeOwned>(
        &self,
        capability: &str,
        method: &str,
        args: impl Serialize + Send,
        context: Option<&ServiceContext>,
    ) -> Result<T, Error> {
        let service = service(capability, method);
        let args = arguments(&service, &args)?;
        answer(&service, self.answered(&service, capability, args, context).await?)
    }

    async fn answered(
        &self,
        service: &str,
        capability: &str,
        args: Value,
        from: Option<&ServiceContext>,
    ) -> Result<Value, Error> {
        let failed = |source: CallError| Error::Call { service: service.to_owned(), source };
        let nobody = || failed(CallError::NoModule(capability.to_owned()));
        let snapshot = self.router.load();
        let module = snapshot.providers(capability).first().cloned().ok_or_else(nobody)?;
        let latest = Instant::now() + CALL;
        let mut call = CallContext {
            module: Arc::clone(&module),
            version: "".into(),
            request_id: format!("runtime-{:x}", chance::seed()).into(),
            caller: None,
            deadline: latest,
            chain: Vec::new(),
            hops: 0,
            principal: None,
            mirrored: None,
            readying: None,
        };
        let (handler, mut share) = (Handler::Service(service.into()), chance::bucket());
        if let Some(context) = from {
            call.request_id = Arc::clone(&context.request_id);
            call.deadline = latest.min(context.deadline);
            call.chain.clone_from(&context.chain);
            call.hops = context.hops;
            call.principal.clone_from(&context.principal);
            share = bucket(&module, snapshot.slots.get(&module).ok_or_else(nobody)?, &call);
        }
        drop(snapshot);
        if let Some(copy) = from.and_then(|context| context.mirrored.as_ref()) {
            let error = copy.refuse(&format!("Runtime::call_from: {service}"));
            return Err(failed(CallError::Script(ScriptError::Host { error, trace: String::new() })));
        }
        if let Some(circle) = standstill(&self.router, &module, share, &handler, &call.chain) {
            return Err(Error::Circle { service: service.to_owned(), circle });
        }
        self.router.call(&module, share, &handler, vec![args], call).await.map_err(failed)
    }
}

fn service(capability: &str, method: &str) -> String {
    format!("{capability}.{method}")
}

fn arguments(service: &str, args: &impl Serialize) -> Result<Value, Error> {
    to_value(args).map_err(|source| Error::Arguments { service: service.to_owned(), source })
}

fn answer<T: DeserializeOwned>(service: &str, answer: Value) -> Result<T, Error> {
    from_value(answer).map_err(|source| Error::Answer { service: service.to_owned(), wanted: type_name::<T>(), source })
}
