//! Module folders for tests, written as text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A module folder to be written.
#[derive(Clone)]
pub(crate) struct Module {
    id: String,
    version: String,
    apis: Vec<(String, String)>,
    more: String,
    files: Vec<(String, String)>,
}

impl Module {
    pub(crate) fn new(id: &str, version: &str) -> Self {
        Self { id: id.into(), version: version.into(), apis: Vec::new(), more: String::new(), files: Vec::new() }
    }

    /// A module that answers `GET` and `POST /api/ID` with its version and the body it got.
    pub(crate) fn echo(id: &str, version: &str, language: &str) -> Self {
        let path = format!("/api/{id}");
        let module = Self::new(id, version).api(&path, "GET, POST");
        match language {
            "lua" => module.lua(&format!(
                r#"local function reply(req) return {{ body = "{version} " .. req.body }} end
return {{ apis = {{ ["GET {path}"] = reply, ["POST {path}"] = reply }}, health = function() return "healthy" end }}"#
            )),
            _ => module.rhai(&format!(
                r#"fn reply(req) {{ #{{ body: "{version} " + req.body }} }}
#{{ apis: #{{ "GET {path}": Fn("reply"), "POST {path}": Fn("reply") }}, health: || "healthy" }}"#
            )),
        }
    }

    /// Its id, where it asks for permissions.
    pub(crate) fn asks(&self) -> Option<&str> {
        self.more.contains("permissions:").then_some(&self.id)
    }

    /// A module whose `GET /api/ID` runs this Lua body.
    pub(crate) fn handler(id: &str, version: &str, body: &str) -> Self {
        let path = format!("/api/{id}");
        let script = format!("return {{ apis = {{ [\"GET {path}\"] = function(req, ctx)\n{body}\nend }} }}");
        Self::new(id, version).api(&path, "GET").lua(&script)
    }

    pub(crate) fn api(mut self, path: &str, methods: &str) -> Self {
        self.apis.push((path.into(), methods.into()));
        self
    }

    /// Further lines of the manifest.
    pub(crate) fn manifest(mut self, lines: &str) -> Self {
        self.more.push_str(lines.trim_end());
        self.more.push('\n');
        self
    }

    pub(crate) fn needs(self, id: &str, range: &str) -> Self {
        self.manifest(&format!("dependencies:\n  - id: {id}\n    version: \"{range}\"\n"))
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.into(), text.into()));
        self
    }

    pub(crate) fn lua(self, script: &str) -> Self {
        self.file("main.lua", script)
    }

    pub(crate) fn rhai(self, script: &str) -> Self {
        self.file("main.rhai", script)
    }

    /// Writes the folder `root/ID-VERSION`. A shift takes no time unless the manifest says more of its activation.
    pub(crate) fn write(&self, root: &Path) -> PathBuf {
        let dir = root.join(format!("{}-{}", self.id, self.version));
        let mut text = format!("id: {}\nname: {}\nversion: {}\n", self.id, self.id, self.version);
        if !self.apis.is_empty() {
            text.push_str("apis:\n");
            for (path, methods) in &self.apis {
                let _ = write!(text, "  - path: {path}\n    methods: [{methods}]\n");
            }
        }
        text.push_str(&self.more);
        if !self.more.contains("  activation:") {
            let at = text.find("lifecycle:\n").unwrap_or_else(|| {
                text.push_str("lifecycle:\n");
                text.len() - "lifecycle:\n".len()
            });
            text.insert_str(at + "lifecycle:\n".len(), "  activation:\n    trafficShifting: { interval: 20ms }\n");
        }
        let files = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        for (path, text) in files.chain([("module.manifest.yaml", text.as_str())]) {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().expect("has a folder")).expect("a folder can be made");
            std::fs::write(path, text).expect("a file can be written");
        }
        dir
    }
}
