//! The module kit on the command line.

use std::fmt::Write as _;
use std::path::Path;

use replug_scripts::Language;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Body, Client};
use super::output::Output;
use super::requests::{read, show};
use super::{Exit, LanguageArgs, NewArgs};
use crate::admin::CommandError;
use crate::admin::commands::{self, CheckReport, Finding};
use crate::kit::scaffold;
use crate::kit::suites::{self, TestReport};
use crate::manifest::FILE_NAME;

/// Makes a module.
pub(super) fn new(args: &NewArgs, output: &mut Output) -> Result<Exit, CommandError> {
    let LanguageArgs { lua, .. } = args.language;
    let language = if lua { Language::Lua } else { Language::Rhai };
    let made = scaffold::create(language, &args.name, &args.dir)?;
    let text =
        format!("made {} with {} files; now:\n  {}", made.dir.display(), made.files.len(), made.next.join("\n  "));
    result(output, &made, || text)
}

/// Checks a folder.
pub(super) fn check(dir: &Path, strict: bool, output: &mut Output) -> Result<Exit, CommandError> {
    let report = commands::check(dir)?;
    if output.is_json() {
        result(output, &report, String::new)?;
    }
    output.warnings(&report.warnings);
    let CheckReport { module, faults, warnings } = report;
    if !faults.is_empty() {
        return Err(CommandError::of_faults(kind(&faults), faults));
    }
    let module = module.as_deref().unwrap_or("module");
    let warned = match warnings.len() {
        0 => String::new(),
        1 => ", one warning".to_owned(),
        count => format!(", {count} warnings"),
    };
    if strict && !warnings.is_empty() {
        let message = format!("{module}: no faults{warned}");
        return Err(CommandError::new("warnings", message).with_help("--strict lets warnings fail"));
    }
    if !output.is_json() {
        output.result(&format!("{module}: no faults{warned}"));
    }
    Ok(Exit::Done)
}

/// The kind of error that the first of these faults is where a server meets it.
fn kind(faults: &[Finding]) -> &'static str {
    match faults.first().map(|fault| Path::new(&fault.location.file)) {
        Some(file) if file.file_name().is_some_and(|name| name == FILE_NAME) => "manifest",
        Some(file) if file.to_str().is_some_and(|file| Language::of(file).is_some()) => "script",
        _ => "bundle",
    }
}

/// Runs a module's tests, and shows each as it ends.
pub(super) fn test(dir: &Path, filter: Option<&str>, output: &mut Output) -> Result<Exit, CommandError> {
    let mut file = String::new();
    let ran = suites::run(dir, filter, |test| {
        if output.is_json() {
            return;
        }
        if file != test.file {
            file.clone_from(&test.file);
            output.result(&dir.join(&file).display().to_string());
        }
        output.result(&line(dir, test));
    });
    let report =
        ran.map_err(|error| CommandError::from(error).in_files(|file| dir.join(file).display().to_string()))?;
    let counted = match report.failed {
        0 => format!("{} passed", report.passed),
        failed => format!("{failed} failed, {} passed", report.passed),
    };
    let failed = report.failed > 0;
    result(output, &report, || format!("{}: {counted} ({:.0} ms)", report.module, report.ms))?;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// A test, and why it did not hold.
fn line(dir: &Path, test: &TestReport) -> String {
    let mut text = format!("  {} {} ({:.1} ms)", if test.passed { "ok  " } else { "FAIL" }, test.name, test.ms);
    let Some(failure) = &test.failure else { return text };
    let place = |at: &str| dir.join(at).display().to_string();
    let at = failure.place.as_deref().map(|at| format!("{}: ", place(at))).unwrap_or_default();
    let _ = write!(text, "\n       {at}{}", failure.message.replace('\n', "\n       "));
    for (index, line) in failure.trace.iter().enumerate() {
        // the place says where it was thrown; the stack how it came there
        if index > 0 || failure.place.as_deref() != Some(line.as_str()) {
            let _ = write!(text, "\n         at {}", place(line));
        }
    }
    for line in &test.log {
        let _ = write!(text, "\n         log: {line}");
    }
    text
}

/// What is shown of a piece of code that was run.
#[derive(Deserialize)]
struct Said {
    value: Value,
    /// Where JSON does not say the value.
    text: Option<String>,
    log: Vec<String>,
}

/// Runs a piece of code beside a module.
pub(super) async fn eval(id: &str, code: &str, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    let body = Body::Json(serde_json::json!({ "code": code }));
    let answer = client.send(Method::POST, &format!("/v1/modules/{id}/eval"), body).await?;
    let Said { value, text, log } = read(&answer)?;
    output.logged(&log);
    show(output, &answer, || text.unwrap_or_else(|| serde_json::to_string_pretty(&value).unwrap_or_default()))
}

fn result(output: &mut Output, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<Exit, CommandError> {
    let internal = |error: serde_json::Error| CommandError::new("internal", error.to_string());
    let text = if output.is_json() { serde_json::to_string(document).map_err(internal)? } else { text() };
    output.result(&text);
    Ok(Exit::Done)
}
