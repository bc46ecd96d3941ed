//! Each request from its arguments to its output.

use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::client::{Body, Client};
use super::output::Output;
use super::{
    AuditAction, AuditArgs, Exit, Globals, Request, backup, choosing, human, kit, permissions, records, relations,
    steering, top, watch,
};
use crate::admin::CommandError;
use crate::admin::commands::{Finding, Registered};
use crate::registry::Bundle;
use crate::registry::versions::ModuleRef;

/// Runs a request to its end.
pub(super) fn run(request: Request, globals: &Globals, output: &mut Output) -> Exit {
    run_until(request, globals, output, std::future::pending())
}

/// Runs a request to its end, or until `broken_off`: what the runtime has begun by then goes on there.
pub(in crate::admin) fn run_until(
    request: Request,
    globals: &Globals,
    output: &mut Output,
    broken_off: impl Future<Output = ()>,
) -> Exit {
    let done = match request {
        Request::New(args) => kit::new(&args, output),
        Request::Check { dir, strict } => kit::check(&dir, strict, output),
        Request::Test { dir, filter } => kit::test(&dir, filter.as_deref(), output),
        Request::Audit(AuditArgs { action: Some(AuditAction::Verify), .. }) => records::verify(globals, output),
        request => remote(request, globals, output, broken_off),
    };
    let exit = done.unwrap_or_else(|error| {
        output.error(&error);
        Exit::of(&error)
    });
    output.end(exit)
}

fn remote(
    request: Request,
    globals: &Globals,
    output: &mut Output,
    broken_off: impl Future<Output = ()>,
) -> Result<Exit, CommandError> {
    let client = Client::new(&globals.data)?;
    runtime()?.block_on(async {
        tokio::select! {
            done = ask(request, &client, output) => done,
            () = broken_off => Err(CommandError::new("interrupted", "interrupted; what the runtime has begun goes on")),
        }
    })
}

/// One thread is enough for one request, and starts faster.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CommandError::new("internal", format!("the client cannot be started: {error}")))
}

