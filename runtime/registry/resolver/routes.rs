//! Paths that two modules claim. Two patterns clash when matchit would refuse both in one router.

use super::Obstacle;
use crate::manifest::Manifest;

/// The paths of `manifest` that one of `others` serves already; each is reported once.
pub(super) fn taken(manifest: &Manifest, others: &[&Manifest]) -> Vec<Obstacle> {
    let served: Vec<_> = others.iter().flat_map(|other| claims(other).map(move |claim| (*other, claim))).collect();
    let mut found = Vec::new();
    for (method, path) in claims(manifest) {
        let owner = served.iter().find(|(_, (other_method, other))| *other_method == method && clash(path, other));
        if let Some((owner, (_, owner_path))) = owner {
            found.push(Obstacle::TakenRoute {
                claimant: manifest.label(),
                owner: owner.label(),
                method: method.to_owned(),
                path: path.to_owned(),
                owner_path: (*owner_path).to_owned(),
            });
        }
    }
    found
}

/// Methods and paths: pages are `GET`.
fn claims(manifest: &Manifest) -> impl Iterator<Item = (&str, &str)> {
    let pages = manifest.routes.iter().map(|route| ("GET", route.path.as_str()));
    let apis =
        manifest.apis.iter().flat_map(|api| api.methods.iter().map(|method| (method.as_str(), api.path.as_str())));
    pages.chain(apis)
}

pub(super) fn clash(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    // Patterns that differ before their first parameter go separate ways in the router: no need to build one.
    let fixed = |path: &str| path.find('{').unwrap_or(path.len());
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    if common < fixed(a) && common < fixed(b) {
        return false;
    }
    let mut router = matchit::Router::new();
    router.insert(a, ()).is_ok() && matches!(router.insert(b, ()), Err(matchit::InsertError::Conflict { .. }))
}
