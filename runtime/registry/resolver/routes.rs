//! Paths that two modules claim. Two patterns clash when matchit would refuse both in one router.

use super::Obstacle;
use crate::manifest::Manifest;
use crate::registry::claims::{claims, clash};

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
