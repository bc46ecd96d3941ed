//! Which paths a module may read and write, compiled from `permissions.system.filesystem`.

use super::FilePath;
use crate::manifest::{Access, FilesystemPermission};
use crate::sandbox::permissions::{End, Names};

/// What a module may do with its files. Grants add up: a path may be written where any grant that covers it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRules {
    grants: Names<Access>,
}

impl FileRules {
    /// The rules of these permissions; a path that is none, which a checked manifest does not have, grants nothing.
    #[must_use]
    pub fn new(permissions: &[FilesystemPermission]) -> Self {
        let grants = permissions.iter().filter_map(|one| Some((FilePath::parse(&one.path).ok()?, one.access)));
        let grants = grants.map(|(path, access)| (path.as_str().to_owned(), access));
        let more = |known: &mut Access, more: Access| *known = more.max(*known);
        Self { grants: Names::new(grants, End::First, more) }
    }

    /// Whether `access` to a path is granted.
    #[must_use]
    pub fn cover(&self, path: &FilePath, access: Access) -> bool {
        self.grants.along(path.as_str(), |granted| *granted >= access)
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
        assert!(may(&[(".", Access::Read)], ".", Access::Read));
    }

    #[test]
    fn grants_of_one_path_and_of_paths_above_it_add_up() {
        let grants = [("a/b", Access::Read), ("a", Access::Read), ("a/b", Access::Write), ("a/b", Access::Read)];
        assert!(may(&grants, "a/b/c", Access::Write) && may(&grants, "a/c", Access::Read));
        assert!(!may(&grants, "a/c", Access::Write) && !may(&grants, "b", Access::Read));
        assert!(may(&[("a", Access::Write), ("a/b", Access::Read)], "a/b/c", Access::Write));
    }
}
