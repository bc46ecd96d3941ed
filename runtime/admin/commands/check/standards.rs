//! The specification's development standards, as far as files show them: none of them keeps a module from running.

use super::Finding;
use crate::kit::suites;
use crate::manifest::Loaded;
use crate::registry::Bundle;

/// Adds a warning for each that the module does not keep.
pub(super) fn check(loaded: &Loaded, bundle: &Bundle, warnings: &mut Vec<Finding>) {
    let manifest = &loaded.manifest;
    let mut warn = |kept: bool, key: &str, message: &str, help: &str| {
        if !kept {
            warnings.push(loaded.fault(key, message, Some(help.to_owned())).into());
        }
    };
    warn(
        !manifest.description.is_empty(),
        "description",
        "the module has no description",
        "say in one sentence what it does",
    );
    warn(
        !manifest.capabilities.is_empty(),
        "capabilities",
        "the module declares no capabilities",
        "name what it offers: `capabilities: [{ id: … }]`; others find it by that",
    );
    warn(
        !manifest.lifecycle.activation.health_checks.is_empty(),
        "lifecycle.activation",
        "the module has no health check",
        "add `healthChecks: [{ endpoint: /health }]` under `lifecycle.activation`, and a `health` handler",
    );
    warn(
        suites::files(bundle.files().keys()).next().is_some(),
        "id",
        "the module has no tests",
        "put a file of tests into its folder `tests`; `replug test` runs it",
    );
    let has_readme = bundle.files().keys().any(|path| path.eq_ignore_ascii_case("readme.md"));
    warn(has_readme, "id", "the module has no README", "say in a README.md what it is for and how to use it");
}
