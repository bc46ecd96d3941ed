//! The paths that modules claim, found by what they may clash with. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::Manifest;

/// Which modules claim a path in some version, by the part of it that two clashing patterns share.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    modules: BTreeMap<(String, String), BTreeSet<String>>,
}

impl Claims {
    /// The index of these manifests.
    pub(super) fn of<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Self {
        let mut index = Self::default();
        for manifest in manifests {
            for (method, path) in claims(manifest) {
                let key = (method.to_owned(), shared(path).to_owned());
                index.modules.entry(key).or_default().insert(manifest.id.clone());
            }
        }
        index
    }

    /// The other modules of which a version may claim a path that clashes with one of this manifest's.
    #[must_use]
    pub(super) fn near(&self, manifest: &Manifest) -> BTreeSet<&str> {
        let keys = claims(manifest).map(|(method, path)| (method.to_owned(), shared(path).to_owned()));
        let near = keys.filter_map(|key| self.modules.get(&key)).flatten().map(String::as_str);
        near.filter(|id| *id != manifest.id).collect()
    }
}

/// Methods and paths: pages are `GET`.
pub(super) fn claims(manifest: &Manifest) -> impl Iterator<Item = (&str, &str)> {
    let pages = manifest.routes.iter().map(|route| ("GET", route.path.as_str()));
    let apis =
        manifest.apis.iter().flat_map(|api| api.methods.iter().map(|method| (method.as_str(), api.path.as_str())));
    pages.chain(apis)
}

/// Whether one router refuses both patterns: they are the same, or name a parameter in the same place differently.
pub(super) fn clash(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    if shared(a) != shared(b) {
        return false;
    }
    let mut router = matchit::Router::new();
    router.insert(a, ()).is_ok() && matches!(router.insert(b, ()), Err(matchit::InsertError::Conflict { .. }))
}

/// What patterns that clash have in common: all of a path without parameters, otherwise the folder of the first one.
fn shared(path: &str) -> &str {
    let Some(parameter) = path.find('{') else { return path };
    &path[..path[..parameter].rfind('/').map_or(0, |slash| slash + 1)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn patterns_clash_only_where_they_share_what_is_before_the_first_parameter(
            a in "(/(a|ab|\\{x\\}|\\{y\\}|a\\{x\\}|\\{x\\}b|\\{\\*r\\})){1,3}",
            b in "(/(a|ab|\\{x\\}|\\{y\\}|a\\{x\\}|\\{x\\}b|\\{\\*r\\})){1,3}",
        ) {
            let mut router = matchit::Router::new();
            let clashes = router.insert(&*a, ()).is_ok()
                && matches!(router.insert(&*b, ()), Err(matchit::InsertError::Conflict { .. }));
            prop_assert_eq!(clash(&a, &b), clashes || a == b, "{} {}", a, b);
        }
    }

    #[test]
    fn modules_that_may_claim_the_same_path_are_near() {
        let manifest = |id: &str, path: &str| {
            let text = format!("id: {id}\nname: N\nversion: 1.0.0\napis:\n  - {{ path: '{path}', methods: [GET] }}\n");
            crate::manifest::load("m", text.as_bytes()).unwrap().manifest
        };
        let all = [("a", "/api/x"), ("b", "/api/{id}"), ("c", "/api/{key}/more"), ("d", "/api/x/y")];
        let manifests = all.map(|(id, path)| manifest(id, path));
        let index = Claims::of(&manifests);
        let near = |id, path| index.near(&manifest(id, path)).into_iter().collect::<Vec<_>>();
        assert_eq!(near("z", "/api/x"), ["a"]);
        assert_eq!(near("b", "/api/{other}"), ["c"]);
        assert!(near("z", "/other").is_empty());
    }
}
