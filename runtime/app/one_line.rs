//! An event of the server's log is one line, whatever scripts and clients put into it.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::{RecordFields, VisitOutput as _};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};

/// Writes fields as `tracing_subscriber` does, without what would begin another line or steer a terminal.
#[derive(Clone, Copy, Debug)]
pub struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor(DefaultVisitor::new(writer, true));
        fields.record(&mut visitor);
        visitor.0.finish()
    }
}

struct Visitor<'w>(DefaultVisitor<'w>);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.record_debug(field, &Escaped(value));
    }
}

/// A value whose text has its control characters escaped.
struct Escaped<'a>(&'a dyn fmt::Debug);

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{:?}", self.0)
    }
}

/// Escapes the control characters of what it passes on.
struct Escaping<W>(W);

impl<W: fmt::Write> fmt::Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, control)) = rest.char_indices().find(|(_, c)| c.is_control()) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", control.escape_default())?;
            rest = &rest[at + control.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// `text` with its control characters escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut line = Escaping(String::new());
    // writing to a string does not fail
    let _ = line.write_str(text);
    line.0
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged by `work`.
    fn logged(work: impl FnOnce()) -> String {
        let paper = Paper::default();
        let writer = paper.clone();
        let subscriber = tracing_subscriber::fmt().fmt_fields(OneLine).with_ansi(false).without_time();
        tracing::subscriber::with_default(subscriber.with_writer(move || writer.clone()).finish(), work);
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn no_text_begins_another_line_or_steers_a_terminal() {
        let forged = "x\r\n INFO replug: all is well \u{1b}[31m\u{9b}2J\u{7}";
        let told = logged(|| {
            tracing::warn!(target: "module", error = %forged, trace = forged, cause = ?forged, "{forged}");
        });
        assert!(told.ends_with('\n') && told.lines().count() == 1, "{told}");
        assert!(!told.trim_end_matches('\n').contains(char::is_control), "{told:?}");
        assert_eq!(told.matches("all is well").count(), 4, "{told}");
        assert!(told.starts_with(r" WARN module: x\r\n INFO replug: all is well \u{1b}[31m\u{9b}2J\u{7} "), "{told}");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let told = logged(|| tracing::info!(target: "module", id = "a", error = %"grün \\ \"b\"", n = 7, "{}", "ä→😀"));
        assert_eq!(told, " INFO module: ä→😀 id=\"a\" error=grün \\ \"b\" n=7\n");
        assert_eq!(escaped("a\tb\n"), r"a\tb\n");
    }

    #[test]
    fn the_fields_of_a_span_are_of_the_line_too() {
        let told = logged(|| {
            let span = tracing::info_span!(target: "module", "handling", path = %"/a\n/b");
            span.in_scope(|| tracing::info!(target: "module", "done"));
        });
        assert_eq!(told, " INFO handling{path=/a\\n/b}: module: done\n");
    }
}
