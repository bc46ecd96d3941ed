//! The admin API: the commands as resources.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/modules` | the slots |
//! | `POST /v1/modules` (a tar archive) | 201 and what was registered; 200 if it was before |
//! | `GET /v1/modules/{id}`, `…/versions`, `…/versions/{version}` | a manifest and its state; the versions |
//! | `GET /v1/usage`, `GET /v1/modules/{id}/usage` | what modules use of memory, processor, network and disk |
//! | `GET /v1/health`, `GET /v1/modules/{id}/health` | what the health checks said last |
//! | `DELETE /v1/modules/{id}`, `…/versions/{version}` | what was unregistered |
//! | `POST /v1/modules/{id}/activate`, `…/deactivate`, `…/rollback`, `POST /v1/update` | 202 and an operation |
//! | `GET /v1/capabilities`, `/{id}`, `PUT` of one | who offers and needs what; which module is called |
//! | `POST /v1/modules/{id}/pause`, `resume`, `promote`, `abort` | a traffic shift is steered |
//! | `POST /v1/modules/{id}/confirm`, `GET …/history?limit=20` | the version is permanent; what was done to the module |
//! | `POST /v1/modules/{id}/eval` (`{"code"}`) | the value of a piece of code beside the version that serves |
//! | `GET /v1/modules/{id}/permissions?version=V`, `POST …/permissions` | what a version asks for; what was decided about it |
//! | `GET /v1/operations?module=ID` | the operations, the newest first |
//! | `GET /v1/operations/{id}?wait=30s` | the operation, once it has ended or the wait is over |
//! | `GET /v1/modules/{id}/versions?compatibleWith=V` | those that can take over from that version |
//! | `GET /v1/modules/{id}/dependencies?version=V`, `…/conflicts?version=V` | what goes together with it; what keeps it from running |
//! | `GET /v1/modules/{id}/plan?version=V&strategy=S`, `…/why?version=V` | what an activation would do; why it is as it is |
//! | `GET /v1/modules/{id}/validation?version=V`, `…/compatibility?version=V&from=W` | whether it can run beside what runs; whether it can take over from that version |
//! | `GET /v1/find?capability=…`, `?category=…`, `?compatible=ID@RANGE;…` | the versions that offer it, or are in a range |
//! | `GET /v1/events?module=ID` | what happens, as server-sent events |
//! | `GET /v1/audit?from=1&limit=100&wait=30s`, `GET /v1/audit/verify` | the audit log; whether it is whole |
//! | `GET /v1/versions` | every registered version with what it offers |
//! | `GET /healthz`, `/readyz`, `/metrics` | no token needed |
//!
//! Each answer names its request in `X-Request-Id`, and the audit log has that id with what the request did.
//! An operation runs to its end whether or not somebody waits for it. Reads of a module carry an `ETag`, its revision;
//! writes take `If-Match`, and of two writes with the same one the second gets 412. The tag stands for what a decision is
//! made on, not for every byte of the answer, so nothing here is cached. Errors are `application/problem+json` with the
//! members of a [`CommandError`] in them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};

use super::{CommandError, Commands};
use crate::engine::Order;
use crate::monitor::Metrics;

mod access;
mod backup;
mod changes;
mod choosing;
mod identity;
mod operations;
mod permissions;
mod problem;
mod read;
mod reads;
mod records;
mod relations;
mod revisions;
mod steering;
mod streams;

#[cfg(test)]
mod tests;

pub use operations::OperationView;

use identity::RequestIds;
use operations::Operations;
use problem::Problem;
use revisions::Revisions;

/// Uploads that are held in memory at once; who comes after them waits.
const UPLOADS: usize = 4;

/// Pieces of code that run at once; who comes after them waits.
const EVALUATIONS: usize = 2;

/// The admin API before it is a router.
pub struct Admin {
    commands: Commands,
    token: String,
    obstacle: Box<dyn Fn() -> Option<String> + Send + Sync>,
    metrics: Metrics,
    any_host: bool,
    stopped: watch::Receiver<bool>,
}

/// What the handlers share.
struct Shared {
    admin: Admin,
    ids: RequestIds,
    operations: Operations,
    revisions: Revisions,
    uploads: Semaphore,
    evaluations: Arc<Semaphore>,
}

type App = State<Arc<Shared>>;

impl Shared {
    /// Waits until the runtime stops.
    async fn stopping(&self) {
        let mut stopped = self.admin.stopped.clone();
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            // nobody says when
            std::future::pending::<()>().await;
        }
    }
}

