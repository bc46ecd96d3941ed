//! One piece of code beside an instance: with its host and its limits, in none of its VMs.

use std::sync::Arc;

use replug_scripts::{EvaluateError, Language, ScriptError, Sources, Value, evaluate};
use tokio::sync::oneshot;

use self::heard::Heard;
use super::Instance;
use crate::actors::error::CallError;
use crate::actors::gate::Pass;
use crate::actors::usage::Usage;

mod heard;

impl Instance {
    /// Runs `code` in a VM of its own on a thread of its own, so no request waits for it. `files` are those that it may use.
    /// It stays inside until it ends, also where nobody waits for its answer any more. Gives what it logged, too, whether or
    /// not it failed: some lines of it, cut to size.
    ///
    /// # Errors
    /// See [`evaluate`].
    pub async fn evaluate(
        inside: Pass<Self>,
        language: Language,
        code: String,
        files: Sources,
    ) -> (Result<Value, EvaluateError>, Vec<String>) {
        let heard = Heard::over(&inside.inside().host);
        let value = Self::value(inside, language, code, files, Arc::clone(&heard)).await;
        (value, heard.lines())
    }

    async fn value(
        inside: Pass<Self>,
        language: Language,
        code: String,
        files: Sources,
        host: Arc<Heard>,
    ) -> Result<Value, EvaluateError> {
        let (done, answer) = oneshot::channel();
        let broken = |cause: String| EvaluateError::Script(ScriptError::Engine(cause));
        let instance = inside.inside();
        let pass = instance.pool.thread().ok_or_else(|| broken(format!("{} is stopped", instance.key)))?;
        let (thread, limits) = instance.thread("eval");
        thread
            .spawn(move || {
                // what a stop waits for goes last
                let (_pass, inside) = (pass, inside);
                let instance = inside.inside();
                // it counts for the module like any other call
                let _usage = Usage::new(instance);
                let call = instance.context("eval", limits.wall_time);
                let value = instance.executing(|| evaluate(language, &code, &files, host, &limits, &call));
                if let Err(EvaluateError::Script(error)) = &value {
                    instance.quotas.tell(&CallError::Script(error.clone()), &"eval", &call);
                }
                // who asked may be gone
                let _ = done.send(value);
            })
            .map_err(|error| broken(format!("no thread for the code: {error}")))?;
        answer.await.unwrap_or_else(|_| Err(broken("the thread of the code failed".into())))
    }
}
