//! What `serve` says once everything is started: where it listens, what serves and what does not, what to open and to try.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use replug_scripts::{Handler, Value};
use serde::Serialize;

use super::Runtime;
use super::one_line::escaped;
use crate::engine::SlotView;

/// Pages that only a link of their own leads to.
const SIGN_UP: &str = "SignUp";

/// How many pages and apis are named.
const PAGES: usize = 8;
const APIS: usize = 4;

/// Everything that is said; `serve --json` writes it as one document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Greeting {
    gateway: SocketAddr,
    admin: SocketAddr,
    modules: Vec<SlotView>,
    /// What was wrong with the data, what was not registered or does not start, and why.
    troubles: Vec<String>,
    /// The link for the first user, while nobody has signed up.
    sign_up: Option<String>,
    pages: Vec<String>,
    apis: Vec<Api>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Api {
    url: String,
    /// Whether it needs a token.
    guarded: bool,
}

impl Greeting {
    pub(super) async fn of(runtime: &Runtime, gateway: SocketAddr, admin: SocketAddr) -> Self {
        let routes = runtime.router.snapshot();
        let plain = routes.routes.iter().map(|(_, endpoint)| endpoint).filter(|endpoint| {
            endpoint.method == http::Method::GET
                && !endpoint.pattern.contains('{')
                && !matches!(&endpoint.handler, Handler::Page(component) if **component == *SIGN_UP)
        });
        let (mut pages, mut apis) = (Vec::new(), Vec::new());
        for endpoint in plain {
            let url = format!("http://{gateway}{}", endpoint.pattern);
            if endpoint.is_page() {
                pages.push(url);
            } else {
                apis.push(Api { url, guarded: !endpoint.permissions.is_empty() });
            }
        }
        pages.sort();
        apis.sort_by(|a, b| (a.guarded, &a.url).cmp(&(b.guarded, &b.url)));
        let answer = runtime.call_value("authentication", "enroll", Value::Null).await.ok();
        let path = answer.and_then(|answer| answer.get("path")?.as_str().map(str::to_owned));
        Self {
            gateway,
            admin,
            modules: runtime.engine.slots(),
            troubles: runtime.troubles(),
            sign_up: path.map(|path| format!("http://{gateway}{path}")),
            pages,
            apis,
        }
    }

    /// Writes it to standard output.
    pub(super) fn say(&self, json: bool) {
        let text = match serde_json::to_string(self) {
            Ok(document) if json => document + "\n",
            _ => self.text(),
        };
        let mut out = std::io::stdout().lock();
        // nobody reads it: no reason not to serve
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn text(&self) -> String {
        let mut text =
            format!("\nReplug serves\n  gateway  http://{}\n  admin    http://{}\n", self.gateway, self.admin);
        // writing to a string does not fail
        for slot in &self.modules {
            let _ = writeln!(text, "  {:8} {}@{}", slot.state.name(), slot.id, slot.version);
        }
        if self.modules.is_empty() && self.troubles.is_empty() {
            text += "\nNo module yet. In another terminal: replug register DIR, then replug activate ID\n";
        }
        if !self.troubles.is_empty() {
            text += "\nNot in order\n";
            for trouble in &self.troubles {
                let lines: Vec<_> = trouble.split('\n').map(escaped).collect();
                let _ = writeln!(text, "  {}", lines.join("\n    "));
            }
        }
        if let Some(link) = &self.sign_up {
            let _ = writeln!(text, "\nSign up as the first user (the link works once):\n  {link}");
        }
        if !self.pages.is_empty() {
            text += "\nOpen\n";
            for page in self.pages.iter().take(PAGES) {
                let _ = writeln!(text, "  {page}");
            }
        }
        if !self.apis.is_empty() {
            text += "\nTry\n";
            for api in self.apis.iter().take(APIS) {
                let token = if api.guarded { " -H \"authorization: Bearer $TOKEN\"" } else { "" };
                let _ = writeln!(text, "  curl -i {}{token}", api.url);
            }
        }
        text + "\nCtrl-C stops it.\n\n"
    }
}
