//! Lines that nobody types: a pipe or a file.

use std::io::BufRead;

use super::line::{self, Ran};
use crate::admin::CommandError;
use crate::admin::cli::{Exit, Globals, Output};

/// Runs the lines in order; those after a failure too, unless `stop`. `output` is that of the line with this number.
pub(super) fn run(lines: impl BufRead, stop: bool, globals: &Globals, output: impl Fn(usize) -> Output) -> Exit {
    let mut first = Exit::Done;
    for (number, line) in (1..).zip(lines.lines()) {
        let ran = match line {
            Ok(line) => line::run(&line, globals, output(number), std::future::pending()),
            Err(cause) => {
                output(number).error(&CommandError::new("input", format!("standard input: reading failed: {cause}")));
                return if first == Exit::Done { Exit::Failed } else { first };
            }
        };
        match ran {
            Ran::Nothing | Ran::Ended(Exit::Done) => {}
            Ran::Ended(exit) => {
                first = if first == Exit::Done { exit } else { first };
                if stop {
                    return first;
                }
            }
            Ran::Left => return first,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// How the lines end where no runtime is, and what they print to standard output and to standard error.
    fn ran(lines: &[u8], stop: bool) -> (Exit, String, String) {
        let dir = tempfile::TempDir::new().unwrap();
        let globals = Globals { data: dir.path().to_owned(), json: false };
        let (out, err) = (Paper::default(), Paper::default());
        let exit = run(lines, stop, &globals, |line| Output::to(out.clone(), err.clone(), false).at_line(line));
        let text = |paper: Paper| String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        (exit, text(out), text(err))
    }

    #[test]
    fn comments_and_empty_lines_are_nothing() {
        assert_eq!(ran(b"\n  \n# don't\n  # list\n", false), (Exit::Done, String::new(), String::new()));
    }

    #[test]
    fn the_first_failure_counts_and_the_other_lines_run_all_the_same() {
        let (exit, out, err) = ran(b"dance\nlist\nhelp check\n", false);
        assert!(exit == Exit::Usage && out.contains("Check a folder"), "{out}");
        assert!(err.starts_with("line 1: error: unrecognized subcommand 'dance'"), "{err}");
        assert!(err.contains("line 2: error: no runtime serves"), "{err}");
        assert_eq!(ran(b"list\ndance\n", false).0, Exit::Unreachable);
    }

    #[test]
    fn asked_to_stop_it_ends_at_the_first_failure_and_exit_ends_it_anyway() {
        let (exit, _, err) = ran(b"help\nlist\ndance\n", true);
        assert!(exit == Exit::Unreachable && !err.contains("dance"), "{err}");
        assert_eq!(ran(b"exit\ndance\n", false), (Exit::Done, String::new(), String::new()));
        assert_eq!(ran(b"quit\ndance\n", false).0, Exit::Done);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error() {
        let (exit, _, err) = ran(b"check 'a\n", false);
        assert!(exit == Exit::Usage && err.starts_with("line 1: error: a quote is not closed"), "{err}");
        let (exit, _, err) = ran(b"\xff\xfe\nlist\n", false);
        assert!(exit == Exit::Failed && err.starts_with("line 1: error: standard input"), "{err}");
    }
}
