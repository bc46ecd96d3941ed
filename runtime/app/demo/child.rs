//! A runtime in a process of its own: this binary as `replug serve`, driven by its command line.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{DemoError, load};
use crate::admin::RuntimeFile;

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(5);

/// The process; killed when it is dropped.
pub(super) struct Child {
    binary: PathBuf,
    /// Its data directory.
    data: PathBuf,
    /// The folder of the module that it starts with.
    module: PathBuf,
    /// What it prints.
    log: PathBuf,
    gateway: SocketAddr,
    process: Option<Process>,
}

impl Child {
    /// One that does not run yet, with everything below `folder`, and `module` to start with.
    ///
    /// # Errors
    /// This binary cannot be found.
    pub(super) fn new(folder: &Path, module: PathBuf) -> Result<Self, DemoError> {
        let binary = std::env::current_exe().map_err(DemoError::at("finding this binary"))?;
        let (data, log) = (folder.join("child"), folder.join("child.log"));
        Ok(Self { binary, data, module, log, gateway: (Ipv4Addr::LOCALHOST, 0).into(), process: None })
    }

    /// Starts the process and waits until it is ready. Gives how long that took. The gateway's port is a free one at the
    /// first start, and the same at the next.
    ///
    /// # Errors
    /// It does not start, or is not ready in time.
    pub(super) async fn start(&mut self) -> Result<Duration, DemoError> {
        let failed = "starting a child process";
        let began = Instant::now();
        let log = File::options().create(true).append(true).open(&self.log).map_err(DemoError::at(failed))?;
        let errors = log.try_clone().map_err(DemoError::at(failed))?;
        let process = self
            .command()
            .arg("serve")
            .arg(&self.module)
            .arg("--data")
            .arg(&self.data)
            .arg("--listen")
            .arg(self.gateway.to_string())
            .args(["--admin", "127.0.0.1:0", "--json"])
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(DemoError::at(failed))?;
        let pid = process.id();
        self.process = Some(process);
        let http = load::client()?;
        while began.elapsed() < PATIENCE {
            // the file of a runtime that was killed is still there
            if let Some(file) = RuntimeFile::read(&self.data).ok().filter(|file| file.pid == pid) {
                let answer = http.get(format!("http://{}/readyz", file.admin)).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    self.gateway = file.gateway;
                    return Ok(began.elapsed());
                }
            }
            if self.has_ended() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(DemoError::step(failed, self.last_words()))
    }

    /// The address of a path at its gateway.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway)
    }

    /// Runs `replug` against it and gives the document that it prints.
    ///
    /// # Errors
    /// The command does not end with 0.
    pub(super) async fn run(&self, args: &[&str]) -> Result<Value, DemoError> {
        let name = format!("replug {}", args.join(" "));
        let mut command = self.command();
        command.args(args).arg("--json").arg("--data").arg(&self.data);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.map_err(DemoError::at(name.as_str()))?.map_err(DemoError::at(name.as_str()))?;
        if !output.status.success() {
            return Err(DemoError::step(name, String::from_utf8_lossy(&output.stderr).trim()));
        }
        serde_json::from_slice(&output.stdout).map_err(DemoError::at(name))
    }

    /// The JSON document at a path of its gateway.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn document(&self, path: &str) -> Result<Value, DemoError> {
        let sent = load::client()?.get(self.url(path)).send().await;
        sent.map_err(DemoError::at(path))?.json().await.map_err(DemoError::at(path))
    }

    /// Ends the process as `kill -9` does.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // one that has ended cannot be killed, and that is what is wanted
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// This binary, where Ctrl-C at the terminal does not reach it: what ends it is the demo.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null());
        command
    }

    fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(Some(_))))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().next_back().unwrap_or("it printed nothing");
        format!("it was not ready within {} s; its last line: {last}", PATIENCE.as_secs())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
