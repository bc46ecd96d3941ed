//! The modules that the demo shows. They are in the binary, so that it runs in any folder.

use std::fs;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::DemoError;
use crate::manifest::FILE_NAME;

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/modules");

/// The shipped modules that serve from the start.
const FIRST: [&str; 3] = ["database", "authentication", "analytics-advanced"];

/// What comes later, and the modules that only the demo has.
static LATER: [(&str, Dir<'static>); 5] = [
    ("analytics-advanced-1.3.0", include_dir!("$CARGO_MANIFEST_DIR/tests/fixtures/analytics-advanced-1.3.0")),
    ("analytics-advanced-1.4.0", include_dir!("$CARGO_MANIFEST_DIR/tests/fixtures/analytics-advanced-1.4.0")),
    ("hog-1.0.0", include_dir!("$CARGO_MANIFEST_DIR/tests/fixtures/hog-1.0.0")),
    ("visits-1.0.0", include_dir!("$CARGO_MANIFEST_DIR/tests/fixtures/visits-1.0.0")),
    ("visits-2.0.0", include_dir!("$CARGO_MANIFEST_DIR/tests/fixtures/visits-2.0.0")),
];

/// The modules as folders on disk.
#[derive(Clone, Debug)]
pub(super) struct Modules {
    root: PathBuf,
}

impl Modules {
    /// Writes them below `root`.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn unpack(root: &Path) -> Result<Self, DemoError> {
        let modules = Self { root: root.to_owned() };
        for id in FIRST {
            let dir = SHIPPED.get_dir(id).ok_or_else(|| DemoError::step(id, "the binary was built without it"))?;
            // the paths in it begin with its name
            extract(dir, &modules.first().join(id), &modules.first())?;
        }
        for (name, dir) in &LATER {
            extract(dir, &modules.later(name), &modules.later(name))?;
        }
        Ok(modules)
    }

    /// The folder of those that serve from the start.
    pub(super) fn first(&self) -> PathBuf {
        self.root.join("first")
    }

    /// The folder of one that comes later, such as `visits-1.0.0`.
    pub(super) fn later(&self, name: &str) -> PathBuf {
        self.root.join("later").join(name)
    }

    /// A copy of `visits-2.0.0` that says it is `version`: other content, so another bundle.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn copy_of_visits(&self, version: &str) -> Result<PathBuf, DemoError> {
        let (from, to) = (self.later("visits-2.0.0"), self.later(&format!("visits-{version}")));
        let copy = || {
            fs::create_dir_all(&to)?;
            fs::copy(from.join("main.rhai"), to.join("main.rhai"))?;
            let manifest = fs::read_to_string(from.join(FILE_NAME))?;
            fs::write(to.join(FILE_NAME), manifest.replace("version: 2.0.0", &format!("version: {version}")))
        };
        copy().map_err(|error| DemoError::step(format!("writing {}", to.display()), error))?;
        Ok(to)
    }
}

/// Writes the folder `dir` to `to`; `base` is what the paths in it are relative to.
fn extract(dir: &Dir<'_>, to: &Path, base: &Path) -> Result<(), DemoError> {
    let written = fs::create_dir_all(to).and_then(|()| dir.extract(base));
    written.map_err(|error| DemoError::step(format!("writing {}", to.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Bundle;

    #[test]
    fn every_module_of_the_demo_is_whole_once_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let modules = Modules::unpack(folder.path()).unwrap();
        let copy = modules.copy_of_visits("2.0.7").unwrap();
        assert!(fs::read_to_string(copy.join(FILE_NAME)).unwrap().contains("version: 2.0.7"));
        let later = LATER.iter().map(|(name, _)| modules.later(name));
        let first = FIRST.iter().map(|id| modules.first().join(id));
        for dir in first.chain(later).chain([copy]) {
            Bundle::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        }
        let nested = modules.first().join("analytics-advanced/lib/metrics.lua");
        assert!(nested.is_file(), "{}", nested.display());
    }
}
