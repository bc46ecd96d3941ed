//! Which paths a module may read and write, compiled from `permissions.system.filesystem`.

use super::FilePath;
use crate::manifest::{Access, FilesystemPermission};

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

    /// Whether `access` to a path is granted.
    #[must_use]
    pub fn cover(&self, path: &FilePath, access: Access) -> bool {
        let covers = |grant: &FilePath| path.parts().starts_with(grant.parts());
        self.grants.iter().any(|(grant, granted)| *granted >= access && covers(grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(grants: &[(&str, Access)], path: &str, access: Access) -> bool {
        let grants = grants.iter().map(|(path, access)| FilesystemPermission { path: (*path).into(), access: *access });
        FileRules::new(&grants.collect::<Vec<_>>()).cover(&FilePath::parse(path).unwrap(), access)
    }

    #[test]
    fn a_grant_covers_what_is_below_it_and_nothing_beside_it() {
        let may = |path, access| may(&[("data", Access::Write), ("in/a", Access::Read)], path, access);
        for path in ["data", "data/a", "data/a/b"] {
            assert!(may(path, Access::Read) && may(path, Access::Write), "{path}");
        }
        assert!(may("in/a/b", Access::Read) && !may("in/a/b", Access::Write));
        for path in ["database", "dat", "in", "in/ab", ".", "Data"] {
            assert!(!may(path, Access::Read), "{path}");
        }
    }

    #[test]
    fn a_dot_grants_the_whole_folder() {
        assert!(may(&[(".", Access::Write)], "a/b", Access::Write));
    }
}
