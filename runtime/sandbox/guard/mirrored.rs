//! What a copy of a client's request may do: nothing that outlives it.
//!
//! The client got its answer from the version that serves; the copy only shows how another version would have answered. So it
//! reads as ever, and what would write, send, or set something going is refused with an error of the kind `mirrored`. That is no
//! denial of the module's permissions: nothing is told of it, and the copy notes it, since nobody can say what it would have
//! come to.

use std::sync::Arc;

use replug_scripts::{CallContext, HostError, HostErrorKind, HostFn, Value};

/// What is left of a call of a host function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing, but for a line in the log.
    Nothing,
    /// What its statement changes in a database: a copy gets an access that only reads.
    Statement,
    /// What the modules that it calls leave, which are told that it is a copy's call.
    Callees,
    /// A sample, which tells of what clients did: a copy's is dropped.
    Sample,
    /// More: a copy may not.
    Lasting,
}

/// What is left of a call of `function`. A new function must be thought about here.
pub(super) const fn effect(function: HostFn) -> Effect {
    use HostFn as F;
    match function {
        F::LogTrace | F::LogVerbose | F::LogInfo | F::LogWarn | F::LogError => Effect::Nothing,
        F::JsonEncode | F::JsonDecode | F::TimeNow | F::TimeFormat | F::TimeParse => Effect::Nothing,
        F::CryptoRandom
        | F::CryptoUuid
        | F::CryptoHash
        | F::CryptoSha256
        | F::CryptoHmac
        | F::CryptoEncode
        | F::CryptoDecode
        | F::CryptoEqual
        | F::CryptoPasswordHash
        | F::CryptoPasswordVerify
        | F::CryptoJwtSign
        | F::CryptoJwtVerify
        | F::CryptoJwtKeyId => Effect::Nothing,
        F::ConfigGet | F::ConfigOf | F::KvGet | F::KvList | F::EnvGet => Effect::Nothing,
        F::FsRead | F::FsList | F::FsStat | F::FsExists => Effect::Nothing,
        F::DbQuery | F::DbExecute | F::DbTransaction | F::DbForCaller | F::DbOf => Effect::Statement,
        F::ServicesCall | F::ServicesRequest | F::ServicesRender => Effect::Callees,
        F::MetricsCount | F::MetricsGauge | F::MetricsObserve => Effect::Sample,
        F::KvPut | F::KvDelete | F::KvCas => Effect::Lasting,
        F::FsWrite | F::FsAppend | F::FsRemove | F::FsMkdir => Effect::Lasting,
        // whoever is asked may do anything, also for a GET
        F::HttpRequest | F::HttpGet | F::HttpPost => Effect::Lasting,
        // a message changes the state of its actor
        F::EventsPublish | F::ActorsSend | F::ActorsCall => Effect::Lasting,
        F::TimersAfter | F::TimersEvery | F::TimersCancel | F::ServicesInvalidate => Effect::Lasting,
    }
}

/// What a copy hears instead of a call of `function`; nothing where the call is made.
pub(super) fn instead(function: HostFn, call: &CallContext) -> Option<Result<Value, HostError>> {
    call.mirrored.as_ref()?;
    match effect(function) {
        Effect::Nothing | Effect::Statement | Effect::Callees => None,
        Effect::Sample => Some(Ok(Value::Null)),
        Effect::Lasting => Some(Err(refusal(function, call))),
    }
}

/// The refusal of a call of `function`, which the copy notes.
pub(super) fn refusal(function: HostFn, call: &CallContext) -> HostError {
    if let Some(mirrored) = &call.mirrored {
        mirrored.refuse();
    }
    let path = function.path();
    HostError::new(
        HostErrorKind::Mirrored,
        format!(
            "{path}: refused in a mirrored request, of which nothing may be left; it is carried out in a client's own"
        ),
    )
}

/// Whose turn a call takes of what only a few of a module may do at once: copies have turns of their own, so that no request waits
/// for them.
pub(super) fn lane(call: &CallContext) -> Arc<str> {
    match call.mirrored {
        None => Arc::clone(&call.module),
        Some(_) => format!("{} (mirrored)", call.module).into(),
    }
}
