//! The gateway as axum calls it, before modules that run.

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Method, Request};
use tower::ServiceExt;

use super::Gateway;
use super::stream::Patience;
use crate::integration::tests::{VERIFIER, World};

mod mirror;
mod pages;
mod people;
mod problems;
mod routing;
mod shift;
mod stream;
mod swap;

/// Notes: an api for each thing that a test looks at.
pub(super) const NOTES: (&str, &str) = (
    r#"
id: notes
version: 1.0.0
apis:
  - { path: /api/notes, methods: [GET, POST] }
  - { path: "/api/notes/{id}", methods: [GET] }
  - { path: "/api/files/{*rest}", methods: [GET] }
  - { path: /api/hidden, methods: [GET, POST], permissions: [notes.view] }
  - { path: /api/admin, methods: [GET], permissions: [notes.view, notes.admin] }
  - { path: /api/whoami, methods: [GET, POST] }
routes:
  - { path: /notes, component: Notes, title: Notes, permissions: [notes.view] }
  - { path: /admin, component: Admin, permissions: [notes.admin] }
config: { permissions: [notes.view, notes.admin] }
"#,
    r#"
local function echo(req)
  return { body = { method = req.method, path = req.path, params = req.params, query = req.query, length = #req.body, id = req.id } }
end
local function whoami(req) return { body = if req.principal then req.principal.subject else "nobody" } end
return {
  apis = {
    ["GET /api/notes"] = echo,
    ["POST /api/notes"] = echo,
    ["GET /api/notes/{id}"] = echo,
    ["GET /api/files/{*rest}"] = echo,
    ["GET /api/hidden"] = whoami,
    ["POST /api/hidden"] = whoami,
    ["GET /api/admin"] = whoami,
    ["GET /api/whoami"] = whoami,
    ["POST /api/whoami"] = whoami,
  },
  pages = {
    Notes = function() return { headers = { ["x-page-title"] = "My <notes>" }, body = "<h1>Notes</h1>" } end,
    Admin = function() return { body = "<h1>Admin</h1>" } end,
  },
}
"#,
);

/// A gateway in front of a world.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) app: axum::Router,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(super) fn module(&self) -> Option<&str> {
        self.header("x-replug-module")
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The `type` of a problem, whose other fields are checked to belong to it.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["requestId"].as_str(), self.header("x-request-id"));
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        problem["type"].as_str().expect("a type").to_owned()
    }
}

impl Site {
    /// With [`NOTES`] and a verifier.
    pub(super) async fn new() -> Self {
        let site = Self::empty().await;
        site.world.serve(VERIFIER.0, VERIFIER.1).await;
        site.world.serve(NOTES.0, NOTES.1).await;
        site
    }

    pub(super) async fn empty() -> Self {
        Self::patient(Patience::default()).await
    }

    /// Waits no longer than this for the clients of streams.
    pub(super) async fn patient(patience: Patience) -> Self {
        let world = World::new().await;
        let gateway = Gateway::new(std::sync::Arc::clone(&world.router), world.auth.clone());
        let app = Gateway { patience, ..gateway }.into_router();
        Self { world, app }
    }

    pub(super) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "site.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_empty() { Body::empty() } else { Body::from(body.to_owned()) };
        self.request(request.body(body).expect("a request")).await
    }

    pub(super) async fn request(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.expect("it never fails");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("text");
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(super) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, "").await
    }
}
