//! What somebody who mistyped an id may have meant.

/// The id that is most like `id`, if one is like it.
pub(super) fn nearest<'a>(id: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let allowed = (id.chars().count() / 3).min(3);
    let far = |name: &&String| strsim::osa_distance(id, name);
    known.filter(|name| far(name) <= allowed).min_by_key(far)
}
