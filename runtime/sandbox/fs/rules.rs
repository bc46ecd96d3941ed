//! Which paths a module may read and write, compiled from `permissions.system.filesystem`.

use replug_scripts::{HostError, HostErrorKind};

use super::FilePath;
use crate::manifest::{Access, FilesystemPermission};
use crate::sandbox::permissions::denied;

/// What a module may do with its files. Grants add up: a path may be written where any grant that covers it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRules {
    grants: Vec<(FilePath, Access)>,
}

impl FileRules {
    /// The rules of these permissions; a path that is none, which a checked manifest does not have, grants nothing.
    #[must_use]
    pub fn new(permissions: &[FilesystemPermission]) -> Self {
        let grants = permissions.iter().filter_map(|one| Some((FilePath::parse(&one.path).ok()?, one.access)));
        Self { grants: grants.collect() }
    }

    /// The path of `text`, if `access` to it is granted.
    ///
    /// # Errors
    /// `invalid-argument` for what is no path inside the module's folder, `permission-denied` naming the line of the
    /// manifest that would grant it.
    pub fn check(&self, function: &str, text: &str, access: Access) -> Result<FilePath, HostError> {
        let path = FilePath::parse(text).map_err(|why| {
            let shown: String = text.chars().take(64).collect();
            HostError::new(
                HostErrorKind::InvalidArgument,
                format!("{function}: `{}` is no path: {why}", shown.escape_debug()),
            )
        })?;
        let covers = |grant: &FilePath| path.parts().starts_with(grant.parts());
        if self.grants.iter().any(|(grant, granted)| *granted >= access && covers(grant)) {
            return Ok(path);
        }
        let (what, word) = match access {
            Access::Read => ("read", "read"),
            Access::Write => ("written", "write"),
        };
        let line = format!("permissions: {{ system: {{ filesystem: [{{ path: {text:?}, access: {word} }}] }} }}");
        Err(denied(function, &format!("{text:?} may not be {what} by this module"), &line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(grants: &[(&str, Access)]) -> FileRules {
        let grants = grants.iter().map(|(path, access)| FilesystemPermission { path: (*path).into(), access: *access });
        FileRules::new(&grants.collect::<Vec<_>>())
    }

    #[test]
    fn a_grant_covers_what_is_below_it_and_nothing_beside_it() {
        let rules = rules(&[("data", Access::Write), ("in/a", Access::Read)]);
        let may = |path: &str, access| rules.check("fs.x", path, access).is_ok();
        for path in ["data", "data/a", "data/a/b"] {
            assert!(may(path, Access::Read) && may(path, Access::Write), "{path}");
        }
        assert!(may("in/a/b", Access::Read) && !may("in/a/b", Access::Write));
        for path in ["database", "dat", "in", "in/ab", ".", "Data"] {
            assert!(!may(path, Access::Read), "{path}");
        }
    }

    #[test]
    fn a_denial_names_the_line_that_would_grant_it() {
        let error = rules(&[("data", Access::Read)]).check("fs.write", "data/a", Access::Write).unwrap_err();
        assert_eq!(error.kind, HostErrorKind::PermissionDenied);
        let told = "permission denied: fs.write: \"data/a\" may not be written by this module; `permissions: { system: { \
                    filesystem: [{ path: \"data/a\", access: write }] } }` in module.manifest.yaml would grant it";
        assert_eq!(error.message, told);
    }

    #[test]
    fn a_dot_grants_the_whole_folder() {
        assert!(rules(&[(".", Access::Write)]).check("fs.write", "a/b", Access::Write).is_ok());
    }
}