async fn ask(request: Request, client: &Client, output: &mut Output) -> Result<Exit, CommandError> {
    match request {
        Request::Register { path } => {
            let answer = upload(client, "/v1/modules".to_owned(), &path).await?;
            let mut done: Registered = read(&answer)?;
            rename(&mut done.warnings, &path);
            output.warnings(&done.warnings);
            show(output, &answer, || human::registered(&done))
        }
        Request::Update { path, strategy, no_wait } => {
            let query = strategy.map_or(String::new(), |strategy| format!("?strategy={}", strategy.name()));
            let progress = Progress::of(output, "updating");
            let started = upload(client, format!("/v1/update{query}"), &path).await?;
            if no_wait {
                return begun(output, progress, &started, "update");
            }
            let answer = client.wait(&started).await.map_err(|error| local(error, &path))?;
            drop(progress);
            updated(output, &answer, Some(&path))
        }
        Request::Unregister { module: ModuleRef { id, version } } => {
            let version = version.map_or(String::new(), |version| format!("/versions/{version}"));
            let answer = client.send(Method::DELETE, &format!("/v1/modules/{id}{version}"), Body::Empty).await?;
            let done = read(&answer)?;
            show(output, &answer, || human::unregistered(&done))
        }
        Request::Activate { module: ModuleRef { id, version }, strategy, set, no_wait } => {
            let body = serde_json::json!({
                "version": version.map(|version| version.to_string()),
                "strategy": strategy.map(super::Strategy::name),
                "set": set.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            let progress = Progress::of(output, "activating");
            let started = client.send(Method::POST, &format!("/v1/modules/{id}/activate"), Body::Json(body)).await?;
            if no_wait {
                return begun(output, progress, &started, "activation");
            }
            let answer = client.wait(&started).await?;
            drop(progress);
            activated(output, &answer)
        }
        Request::Rollback { id, to, no_wait } => {
            let body = serde_json::json!({ "to": to.map(|to| to.to_string()) });
            let progress = Progress::of(output, "rolling back");
            let started = client.send(Method::POST, &format!("/v1/modules/{id}/rollback"), Body::Json(body)).await?;
            if no_wait {
                return begun(output, progress, &started, "rollback");
            }
            let answer = client.wait(&started).await?;
            drop(progress);
            activated(output, &answer)
        }
        Request::Deactivate { id, no_wait } => {
            let progress = Progress::of(output, "deactivating");
            let started = client.send(Method::POST, &format!("/v1/modules/{id}/deactivate"), Body::Empty).await?;
            if no_wait {
                return begun(output, progress, &started, "deactivation");
            }
            let answer = client.wait(&started).await?;
            drop(progress);
            let done = read(&answer)?;
            show(output, &answer, || human::deactivated(&done))
        }
        Request::List => {
            let answer = client.send(Method::GET, "/v1/modules", Body::Empty).await?;
            let rows: Vec<human::Slot> = read(&answer)?;
            show(output, &answer, || human::slots(&rows))
        }
        Request::Health { id } => {
            let path = id.as_ref().map_or("/v1/health".to_owned(), |id| format!("/v1/modules/{id}/health"));
            let answer = client.send(Method::GET, &path, Body::Empty).await?;
            let rows = if id.is_some() { vec![read(&answer)?] } else { read(&answer)? };
            show(output, &answer, || human::health(&rows))
        }
        Request::Top(args) => top::top(args, client, output).await,
        Request::Show { module: ModuleRef { id, version } } => {
            let version = version.map_or(String::new(), |version| format!("/versions/{version}"));
            let answer = client.send(Method::GET, &format!("/v1/modules/{id}{version}"), Body::Empty).await?;
            let module = read(&answer)?;
            show(output, &answer, || human::module(&module))
        }
        Request::Choosing(choosing) => choosing::run(choosing, client, output).await,
        Request::Relation(relation) => relations::ask(relation, client, output).await,
        Request::Steer(steer) => steering::steer(steer, client, output).await,
        Request::Confirm { id } => records::confirm(&id, client, output).await,
        Request::History { id, limit } => records::history(&id, limit, client, output).await,
        Request::Audit(args) => records::audit(args, client, output).await,
        Request::Backup(args) => {
            let progress = Progress::of(output, "backing up");
            let contents = backup::backup(&args, client).await?;
            drop(progress);
            backup::written(&args, &contents, output)
        }
        Request::Permissions(args) => permissions::permissions(args, client, output).await,
        Request::Watch { subject } => watch::watch(subject.as_deref(), client, output).await,
        Request::Eval { id, code } => kit::eval(&id, &code, client, output).await,
        Request::New(args) => kit::new(&args, output),
        Request::Check { dir, strict } => kit::check(&dir, strict, output),
        Request::Test { dir, filter } => kit::test(&dir, filter.as_deref(), output),
    }
}

/// The end of a command that does not wait: the operation is the result.
fn begun(output: &mut Output, progress: Progress, started: &RawValue, what: &str) -> Result<Exit, CommandError> {
    #[derive(Deserialize)]
    struct Started {
        id: String,
        module: String,
    }
    drop(progress);
    let Started { id: operation, module } = read(started)?;
    show(output, started, || {
        format!(
            "the {what} of {module} has begun (operation {operation}); replug watch {operation} shows how it goes and how it ended"
        )
    })
}

/// Sends the files of `path`: the server never opens a client's path.
async fn upload(client: &Client, to: String, path: &Path) -> Result<Box<RawValue>, CommandError> {
    let archive = Bundle::read_dir(path)?.to_tar();
    client.send(Method::POST, &to, Body::Archive(archive)).await.map_err(|error| local(error, path))
}

/// The error with its files named as the user would: the server has seen only what is in the folder.
fn local(error: CommandError, folder: &Path) -> CommandError {
    error.in_files(|file| folder.join(file).display().to_string())
}

fn rename(warnings: &mut [Finding], folder: &Path) {
    for warning in warnings {
        warning.location.file = folder.join(&warning.location.file).display().to_string();
    }
}

pub(super) fn show(
    output: &mut Output,
    document: &RawValue,
    text: impl FnOnce() -> String,
) -> Result<Exit, CommandError> {
    let text = if output.is_json() { document.get().to_owned() } else { text() };
    output.result(&text);
    Ok(Exit::Done)
}

/// The end of an operation as the command that began it would have shown it.
pub(super) fn ended(verb: &str, answer: &RawValue, output: &mut Output) -> Result<Exit, CommandError> {
    match verb {
        "deactivate" => {
            let done = read(answer)?;
            show(output, answer, || human::deactivated(&done))
        }
        "update" => updated(output, answer, None),
        _ => activated(output, answer),
    }
}

/// The end of an activation: a version that does not serve is an error, with the report as the result all the same.
fn activated(output: &mut Output, answer: &RawValue) -> Result<Exit, CommandError> {
    let report: human::Activation = read(answer)?;
    if output.is_json() || report.serves() {
        show(output, answer, || human::activated(&report))?;
    }
    report.into_failure().map_or(Ok(Exit::Done), Err)
}

/// The end of an update: the registration's warnings, then what came of it. `folder` is where the files are, if known.
fn updated(output: &mut Output, answer: &RawValue, folder: Option<&Path>) -> Result<Exit, CommandError> {
    #[derive(Deserialize)]
    struct Updated {
        activation: Option<human::Activation>,
    }
    let mut done: Registered = read(answer)?;
    if let Some(folder) = folder {
        rename(&mut done.warnings, folder);
    }
    output.warnings(&done.warnings);
    let Updated { activation } = read(answer)?;
    let mut text = human::registered(&done);
    match &activation {
        Some(report) if report.serves() => text = format!("{text}\n{}", human::activated(report)),
        Some(_) => {}
        None => text = format!("{text}\nno other version of {} serves, so nothing was activated", done.id),
    }
    show(output, answer, || text)?;
    activation.and_then(human::Activation::into_failure).map_or(Ok(Exit::Done), Err)
}

pub(super) fn read<T: DeserializeOwned>(document: &RawValue) -> Result<T, CommandError> {
    serde_json::from_str(document.get()).map_err(|error| {
        CommandError::new("internal", format!("the runtime's answer cannot be read: {error}"))
            .with_help("see that `replug` and the running server have the same version")
    })
}

/// A spinner for as long as it lives, if somebody watches. It must be gone before anything else is written.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn of(output: &Output, what: &'static str) -> Self {
        let spinner = output.is_watched().then(|| ProgressBar::new_spinner().with_message(what));
        if let Some(spinner) = &spinner {
            spinner.enable_steady_tick(Duration::from_millis(100));
        }
        Self(spinner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}
