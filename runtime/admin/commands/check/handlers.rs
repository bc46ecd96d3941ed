//! Does the script hold what the manifest names? Its top level says so, run where it reaches nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use replug_scripts::{
    CallContext, Exports, Handler, Host, HostError, HostErrorKind, HostFn, Limits, Program, ScriptError, Value, Verdict,
};

use super::{CheckReport, place};
use crate::admin::commands::{Finding, Location};
use crate::integration::contract::{self, Missing, Unheard};
use crate::kit::suites::Failure;
use crate::manifest::{Fault, HealthCheckKind, Loaded};
use crate::sandbox::permissions::script_limits;

/// Processor time of a top level; it makes tables.
const CPU: Duration = Duration::from_secs(1);

/// Wall-clock time of one, on a machine that does much else.
const WALL: Duration = Duration::from_secs(10);

/// Adds what the entry script lacks, or why that cannot be known.
pub(super) fn check(dir: &Path, entry: &str, loaded: &Loaded, program: &dyn Program, report: &mut CheckReport) {
    let refuses = Arc::new(Refuses::default());
    let exports = match exports(loaded, program, &refuses) {
        Ok(exports) => exports,
        Err(error) => {
            let Failure { message, place: at, .. } = Failure::of(&error);
            let location = location(dir, at.as_deref().unwrap_or(entry));
            let message = match &error {
                ScriptError::Limit(verdict @ Verdict::Memory(_)) => format!("the top level takes too much: {verdict}"),
                ScriptError::Limit(verdict) => format!("the top level does not end: {verdict}"),
                _ => format!("the top level fails: {message}"),
            };
            match refuses.first() {
                Some(function) => report.warnings.push(Finding {
                    location,
                    message: format!("the top level calls {}, so the handlers are not checked", function.path()),
                    help: Some("call host functions in handlers; what a VM needs once belongs in `init`".to_owned()),
                }),
                None => report.faults.push(Finding { location, message, help: None }),
            }
            return;
        }
    };
    let compared = contract::compare(&loaded.manifest, &exports);
    for Missing { handler, line, near } in compared.missing(entry) {
        let hint =
            near.map(|near| format!("; the script has {near}, which the manifest does not name: is it this one?"));
        let fault = loaded.fault(
            &key(loaded, handler),
            format!("{entry} has no {handler}"),
            Some(format!("add `{line}`{}", hint.unwrap_or_default())),
        );
        report.faults.push(fault.into());
    }
    for Unheard { topic, why } in compared.unheard(&loaded.manifest.id) {
        report.faults.push(Finding {
            location: location(dir, entry),
            message: format!("{entry} listens to what it cannot hear: events[\"{topic}\"]"),
            help: Some(why),
        });
    }
    report.faults.extend(unasked(entry, loaded, &exports).map(Finding::from));
    for key in &exports.unknown {
        report.warnings.push(Finding {
            location: location(dir, entry),
            message: format!("what {entry} returns has `{key}`, which no contract knows: nothing reads it"),
            help: Some(match meant(key) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("there are {}", Handler::keys().collect::<Vec<_>>().join(", ")),
            }),
        });
    }
    for unused in compared.unused() {
        report.warnings.push(Finding {
            location: location(dir, entry),
            message: format!("the script has {unused}, which the manifest does not name"),
            help: Some("name it in the manifest, or take it out: nothing calls it".to_owned()),
        });
    }
}

/// The health checks that never pass, since they ask what the module has not.
fn unasked<'a>(entry: &'a str, loaded: &'a Loaded, exports: &'a Exports) -> impl Iterator<Item = Fault> + 'a {
    let manifest = &loaded.manifest;
    let gets = |path: &str| manifest.apis.iter().any(|api| api.path == path && api.methods.iter().any(|m| m == "GET"));
    let checks = manifest.lifecycle.activation.health_checks.iter().enumerate();
    checks.filter(|_| !exports.has(&Handler::Health)).filter_map(move |(index, check)| {
        let lacks = match &check.kind {
            HealthCheckKind::Endpoint { path } if !gets(path) => {
                format!("the module has no api GET {path}, and {entry} no health")
            }
            HealthCheckKind::Custom => format!("{entry} has no health"),
            HealthCheckKind::Endpoint { .. } | HealthCheckKind::Database | HealthCheckKind::Service { .. } => {
                return None;
            }
        };
        let line = if entry.ends_with(".rhai") {
            "health: |ctx| #{ status: \"healthy\" }"
        } else {
            "health = function(ctx) return { status = \"healthy\" } end"
        };
        let key = format!("lifecycle.activation.healthChecks[{index}]");
        let message = format!("the health check `{}` never passes: {lacks}", check.id);
        Some(loaded.fault(&key, message, Some(format!("add `{line}` to what {entry} returns"))))
    })
}

