//! `replug serve`: a runtime with its two listeners, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Runtime;
use super::greeting::Greeting;
use super::listen::listen;
use super::signals::{self, told_to_stop};
use crate::admin::{Admin, Commands, PrivateFileError, RuntimeFile, token};
use crate::error::Error;
use crate::store::audit::Who;

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
    /// Whether the folders are watched, and each save is swapped in.
    pub dev: bool,
    /// Whether what is said at the start is one JSON document.
    pub json: bool,
}

/// The folder that is looked for where none is named; it may be missing.
const DEFAULT_MODULES: &str = "modules";

/// Runs until SIGTERM, SIGHUP or Ctrl-C, then drains and ends.
///
/// # Errors
/// The runtime does not start, an address is taken, or the runtime broke down.
pub async fn serve(options: Options) -> Result<(), Error> {
    if let Some(dir) = options.modules.iter().find(|dir| !dir.is_dir() && dir.as_os_str() != DEFAULT_MODULES) {
        let cause = "there is no such folder".to_owned();
        return Err(Error::Directory { path: dir.clone(), action: "reading", cause });
    }
    #[cfg(target_os = "linux")]
    signals::survive_file_limits();
    #[cfg(unix)]
    if let Err(error) = crate::monitor::aborts::install() {
        tracing::warn!(%error, "an abort of this process will name no module");
    }
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
    let (registry, engine) = (runtime.registry.clone(), runtime.engine.by(Who::Admin));
    let commands =
        Commands::new(registry, engine, runtime.events.clone(), runtime.audit().clone(), runtime.tracker.clone());
    let commands = commands.with_backups(runtime.backups.clone());
    let readiness = runtime.readiness.clone();
    let api = Admin::new(commands, token, move || readiness.obstacle(), runtime.metrics.clone());
    // it goes on while the gateway drains: whoever watches the end sees it
    let (stop_admin, stopped_admin) = watch::channel(false);
    let api = api.listening_on(admin_at).until(stopped_admin.clone()).into_router();
    let routed = Arc::clone(&runtime.router);
    let addresses = move || routed.load().needs_addresses();
    let gateway = tokio::spawn(listen(gateway, runtime.router(), addresses, stopped));
    let admin = tokio::spawn(listen(admin, api, || false, stopped_admin));
    file.write(&options.data).map_err(private)?;

    let ended = tokio::select! {
        () = async {
            let folders = if options.dev { Some(runtime.begin_development().await) } else { None };
            if folders.is_none() {
                runtime.begin().await;
            }
            Greeting::of(&runtime, gateway_at, admin_at).await.say(options.json);
            runtime.readiness.started();
            match folders {
                Some(folders) => match runtime.develop(folders).await {},
                None => std::future::pending::<()>().await,
            }
        } => Ok(()),
        () = told_to_stop() => Ok(()),
        why = runtime.broken() => Err(Error::Broken(why)),
    };
    tracing::info!("stopping");
    runtime.readiness.stopping();
    stop.send_replace(true);
    // idle connections close at once, the others when their request is answered
    if tokio::time::timeout(DRAIN, gateway).await.is_err() {
        tracing::warn!("connections are cut off: the drain deadline passed");
        // what has no end takes nothing of the time in which modules say goodbye
        runtime.engine.cut_streams();
    }
    let stopped = runtime.shutdown(CLOSE).await;
    stop_admin.send_replace(true);
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
