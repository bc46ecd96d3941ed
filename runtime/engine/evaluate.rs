//! One piece of code beside what serves, as an administrator's act.

use std::sync::Arc;
use std::time::Instant;

use replug_scripts::{EvaluateError, Language, ScriptError, SourceFault, Value, code_path};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::validate::{self, sources};
use super::{Engine, EngineError};
use crate::actors::gate::Pass;
use crate::actors::router::{BUCKETS, Instance};
use crate::registry::versions::ModuleRef;
use crate::store::audit::Kind;

/// Characters of the first line that the audit log keeps.
const FIRST_LINE: usize = 200;

/// What a piece of code came to.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluated {
    /// The module.
    pub id: String,
    /// The version beside which it ran.
    pub version: String,
    /// Its value. As JSON, what JSON cannot say is null.
    #[serde(serialize_with = "as_json")]
    pub value: Value,
    /// The value as its language says it, where JSON does not: `nil`, `nan`.
    pub text: Option<String>,
    /// What it logged and printed, as `level message {fields}`: the first lines, cut to size.
    pub log: Vec<String>,
    /// How long it ran, in milliseconds.
    pub ms: f64,
}

impl Engine {
    /// Runs `code` beside the version that serves, with its files, its grants and its limits, in a VM that serves nothing.
    /// The audit log has it before it runs, by its hash and its first line.
    ///
    /// # Errors
    /// Nothing serves, the log takes no entry, the code does not compile or fails.
    pub async fn evaluate(&self, id: &str, code: &str) -> Result<Evaluated, EngineError> {
        let Some(_running) = Pass::enter(Arc::clone(&self.commands)) else { return Err(EngineError::Stopped) };
        let inside = self.enters(id).ok_or_else(|| EngineError::NothingServes { id: id.to_owned() })?;
        let instance = Arc::clone(inside.inside());
        let (module, version) = (instance.manifest.label(), instance.manifest.version.clone());
        let wanted = ModuleRef { id: id.to_owned(), version: Some(version.clone()) };
        let definition = self.shared.registry.snapshot().resolve(&wanted).map(Arc::clone)?;
        let files = validate::read(definition, &self.shared.hands.supplies.aborts).await?.files;
        let paths = files.keys().cloned().collect();
        let entry = instance.manifest.entry(&paths).unwrap_or_default();
        let Some(language) = Language::of(&entry) else {
            return Err(EngineError::Internal(format!("{module} has no entry script")));
        };
        let faulty = |faults: Vec<SourceFault>| EngineError::Scripts { module: module.clone(), faults };
        let mut beside = sources(entry.clone(), &files).map_err(faulty)?;
        // its top level has run where it serves, and its functions are nobody's but its handlers'
        beside.files.remove(&entry);
        let data = json!({ "digest": blake3::hash(code.as_bytes()).to_hex().as_str(), "line": first_line(code) });
        self.shared.audit(Kind::Evaluated, self.by.clone(), module.clone(), data).await?;
        let started = Instant::now();
        let (value, log) = Instance::evaluate(inside, language, code.to_owned(), beside).await;
        let said = log.clone();
        let value = value.map_err(|error| match error {
            EvaluateError::Source(faults) => faulty(faults),
            EvaluateError::Script(error) => {
                let fault = Box::new(fault(&code_path(language), &error));
                EngineError::Evaluation { module: module.clone(), fault, trace: trace(error), log: said }
            }
        })?;
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        let text = (!value.is_json()).then(|| value.shown(language.nothing()));
        Ok(Evaluated { id: id.to_owned(), version: version.to_string(), value, text, log, ms })
    }
}

impl Engine {
    /// Enters the version that serves as a request does: where another takes its place, it waits for this.
    fn enters(&self, id: &str) -> Option<Pass<Instance>> {
        Pass::look(|| self.shared.router.load().instance(id, BUCKETS - 1).cloned())
    }
}

fn as_json<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    value.json().serialize(serializer)
}

fn first_line(code: &str) -> String {
    code.trim_start().lines().next().unwrap_or_default().chars().take(FIRST_LINE).collect()
}

/// Where and why the code failed.
fn fault(code: &str, error: &ScriptError) -> SourceFault {
    let said = error.to_string();
    let innermost = match error {
        ScriptError::Thrown { trace, .. } | ScriptError::Host { trace, .. } => trace.lines().next(),
        _ => None,
    };
    let place = |text: &str| {
        let (file, line) = text.split(" in ").next().unwrap_or(text).rsplit_once(':')?;
        Language::of(file)?;
        Some((file.to_owned(), line.parse().ok()?))
    };
    let (at, message) = match said.split_once(": ").and_then(|(at, rest)| Some((place(at)?, rest.to_owned()))) {
        Some((at, rest)) => (Some(at), rest),
        None => (innermost.and_then(place), said),
    };
    let (file, line) = at.unwrap_or_else(|| (code.to_owned(), 0));
    SourceFault { file, line, column: 0, message }
}

fn trace(error: ScriptError) -> Vec<String> {
    match error {
        ScriptError::Thrown { trace, .. } | ScriptError::Host { trace, .. } => {
            trace.lines().map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use replug_scripts::{HostError, HostErrorKind};

    use super::*;

    #[test]
    fn a_fault_is_at_the_place_of_the_message_or_of_the_stack() {
        let thrown = |message: &str, trace: &str| {
            let found = fault("(eval).lua", &ScriptError::Thrown { message: message.into(), trace: trace.into() });
            (found.file, found.line, found.message)
        };
        assert_eq!(thrown("lib/a.lua:3: no", "x.lua:1"), ("lib/a.lua".into(), 3, "no".into()));
        assert_eq!(thrown("no: way", "lib/a.lua:7 in f\nx.lua:1"), ("lib/a.lua".into(), 7, "no: way".into()));
        let host =
            ScriptError::Host { error: HostError::new(HostErrorKind::Failed, "denied"), trace: "(eval).lua:2".into() };
        let found = fault("(eval).lua", &host);
        assert_eq!((found.file.as_str(), found.line), ("(eval).lua", 2));
    }

    #[test]
    fn the_log_keeps_the_first_line_cut() {
        assert_eq!(first_line("\n  a = 1\nb"), "a = 1");
        assert_eq!(first_line(&"ä".repeat(500)).chars().count(), FIRST_LINE);
    }
}
