//! What a change of a module is decided on, as one short text: equal as long as a decision made on it still fits.

use super::Commands;

impl Commands {
    /// The revision of what is known of the module: its versions, what serves, what is on its way, and what was
    /// decided about its permissions. It leaves out what
    /// changes by itself without making a decision stale, such as health and the end of a confirm window.
    #[must_use]
    pub fn revision(&self, id: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        let snapshot = self.registry.snapshot();
        for (version, definition) in snapshot.modules.get(id).into_iter().flatten() {
            add(&version.to_string());
            // The generation tells a version that served before from the same one started again.
            add(&self.engine.state(id, version).generation.to_string());
            add(&definition.digest);
        }
        for problem in snapshot.problems.iter().filter(|problem| problem.id == id) {
            add(&problem.version.to_string());
        }
        add(&self.engine.permissions().revision(id).to_string());
        if let Some(slot) = self.slot(id) {
            add(&slot.version);
            add(if super::serves(slot.state) { "serves" } else { "idle" });
            add(slot.candidate.as_ref().map_or("", |candidate| &candidate.version));
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }
}
