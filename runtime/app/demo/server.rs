//! The runtime that most of the demo shows: in this process, its gateway on a real socket, driven by the same commands as
//! an administrator's.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use replug_scripts::Value;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::{DemoError, load};
use crate::Runtime;
use crate::admin::Commands;
use crate::app::listen::listen;
use crate::engine::{ActivationReport, ConfirmReport, SlotView};
use crate::monitor::Event;
use crate::registry::Bundle;
use crate::store::audit::Who;

/// How long instances and connections may take to stop at the end.
const CLOSE: Duration = Duration::from_secs(2);

/// The first user.
const USER: &str = "demo";

/// Random bytes in their password; twice as many characters.
const PASSWORD_BYTES: usize = 16;

/// A runtime and its gateway.
pub(super) struct Server {
    runtime: Runtime,
    commands: Commands,
    gateway: SocketAddr,
    stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Server {
    /// Starts it on a free port with the modules of a folder.
    ///
    /// # Errors
    /// It does not start, or one of the modules does not.
    pub(super) async fn start(data: &Path, modules: &Path) -> Result<Self, DemoError> {
        let failed = "listening on a free port";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoError::at(failed))?;
        let gateway = listener.local_addr().map_err(DemoError::at(failed))?;
        let runtime = Runtime::builder().data_dir(data).modules(modules).build().await?;
        let (stop, stopped) = watch::channel(false);
        let routed = Arc::clone(&runtime.router);
        let addresses = move || routed.load().needs_addresses();
        let listening = tokio::spawn(listen(listener, runtime.router(), addresses, stopped));
        let (registry, engine) = (runtime.registry.clone(), runtime.engine.by(Who::Admin));
        let commands =
            Commands::new(registry, engine, runtime.events.clone(), runtime.audit().clone(), runtime.tracker.clone());
        let server = Self { runtime, commands, gateway, stop, listening };
        match server.runtime.troubles().first() {
            None => Ok(server),
            Some(trouble) => {
                let error = DemoError::step("starting the modules", trouble);
                server.close().await?;
                Err(error)
            }
        }
    }

    /// The address of a path at the gateway.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway)
    }

    /// Everything that happens from now on.
    pub(super) fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        self.runtime.events.subscribe()
    }

    /// Registers the module in a folder.
    ///
    /// # Errors
    /// It cannot be read, or is refused.
    pub(super) async fn register(&self, dir: PathBuf) -> Result<(), DemoError> {
        let read = tokio::task::spawn_blocking(move || Bundle::read_dir(&dir)).await;
        let bundle = read.map_err(DemoError::at("reading a module"))?.map_err(crate::Error::from)?;
        self.commands.register(bundle).await?;
        Ok(())
    }

    /// Activates `ID@VERSION` as its manifest says.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn activate(&self, module: &str) -> Result<ActivationReport, DemoError> {
        let module = module.parse().map_err(DemoError::at("activating"))?;
        Ok(self.commands.activate(&module, None).await?)
    }

    /// Confirms what serves provisionally.
    ///
    /// # Errors
    /// Nothing serves.
    pub(super) async fn confirm(&self, id: &str) -> Result<ConfirmReport, DemoError> {
        Ok(self.commands.confirm(id).await?)
    }

    /// What a module's slot is at this moment.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn slot(&self, id: &str) -> Result<SlotView, DemoError> {
        let slot = self.commands.list().into_iter().find(|slot| slot.id == id);
        slot.ok_or_else(|| DemoError::step(id, "it has no slot"))
    }

    /// Signs the first user up, who may do everything, and gives their token.
    ///
    /// # Errors
    /// It is refused.
    pub(super) async fn sign_up(&self) -> Result<String, DemoError> {
        let failed = "signing up";
        let enrolled: Value = self.runtime.call("authentication", "enroll", Value::Null).await?;
        let path = enrolled.get("path").and_then(|path| path.as_str()).unwrap_or_default();
        let code = path.split_once("code=").map_or("", |(_, code)| code);
        let mut password = [0; PASSWORD_BYTES];
        getrandom::fill(&mut password).map_err(DemoError::at(failed))?;
        let password: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
        let who = serde_json::json!({ "code": code, "name": USER, "password": password });
        let sent = load::client()?.post(self.url("/api/auth/signup")).json(&who).send().await;
        let answer: serde_json::Value =
            sent.map_err(DemoError::at(failed))?.json().await.map_err(DemoError::at(failed))?;
        let token = answer["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| DemoError::step(failed, answer))
    }

    /// The JSON document at a path of the gateway.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn document(&self, path: &str, token: &str) -> Result<serde_json::Value, DemoError> {
        let sent = load::client()?.get(self.url(path)).bearer_auth(token).send().await;
        let answer = sent.and_then(reqwest::Response::error_for_status).map_err(DemoError::at(path))?;
        answer.json().await.map_err(DemoError::at(path))
    }

    /// Ends it.
    ///
    /// # Errors
    /// Not everything could be written.
    pub(super) async fn close(self) -> Result<(), DemoError> {
        self.stop.send_replace(true);
        // whoever is still connected then is a load that was given up
        let _ = tokio::time::timeout(CLOSE, self.listening).await;
        Ok(self.runtime.shutdown(CLOSE).await?)
    }
}
