//! The lines in which a manifest asks for something, for messages about it later.

use std::collections::BTreeMap;

use super::Place;

/// What is remembered of the text: what the module asks for, and what quotas follow from.
const KEPT: [&str; 2] = ["permissions", "runtime.limits"];

/// Where a manifest asks for what. It is no part of what the manifest says: any two are equal.
#[derive(Debug, Clone, Default)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(super) fn of(places: &BTreeMap<String, Place>) -> Self {
        let kept = places.iter().filter(|(path, _)| KEPT.iter().any(|start| path.starts_with(start)));
        Self(kept.map(|(path, place)| (path.clone(), place.line)).collect())
    }

    /// The line of the value at `path`, such as `permissions.system.network[0]`; nothing for one that is not in the text.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<usize> {
        self.0.get(path).copied()
    }
}

impl PartialEq for Lines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;

    #[test]
    fn what_is_asked_for_has_its_line_and_manifests_that_say_the_same_are_equal() {
        let text = "id: a\nversion: 1.0.0\npermissions:\n  system:\n    environment:\n      - HOME\n      - USER\n";
        let one = load("m.yaml", text.as_bytes()).expect("it is right").manifest;
        let line = |path: &str| one.lines.line(path);
        assert_eq!(line("permissions.system.environment[1]"), Some(7));
        assert_eq!(line("permissions.system.environment[2]"), None);
        assert_eq!(line("id"), None);
        let other = load("m.yaml", format!("# moved\n{text}").as_bytes()).expect("it is right").manifest;
        assert_eq!(other.lines.line("permissions.system.environment[1]"), Some(8));
        assert_eq!(one, other);
    }
}
