//! The way to the running server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::sse::Messages;
use crate::admin::{CommandError, PrivateFileError, RuntimeFile, token};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a single answer may take: longer than the server waits for an operation, and than it takes to store an upload.
const ANSWER: Duration = Duration::from_secs(150);

/// A body of a request.
pub(in crate::admin) enum Body {
    /// None.
    Empty,
    /// A JSON document.
    Json(serde_json::Value),
    /// A tar archive.
    Archive(Vec<u8>),
}

/// A client of the runtime that serves a data directory.
pub(in crate::admin) struct Client {
    http: reqwest::Client,
    data: PathBuf,
    file: RuntimeFile,
    token: String,
}

/// An operation as it is sent.
#[derive(Deserialize)]
pub(super) struct Operation {
    id: String,
    state: String,
    result: Option<Box<RawValue>>,
    error: Option<CommandError>,
}

impl Client {
    /// The client for the runtime of `data`.
    ///
    /// # Errors
    /// `unreachable`, when the files that lead to it are not there or make no sense.
    pub(in crate::admin) fn new(data: &Path) -> Result<Self, CommandError> {
        let read = |error: PrivateFileError| {
            if error.is_missing() {
                let missing = error.path.display();
                unreachable(format!("no runtime serves {}: {missing} does not exist", data.display()), data)
            } else {
                unreachable(error.to_string(), data)
            }
        };
        let file = RuntimeFile::read(data).map_err(read)?;
        let token = token::load(data).map_err(read)?;
        let http = reqwest::Client::builder()
            // The environment's proxy is for the world, not for this machine.
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CommandError::new("internal", format!("the client cannot be made: {error}")))?;
        Ok(Self { http, data: data.to_owned(), file, token })
    }

    /// Where the runtime said that it is.
    pub(in crate::admin) const fn file(&self) -> RuntimeFile {
        self.file
    }

    /// Sends a request and gives the document that it is answered with.
    ///
    /// # Errors
    /// What the server said, or `unreachable`.
    pub(in crate::admin) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Box<RawValue>, CommandError> {
        let request = match (self.request(method, path), body) {
            (request, Body::Empty) => request,
            (request, Body::Json(json)) => request.json(&json),
            (request, Body::Archive(bytes)) => request.header(header::CONTENT_TYPE, "application/x-tar").body(bytes),
        };
        let response = self.accepted(request.send().await).await?;
        let bytes = response.bytes().await.map_err(|error| self.silent(&error))?;
        serde_json::from_slice(&bytes).map_err(|_| self.stranger())
    }

    /// What happens at the runtime, from now on.
    ///
    /// # Errors
    /// What the server said, or `unreachable`.
    pub(super) async fn events(&self, module: Option<&str>) -> Result<Messages, CommandError> {
        let module = module.map_or(String::new(), |module| format!("?module={module}"));
        // the stream ends by itself; what must not be long is its silence
        let request = self.request(Method::GET, &format!("/v1/events{module}")).timeout(Duration::MAX);
        Ok(Messages::new(self.accepted(request.send().await).await?))
    }

    /// An answer that is taken as it comes, however long that takes.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(super) async fn stream(&self, path: &str) -> Result<reqwest::Response, CommandError> {
        self.accepted(self.request(Method::GET, path).timeout(Duration::MAX).send().await).await
    }

    /// The error of a stream that ended before what was waited for.
    pub(super) fn ended(&self, cause: &str) -> CommandError {
        let RuntimeFile { pid, admin, .. } = self.file;
        let message = format!("the runtime of {} (process {pid}, {admin}) {cause}", self.data.display());
        unreachable(message, &self.data)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://{}{path}", reachable(self.file.admin))).bearer_auth(&self.token)
    }

    /// The response, if it is no error.
    async fn accepted(&self, sent: reqwest::Result<reqwest::Response>) -> Result<reqwest::Response, CommandError> {
        let response = sent.map_err(|error| self.silent(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|error| self.silent(&error))?;
        let error: CommandError = serde_json::from_slice(&bytes).map_err(|_| self.stranger())?;
        // Whoever answers there does not know the token of this directory, so it is not its runtime.
        Err(if error.kind == "unauthenticated" { self.stranger() } else { error })
    }

    /// A result, once the operation that `started` describes has ended.
    ///
    /// # Errors
    /// The operation's error, or one of [`Client::send`].
    pub(super) async fn wait(&self, started: &RawValue) -> Result<Box<RawValue>, CommandError> {
        let mut operation = self.operation(started)?;
        while operation.state == "running" {
            let path = format!("/v1/operations/{}?wait=30s", operation.id);
            operation = self.operation(&self.send(Method::GET, &path, Body::Empty).await?)?;
        }
        match operation {
            Operation { error: Some(error), .. } => Err(error),
            Operation { result: Some(result), .. } => Ok(result),
            _ => Err(self.stranger()),
        }
    }

    fn operation(&self, document: &RawValue) -> Result<Operation, CommandError> {
        serde_json::from_str(document.get()).map_err(|_| self.stranger())
    }

    /// The error of an answer that did not come, or not to its end.
    pub(super) fn silent(&self, error: &reqwest::Error) -> CommandError {
        let RuntimeFile { pid, admin, .. } = self.file;
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let what = if error.is_connect() { "cannot be reached" } else { "did not answer" };
        let message = format!("the runtime of {} (process {pid}, {admin}) {what}: {cause}", self.data.display());
        unreachable(message, &self.data)
    }

    fn stranger(&self) -> CommandError {
        let (data, admin) = (self.data.display(), self.file.admin);
        unreachable(format!("what answers at {admin} is not the runtime of {data}"), &self.data)
    }
}

fn unreachable(message: String, data: &Path) -> CommandError {
    let help = format!("start it: replug serve --data {}", data.display());
    CommandError::new("unreachable", message).with_help(help)
}

/// An address to connect to: a server may listen on all of them, which is none to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
