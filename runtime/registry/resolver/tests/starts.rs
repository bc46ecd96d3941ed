//! What starts side by side.

use super::*;

/// Everything that can start now.
fn begun<'a>(starts: &mut Starts<'a>) -> Vec<&'a str> {
    std::iter::from_fn(|| starts.begin()).collect()
}

#[test]
fn a_module_waits_for_what_it_needs_and_for_nothing_else() {
    let modules = snapshot(
        "a 1.0.0\n\nb 1.0.0\ndependencies: [{ id: a }]\n\nc 1.0.0\n\nd 1.0.0\ndependencies: [{ id: c, required: false }]\n\n\
         e 1.0.0\ndependencies: [{ id: b }, { id: c }]",
    );
    let running = running("a@1.0.0 b@1.0.0 c@1.0.0 d@1.0.0 e@1.0.0");
    let mut starts = Starts::of(&running, &modules);
    assert_eq!(begun(&mut starts), ["a", "c"]);
    starts.ended("c");
    assert_eq!(begun(&mut starts), ["d"]);
    starts.ended("a");
    assert_eq!(begun(&mut starts), ["b"]);
    starts.ended("b");
    assert_eq!(begun(&mut starts), ["e"]);
    starts.ended("e");
    assert!(begun(&mut starts).is_empty());
}

#[test]
fn a_circle_does_not_keep_its_modules_from_being_tried() {
    let modules = snapshot(
        "a 1.0.0\ndependencies: [{ id: b }]\n\nb 1.0.0\ndependencies: [{ id: a }]\n\nc 1.0.0\ndependencies: [{ id: d, required: false }]\n\n\
                  d 1.0.0\ndependencies: [{ id: c, required: false }]",
    );
    let running = running("a@1.0.0 b@1.0.0 c@1.0.0 d@1.0.0");
    let mut starts = Starts::of(&running, &modules);
    let mut order = Vec::new();
    while let Some(id) = starts.begin() {
        assert!(starts.begin().is_none(), "the rest waits for {id}");
        starts.ended(id);
        order.push(id);
    }
    assert_eq!(order, ["c", "d", "a", "b"]);
}

#[test]
fn who_needs_a_circle_waits_for_it() {
    let modules = snapshot(
        "a 1.0.0\ndependencies: [{ id: n }]\n\nm 1.0.0\ndependencies: [{ id: n }]\n\nn 1.0.0\ndependencies: [{ id: m }]",
    );
    let running = running("a@1.0.0 m@1.0.0 n@1.0.0");
    assert_eq!(super::super::starts::in_turn(&running, &modules), ["m", "n", "a"]);
    assert_eq!(circle_of("m", &running, &modules).into_keys().collect::<Vec<_>>(), ["n"]);
    assert!(circle_of("a", &running, &modules).is_empty());
}
