//! `replug serve`: a runtime with its two listeners, until it is told to stop.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use replug_scripts::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Runtime;
use super::listen::listen;
use crate::admin::{Admin, Commands, PrivateFileError, RuntimeFile, token};
use crate::error::Error;

/// How long requests in flight may take once the process is told to stop; with what follows it ends within 20 s.
const DRAIN: Duration = Duration::from_secs(10);
/// How long instances may take to stop after that, and then connections to the admin API.
const CLOSE: Duration = Duration::from_secs(2);

/// What `serve` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folders of modules.
    pub modules: Vec<PathBuf>,
    /// The data directory.
    pub data: PathBuf,
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Where the admin API listens.
    pub admin: SocketAddr,
}

/// Runs until SIGTERM or Ctrl-C, then drains and ends.
///
/// # Errors
/// The runtime does not start, an address is taken, or the runtime broke down.
pub async fn serve(options: Options) -> Result<(), Error> {
    // taken before anything is started: who cannot listen leaves no trace
    let (gateway, gateway_at) = bind(options.listen, "--listen").await?;
    let (admin, admin_at) = bind(options.admin, "--admin").await?;
    let mut builder = Runtime::builder().data_dir(&options.data);
    for dir in &options.modules {
        builder = builder.modules(dir);
    }
    let runtime = builder.open().await?;
    let private = |error: PrivateFileError| Error::Broken(error.to_string());
    let token = token::load_or_create(&options.data).map_err(private)?;
    let file = RuntimeFile { pid: std::process::id(), admin: admin_at, gateway: gateway_at };

    let (stop, stopped) = watch::channel(false);
    let commands = Commands::new(runtime.registry.clone(), runtime.engine.clone(), runtime.events.clone());
    let ready = Arc::clone(&runtime.ready);
    let is_ready = move || ready.load(std::sync::atomic::Ordering::Acquire);
    let api = Admin::new(commands, token, is_ready, runtime.metrics.clone()).listening_on(admin_at).into_router();
    let gateway = tokio::spawn(listen(gateway, runtime.router(), stopped.clone()));
    let admin = tokio::spawn(listen(admin, api, stopped));
    file.write(&options.data).map_err(private)?;

    let ended = tokio::select! {
        () = async {
            runtime.begin().await;
            greet(&runtime, gateway_at, admin_at).await;
            runtime.set_ready();
            std::future::pending::<()>().await;
        } => Ok(()),
        () = told_to_stop() => Ok(()),
        why = runtime.broken() => Err(Error::Broken(why)),
    };
    tracing::info!("stopping");
    stop.send_replace(true);
    // idle connections close at once, the others when their request is answered
    if tokio::time::timeout(DRAIN, gateway).await.is_err() {
        tracing::warn!("connections are cut off: the drain deadline passed");
    }
    let stopped = runtime.shutdown(CLOSE).await;
    // whoever waits for an operation has heard by now how it ended
    if tokio::time::timeout(CLOSE, admin).await.is_err() {
        tracing::warn!("connections to the admin API are cut off");
    }
    file.remove(&options.data).map_err(private)?;
    stopped.and(ended)
}

async fn bind(address: SocketAddr, option: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |error: std::io::Error| Error::Listen { address, option, cause: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    Ok((listener, at))
}

async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Says where everything is, and what to open and to try.
async fn greet(runtime: &Runtime, gateway: SocketAddr, admin: SocketAddr) {
    let mut text = format!("\nReplug serves\n  gateway  http://{gateway}\n  admin    http://{admin}\n");
    let slots = runtime.engine.slots();
    if slots.is_empty() {
        text += "\nNo module yet. In another terminal: replug register DIR, then replug activate ID\n";
    }
    for slot in &slots {
        text += &format!("  {:8} {}@{}\n", slot.state.name(), slot.id, slot.version);
    }
    let routes = runtime.router.snapshot();
    let mut open: Vec<(bool, String)> = routes
        .routes
        .iter()
        .filter(|(_, endpoint)| endpoint.method == http::Method::GET && !endpoint.pattern.contains('{'))
        .map(|(_, endpoint)| (!endpoint.is_page(), endpoint.pattern.to_string()))
        .collect();
    open.sort();
    let (pages, apis): (Vec<_>, Vec<_>) = open.into_iter().partition(|(api, _)| !api);
    if let Some(link) = sign_up(runtime).await {
        text += &format!("\nSign up as the first user (the link works once):\n  http://{gateway}{link}\n");
    }
    if !pages.is_empty() {
        text += "\nOpen\n";
        for (_, path) in pages.iter().take(8) {
            text += &format!("  http://{gateway}{path}\n");
        }
    }
    if !apis.is_empty() {
        text += "\nTry\n";
        for (_, path) in apis.iter().take(4) {
            text += &format!("  curl -i http://{gateway}{path}\n");
        }
    }
    text += "\nCtrl-C stops it.\n\n";
    let mut out = std::io::stdout().lock();
    // nobody reads it: no reason not to serve
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The path of the sign-up page, while nobody has signed up and a module offers it.
async fn sign_up(runtime: &Runtime) -> Option<String> {
    let answer = runtime.call("authentication", "enroll", Value::Null).await.ok()?;
    answer.get("path").and_then(Value::as_str).map(str::to_owned)
}