impl Admin {
    /// The API over these commands for whoever has `token`. `obstacle` says for `/readyz` why the runtime is not ready, and
    /// must not block.
    #[must_use]
    pub fn new(
        commands: Commands,
        token: impl Into<String>,
        obstacle: impl Fn() -> Option<String> + Send + Sync + 'static,
        metrics: Metrics,
    ) -> Self {
        let stopped = watch::channel(false).1;
        Self { commands, token: token.into(), obstacle: Box::new(obstacle), metrics, any_host: false, stopped }
    }

    /// Says where the API will listen. On a loopback address, and without this call, a request must name an IP address or
    /// `localhost` as its host: a web page that had its name resolve to this machine could otherwise read `/metrics`.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        self.any_host = !address.ip().is_loopback();
        self
    }

    /// Says how to know that the runtime stops: streams and waits end then, so that they do not hold it up.
    #[must_use]
    pub fn until(mut self, stopped: watch::Receiver<bool>) -> Self {
        self.stopped = stopped;
        self
    }

    /// The router. Operations are spawned on the tokio runtime that serves it.
    pub fn into_router(self) -> Router {
        let shared = Arc::new(Shared {
            admin: self,
            ids: RequestIds::default(),
            operations: Operations::default(),
            revisions: Revisions::default(),
            uploads: Semaphore::new(UPLOADS),
            evaluations: Arc::new(Semaphore::new(EVALUATIONS)),
        });
        Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/v1/modules", get(reads::list).post(changes::register))
            .route("/v1/modules/{id}", get(reads::show).delete(changes::unregister))
            .route("/v1/usage", get(reads::usage))
            .route("/v1/modules/{id}/usage", get(reads::usage_of))
            .route("/v1/health", get(reads::health))
            .route("/v1/modules/{id}/health", get(reads::health_of))
            .route("/v1/modules/{id}/versions", get(reads::versions))
            .route("/v1/modules/{id}/dependencies", get(relations::dependencies))
            .route("/v1/modules/{id}/plan", get(relations::plan))
            .route("/v1/modules/{id}/why", get(relations::why))
            .route("/v1/modules/{id}/conflicts", get(relations::conflicts))
            .route("/v1/modules/{id}/validation", get(relations::validation))
            .route("/v1/modules/{id}/compatibility", get(relations::compatibility))
            .route("/v1/modules/{id}/versions/{version}", get(reads::show).delete(changes::unregister))
            .route("/v1/modules/{id}/activate", post(changes::activate))
            .route("/v1/modules/{id}/deactivate", post(changes::deactivate))
            .route("/v1/modules/{id}/rollback", post(changes::rollback))
            .route("/v1/modules/{id}/confirm", post(changes::confirm))
            .route("/v1/modules/{id}/pause", post(|parts, body: Body| steering::plain(Order::Pause, parts, body)))
            .route("/v1/modules/{id}/resume", post(|parts, body: Body| steering::plain(Order::Resume, parts, body)))
            .route("/v1/modules/{id}/promote", post(steering::promote))
            .route("/v1/modules/{id}/abort", post(|parts, body: Body| steering::plain(Order::Abort, parts, body)))
            .route("/v1/modules/{id}/eval", post(changes::evaluate))
            .route("/v1/modules/{id}/history", get(records::history))
            .route("/v1/modules/{id}/permissions", get(permissions::show).post(permissions::decide))
            .route("/v1/update", post(changes::update))
            .route("/v1/operations", get(records::operations))
            .route("/v1/operations/{id}", get(reads::operation))
            .route("/v1/capabilities", get(choosing::all))
            .route("/v1/capabilities/{id}", get(choosing::one).put(choosing::choose))
            .route("/v1/find", get(reads::find))
            .route("/v1/events", get(streams::events))
            .route("/v1/audit", get(records::audit))
            .route("/v1/audit/verify", get(records::verify).post(records::verify))
            .route("/v1/backup", get(backup::backup))
            .route("/v1/versions", get(reads::all))
            .fallback(unknown_path)
            .method_not_allowed_fallback(unknown_method)
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), access::guard))
            .layer(middleware::from_fn_with_state(Arc::clone(&shared), identity::identified))
            .layer(middleware::from_fn(uncached))
            .with_state(shared)
    }
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(shared): App) -> (StatusCode, String) {
    match (shared.admin.obstacle)() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(obstacle) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {obstacle}\n")),
    }
}

async fn metrics(State(shared): App) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.admin.metrics.render())
}

async fn unknown_path() -> Problem {
    Problem::of("not-found", "the admin API has no such path", "see GET /v1/modules, or the manual's page on HTTP")
}

async fn unknown_method() -> Problem {
    Problem::of("method-not-allowed", "this path does not take this method", "the `Allow` header names those it takes")
}

async fn uncached(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
