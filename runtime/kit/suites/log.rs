//! What a test and its module logged, as much of it as is kept.

use std::fmt::Write as _;

/// Lines of one test.
pub(super) const LINES: usize = 200;

/// Bytes of a line.
pub(super) const LINE: usize = 2 << 10;

/// The log of one test.
#[derive(Default)]
pub(super) struct Log {
    lines: Vec<String>,
    /// Lines beyond those.
    further: usize,
}

impl Log {
    pub(super) fn push(&mut self, line: String) {
        if self.lines.len() < LINES {
            self.lines.push(cut(line));
        } else {
            self.further += 1;
        }
    }

    /// The lines that are kept; the last one says how many are not.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if self.further > 0 {
            self.lines.push(format!("… ({} further lines; {LINES} are kept of a test)", self.further));
        }
        self.lines
    }
}

/// As much of a line as is kept, with what that leaves out.
pub(super) fn cut(mut line: String) -> String {
    let end = line.floor_char_boundary(LINE);
    if end < line.len() {
        let rest = line.len() - end;
        line.truncate(end);
        let _ = write!(line, "… ({rest} bytes more)");
        // the room of what was cut goes with it
        line.shrink_to_fit();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("a".repeat(LINE)), "a".repeat(LINE));
        // the boundary is inside the last of these that would fit
        let long = format!("a{}", "é".repeat(LINE));
        let kept = cut(long);
        assert_eq!(kept, format!("a{}… ({} bytes more)", "é".repeat(LINE / 2 - 1), LINE + 2));
        assert!(kept.capacity() < 2 * LINE, "{}", kept.capacity());
    }

    #[test]
    fn lines_beyond_the_bound_are_counted() {
        let mut log = Log::default();
        for n in 0..LINES {
            log.push(n.to_string());
        }
        log.push("more".repeat(LINE));
        log.push("and more".into());
        let lines = log.into_lines();
        assert_eq!((lines.len(), lines[LINES - 1].as_str()), (LINES + 1, "199"));
        assert_eq!(lines[LINES], "… (2 further lines; 200 are kept of a test)");
    }
}
