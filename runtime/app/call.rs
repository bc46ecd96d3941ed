//! Calls of modules' services from Rust.

use std::any::type_name;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Handler, Value, from_value, to_value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Runtime;
use crate::actors::CallError;
use crate::error::Error;
use crate::integration::chance;

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
        let service = || format!("{capability}.{method}");
        let args = to_value(&args).map_err(|source| Error::Arguments { service: service(), source })?;
        let answer = self.call_value(capability, method, args).await?;
        let wanted = type_name::<T>();
        from_value(answer).map_err(|source| Error::Answer { service: service(), wanted, source })
    }

    /// [`Runtime::call`] with plain data both ways: nothing is converted.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn call_value(&self, capability: &str, method: &str, args: Value) -> Result<Value, Error> {
        let service = format!("{capability}.{method}");
        let failed = |source: CallError| Error::Call { service: service.clone(), source };
        let Some(module) = self.router.load().providers(capability).first().cloned() else {
            return Err(failed(CallError::NoModule(capability.to_owned())));
        };
        let context = CallContext {
            module: Arc::clone(&module),
            version: "".into(),
            request_id: format!("runtime-{:x}", chance::seed()).into(),
            caller: None,
            deadline: Instant::now() + CALL,
            chain: Vec::new(),
            principal: None,
        };
        let handler = Handler::Service(service.as_str().into());
        self.router.call(&module, chance::bucket(), &handler, vec![args], context).await.map_err(failed)
    }
}
