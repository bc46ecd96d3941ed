//! Routes, apis and services: does the script hold what the manifest promises, and what does it serve.

use std::sync::Arc;

use http::Method;
use replug_scripts::Handler;

use crate::actors::router::Endpoint;
use crate::engine::ports::{Binding, PortError, Subject};
use crate::integration::contract;
use crate::manifest::Manifest;

/// Checks a script's exports against its manifest and says which endpoints it serves. It acquires nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ApiBinding;

#[async_trait::async_trait]
impl Binding for ApiBinding {
    fn name(&self) -> &'static str {
        "api"
    }

    async fn prepare(&self, _: &Subject) -> Result<(), PortError> {
        Ok(())
    }

    async fn commit(&self, subject: &Subject) -> Result<Vec<Endpoint>, PortError> {
        let report = contract::compare(&subject.manifest, &subject.exports);
        for name in report.unused() {
            tracing::warn!(instance = %subject.key, "the script has {name}, which its manifest does not name");
        }
        let entry = subject.manifest.entry(&subject.files.keys().cloned().collect());
        match report.fault(&subject.manifest, entry.as_deref().unwrap_or("the entry script")) {
            Some(fault) => Err(PortError::new(fault)),
            None => endpoints(&subject.manifest, |handler| subject.exports.has(handler)),
        }
    }

    async fn undo(&self, _: &Subject) -> Result<(), PortError> {
        Ok(())
    }
}

/// What the manifest names, a page for each route and an endpoint for each method of an api. A route whose component
/// is drawn by the browser has no endpoint unless the script draws a page for it too.
fn endpoints(manifest: &Manifest, has: impl Fn(&Handler) -> bool) -> Result<Vec<Endpoint>, PortError> {
    let mut endpoints = Vec::new();
    for route in &manifest.routes {
        let handler = Handler::Page(route.component.as_str().into());
        if has(&handler) {
            endpoints.push(Endpoint {
                pattern: route.path.as_str().into(),
                method: Method::GET,
                handler,
                permissions: route.permissions.clone().into(),
            });
        }
    }
    for api in &manifest.apis {
        let (pattern, permissions): (Arc<str>, Arc<[String]>) =
            (api.path.as_str().into(), api.permissions.clone().into());
        for name in &api.methods {
            let unknown = |_| PortError::new(format!("{}: `{name}` is no HTTP method", manifest.label()));
            endpoints.push(Endpoint {
                pattern: Arc::clone(&pattern),
                method: Method::from_bytes(name.as_bytes()).map_err(unknown)?,
                handler: contract::api(name, &api.path),
                permissions: Arc::clone(&permissions),
            });
        }
    }
    Ok(endpoints)
}
