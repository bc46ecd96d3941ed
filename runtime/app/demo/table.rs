//! What was promised and what was seen.

use std::time::Duration;

use comfy_table::{ContentArrangement, presets};
use serde::Serialize;

/// How wide the table is where no terminal says how wide it may be.
const WIDTH: u16 = 118;

/// The promises of a run, in the order in which they were looked at.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    chapter: &'static str,
    promised: String,
    seen: String,
    kept: bool,
}

/// The table as one JSON document.
#[derive(Serialize)]
struct Document<'a> {
    outcome: &'static str,
    seconds: f64,
    promises: &'a [Row],
}

impl Table {
    /// Adds what a chapter promised and what was seen of it.
    pub(super) fn add(
        &mut self,
        chapter: &'static str,
        promised: impl Into<String>,
        seen: impl Into<String>,
        kept: bool,
    ) {
        self.rows.push(Row { chapter, promised: promised.into(), seen: seen.into(), kept });
    }

    /// Whether every promise was kept. A table without any promises nothing and keeps nothing.
    pub(super) fn is_kept(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.kept)
    }

    /// In one line, what became of a chapter.
    pub(super) fn summary(&self, chapter: &str) -> String {
        let all: Vec<_> = self.rows.iter().filter(|row| row.chapter == chapter).collect();
        let broken: Vec<_> = all.iter().filter(|row| !row.kept).map(|row| row.promised.as_str()).collect();
        match broken.as_slice() {
            [] => format!("{} promises kept", all.len()),
            broken => format!("{} of {} promises BROKEN: {}", broken.len(), all.len(), broken.join("; ")),
        }
    }

    /// As one JSON document: `{"outcome": "kept" | "broken", "seconds", "promises": [{"chapter", "promised", "seen",
    /// "kept"}]}`.
    pub(super) fn json(&self, took: Duration) -> String {
        let outcome = if self.is_kept() { "kept" } else { "broken" };
        let document = Document { outcome, seconds: took.as_secs_f64(), promises: &self.rows };
        serde_json::to_string(&document).unwrap_or_default() + "\n"
    }

    /// For people.
    pub(super) fn text(&self, took: Duration) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        if !table.is_tty() {
            table.set_width(WIDTH);
        }
        table.set_header(["", "promised", "seen in this run", "kept"]);
        let mut last = "";
        for row in &self.rows {
            let chapter = if row.chapter == last { "" } else { row.chapter };
            last = row.chapter;
            table.add_row([chapter, &row.promised, &row.seen, if row.kept { "yes" } else { "NO" }]);
        }
        let (all, broken) = (self.rows.len(), self.rows.iter().filter(|row| !row.kept).count());
        let end = match broken {
            0 => format!("{all} promises kept"),
            _ => format!("{broken} of {all} promises BROKEN"),
        };
        format!("\n{}\n\n{end}, in {:.1} s\n", table.trim_fmt(), took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(kept: &[bool]) -> Table {
        let mut table = Table::default();
        for (index, kept) in kept.iter().enumerate() {
            table.add("one", format!("promise {index}"), format!("seen {index}"), *kept);
        }
        table
    }

    #[test]
    fn one_broken_promise_breaks_the_run() {
        assert!(table(&[true, true]).is_kept());
        assert!(!table(&[true, false, true]).is_kept());
    }

    #[test]
    fn a_run_that_looked_at_nothing_keeps_nothing() {
        assert!(!Table::default().is_kept());
    }

    #[test]
    fn both_forms_tell_the_same_rows() {
        let (table, took) = (table(&[true, false]), Duration::from_millis(1500));
        let document: Value = serde_json::from_str(&table.json(took)).unwrap();
        assert_eq!((&document["outcome"], &document["seconds"]), (&json!("broken"), &json!(1.5)));
        let second = json!({ "chapter": "one", "promised": "promise 1", "seen": "seen 1", "kept": false });
        assert_eq!(document["promises"][1], second);
        let text = table.text(took);
        assert!(text.contains("promise 1") && text.contains("seen 1") && text.contains("NO"), "{text}");
        assert!(text.contains("1 of 2 promises BROKEN, in 1.5 s"), "{text}");
    }

    #[test]
    fn the_summary_of_a_chapter_names_what_it_broke() {
        let mut table = table(&[true, false]);
        table.add("two", "another", "it", true);
        assert_eq!(table.summary("one"), "1 of 2 promises BROKEN: promise 1");
        assert_eq!(table.summary("two"), "1 promises kept");
    }
}