/// The key of the contract that was probably meant by another one.
fn meant(key: &str) -> Option<&'static str> {
    let alike = |known: &str| strsim::damerau_levenshtein(&key.to_lowercase(), known);
    let (distance, known) = Handler::keys().map(|known| (alike(known), known)).min()?;
    (distance <= known.len() / 3).then_some(known)
}

/// The key of the manifest that names a handler.
fn key(loaded: &Loaded, handler: &Handler) -> String {
    let manifest = &loaded.manifest;
    let index = |found: Option<usize>, list: &str, rest: &str| match found {
        Some(index) => format!("{list}[{index}]{rest}"),
        None => list.to_owned(),
    };
    match handler {
        Handler::Api(name) => {
            let path = name.split_once(' ').map_or(&**name, |(_, path)| path);
            index(manifest.apis.iter().position(|api| api.path == path), "apis", "")
        }
        Handler::Page(id) => match manifest.routes.iter().position(|route| *route.component == **id) {
            Some(route) => format!("routes[{route}].component"),
            None => index(manifest.components.iter().position(|one| *one.id == **id), "components", ""),
        },
        Handler::Service(name) => {
            let capability = name.rsplit_once('.').map_or(&**name, |(capability, _)| capability);
            index(manifest.capabilities.iter().position(|one| one.id == capability), "capabilities", ".interfaces")
        }
        Handler::Cleanup(_) => "lifecycle.deactivation.cleanup".to_owned(),
        _ => "id".to_owned(),
    }
}

/// `FILE` or `FILE:LINE` of the module's folder, as a place.
fn location(dir: &Path, at: &str) -> Location {
    let (file, line) = match at.rsplit_once(':') {
        Some((file, line)) => (file, line.parse().unwrap_or(1)),
        None => (at, 1),
    };
    Location { file: place(dir, file), line, column: 1 }
}

fn exports(loaded: &Loaded, program: &dyn Program, refuses: &Arc<Refuses>) -> Result<Exports, ScriptError> {
    let limits = script_limits(&loaded.manifest, &loaded.manifest.permissions.resources);
    let limits = Limits { cpu_time: CPU, wall_time: WALL, ..limits };
    let call = CallContext {
        module: loaded.manifest.id.as_str().into(),
        version: loaded.manifest.version.to_string().into(),
        request_id: "check".into(),
        caller: None,
        deadline: Instant::now() + WALL,
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    };
    let host: Arc<dyn Host> = Arc::clone(refuses) as Arc<dyn Host>;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("check".into()).stack_size(limits.stack_size());
        let run = || program.instantiate(host, &limits, &call).map(|vm| vm.exports().clone());
        let spawned = thread.spawn_scoped(scope, run).map_err(|error| ScriptError::Engine(error.to_string()))?;
        spawned.join().unwrap_or_else(|_| Err(ScriptError::Engine("the script's engine failed".into())))
    })
}

/// The host of a top level: it lets scripts log, says nothing, and refuses all else.
struct Refuses {
    /// The first function that was refused, by its index in the table.
    first: AtomicUsize,
}

impl Default for Refuses {
    fn default() -> Self {
        Self { first: AtomicUsize::new(usize::MAX) }
    }
}

impl Refuses {
    fn first(&self) -> Option<HostFn> {
        replug_scripts::api::FUNCTIONS.get(self.first.load(Ordering::Relaxed)).map(|function| function.id)
    }
}

impl Host for Refuses {
    fn call(&self, function: HostFn, _: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
        if function.function().group == "log" {
            return Ok(Value::Null);
        }
        let _ = self.first.compare_exchange(usize::MAX, function as usize, Ordering::Relaxed, Ordering::Relaxed);
        Err(HostError::new(HostErrorKind::Failed, format!("{}: a check reaches nothing", function.path())))
    }
}
