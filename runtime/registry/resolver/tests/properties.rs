//! The rules hold in small universes as they do by brute force.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::small::{IDS, Small, VERSIONS, boots, chosen_of, may_run, registered, universe, versions_of};
use super::*;
use crate::registry::claims;
use crate::registry::resolver::circles::circles_beside;

fn placed(running: &Running) -> Placed {
    Placed { running: running.clone(), ..Placed::default() }
}

proptest! {
    #[test]
    fn there_are_no_obstacles_exactly_when_the_plain_rules_hold((all, chosen) in universe(true)) {
        let snapshot = registered(&all);
        let members = chosen_of(&all, &chosen);
        let running = versions_of(&members);
        for small in &all {
            let definition = snapshot.get(IDS[small.id], &VERSIONS[small.version].parse().unwrap()).unwrap();
            let obstacles = obstacles(definition, &snapshot, &running);
            prop_assert_eq!(obstacles.is_empty(), may_run(small, &members), "{:?}", obstacles);
        }
    }

    #[test]
    fn dependents_are_exactly_those_that_get_a_new_obstacle((all, chosen) in universe(true), id in 0..4_usize, after in proptest::option::of(0..3_usize)) {
        let snapshot = registered(&all);
        let running = versions_of(&chosen_of(&all, &chosen));
        let mut then = running.clone();
        then.remove(IDS[id]);
        let after: Option<Version> = after.map(|version| VERSIONS[version].parse().unwrap());
        then.extend(after.clone().map(|version| (IDS[id].to_owned(), version)));
        let found: BTreeSet<_> = dependents(&one_move(IDS[id], after.as_ref()), &snapshot, &running).into_iter().map(|it| it.id).collect();
        let lacks = |other: &str, version: &Version, running: &Running| -> BTreeSet<String> {
            let manifest = &snapshot.get(other, version).unwrap().manifest;
            let modules = dependencies(manifest, &snapshot, running).into_iter().chain(optional(manifest, &snapshot, running));
            let all = modules.chain(requirements(manifest, &snapshot, running));
            all.map(|it| it.matter().1.to_owned()).collect()
        };
        let expected: BTreeSet<_> = running.iter().filter(|(other, _)| *other != IDS[id])
            .filter(|(other, version)| !lacks(other, version, &then).is_subset(&lacks(other, version, &running)))
            .map(|(other, _)| other.clone()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_order_respects_needs_or_there_is_a_circle((all, chosen) in universe(true)) {
        let snapshot = registered(&all);
        let started = chosen_of(&all, &chosen);
        let modules = versions_of(&started);
        let of = |id: &str| *started.iter().find(|it| IDS[it.id] == id).unwrap();
        let order = start_order(&modules, &snapshot);
        prop_assert_eq!(order.is_ok(), boots(&started));
        match order {
            Ok(order) => {
                let ids: BTreeSet<_> = order.iter().cloned().collect();
                prop_assert!(order.len() == modules.len() && ids.iter().eq(modules.keys()));
                for at in 0..order.len() {
                    let first: Vec<_> = order[..=at].iter().map(|id| of(id)).collect();
                    let needed: Vec<_> = started.iter().filter(|other| of(&order[at]).needs_of(other)).collect();
                    // of a capability one provider is enough, of the modules each
                    let modules = |it: &&&&Small| of(&order[at]).needs.get(&it.id).is_some_and(|(_, required)| *required);
                    prop_assert!(needed.iter().filter(modules).all(|it| first.iter().any(|one| one.id == it.id)), "{:?}", order);
                    for (capability, range) in of(&order[at]).open_wants() {
                        let given = |of: &[&Small]| of.iter().any(|it| IDS[it.id] != order[at] && it.gives(capability, range));
                        prop_assert!(!given(&started) || given(&first), "{:?}", order);
                    }
                }
            }
            Err(Cycle { chain }) => {
                prop_assert!(chain.len() > 2 && chain.first() == chain.last());
                prop_assert!(chain.windows(2).all(|pair| of(&pair[0]).needs_of(of(&pair[1]))), "{:?}", chain);
            }
        }
    }

    #[test]
    fn a_circle_is_told_exactly_where_a_change_brings_one_about((all, chosen) in universe(true), change in any::<proptest::sample::Index>()) {
        prop_assume!(!all.is_empty());
        let snapshot = registered(&all);
        let before = chosen_of(&all, &chosen);
        prop_assume!(boots(&before));
        let next = change.get(&all);
        let after: Vec<_> = before.iter().copied().filter(|it| it.id != next.id).chain([next]).collect();
        let moves = one_move(IDS[next.id], Some(&VERSIONS[next.version].parse().unwrap()));
        let circle = circles_beside(&moves, &snapshot, &placed(&versions_of(&before)));
        prop_assert_eq!(circle.is_none(), boots(&after), "{:?}", circle);
        if let Some(Obstacle::Circle { chain, .. }) = circle {
            let of = |id: &str| *after.iter().find(|it| IDS[it.id] == id).unwrap();
            prop_assert!(chain.windows(2).all(|pair| of(&pair[0]).needs_of(of(&pair[1]))), "{:?}", chain);
        }
    }

    #[test]
    fn paths_that_do_not_clash_fit_one_router_in_any_order(paths in proptest::collection::vec("(/(p|q|\\{x\\}|\\{y\\}|p\\{x\\})){1,3}(/\\{\\*r\\})?", 1..6)) {
        let valid = |path: &String| matchit::Router::new().insert(path.as_str(), ()).is_ok();
        let mut kept: Vec<String> = Vec::new();
        for path in paths.into_iter().filter(valid) {
            for other in &kept {
                prop_assert_eq!(claims::clash(&path, other), claims::clash(other, &path), "{} {}", path, other);
            }
            if kept.iter().all(|other| !claims::clash(&path, other)) {
                kept.push(path);
            }
        }
        let mut router = matchit::Router::new();
        for path in &kept {
            prop_assert!(router.insert(path.as_str(), ()).is_ok(), "{} among {:?}", path, kept);
        }
    }
}
