//! Lines that nobody types: a pipe or a file.

use std::io::{BufRead, Read};

use super::line::{self, Ran};
use crate::admin::CommandError;
use crate::admin::cli::{Exit, Globals, Output};

/// More than any command needs: a pipe without a line break must not fill the memory.
const LONGEST: u64 = 1 << 20;

/// Runs the lines in order; those after a failure too, unless `stop`. `output` is that of the line with this number.
pub(super) fn run(mut lines: impl BufRead, stop: bool, globals: &Globals, output: impl Fn(usize) -> Output) -> Exit {
    let mut first = Exit::Done;
    for number in 1.. {
        let ran = match next(&mut lines) {
            Ok(None) => break,
            Ok(Some(Ok(line))) => line::run(&line, globals, output(number), std::future::pending()),
            Ok(Some(Err(fault))) => {
                output(number).error(&CommandError::new("usage", fault));
                Ran::Ended(Exit::Usage)
            }
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

/// The next line, or what is wrong with it; nothing at the end.
fn next(lines: &mut impl BufRead) -> std::io::Result<Option<Result<String, &'static str>>> {
    let mut line = Vec::new();
    if lines.take(LONGEST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST {
        lines.skip_until(b'\n')?;
        return Ok(Some(Err("the line is longer than 1 MiB")));
    }
    let text = String::from_utf8(line).map(|line| line.trim_end_matches(['\r', '\n']).to_owned());
    Ok(Some(text.map_err(|_| "the line is not UTF-8")))
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
    fn in_a_session_of_json_wrong_usage_is_json_too() {
        let dir = tempfile::TempDir::new().unwrap();
        let globals = Globals { data: dir.path().to_owned(), json: true };
        let (out, err) = (Paper::default(), Paper::default());
        let exit =
            run(&b"dance\n"[..], false, &globals, |line| Output::to(out.clone(), err.clone(), true).at_line(line));
        let err = String::from_utf8(err.0.lock().unwrap().clone()).unwrap();
        assert_eq!(exit, Exit::Usage);
        let document: serde_json::Value = serde_json::from_str(&err).unwrap();
        assert_eq!((&document["error"]["kind"], &document["line"]), (&"usage".into(), &1.into()), "{err}");
    }

    #[test]
    fn asked_to_stop_it_ends_at_the_first_failure_and_exit_ends_it_anyway() {
        let (exit, _, err) = ran(b"help\nlist\ndance\n", true);
        assert!(exit == Exit::Unreachable && !err.contains("dance"), "{err}");
        assert_eq!(ran(b"exit\ndance\n", false), (Exit::Done, String::new(), String::new()));
        assert_eq!(ran(b"quit\ndance\n", false).0, Exit::Done);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_of_that_line_alone() {
        let endless = vec![b'x'; 3 << 20];
        for (line, fault) in [(&b"\xff\xfe"[..], "not UTF-8"), (&endless, "longer than 1 MiB")] {
            let (exit, _, err) = ran(&[line, b"\nlist\r\ndance"].concat(), false);
            let told: Vec<_> = err.lines().filter(|line| line.starts_with("line ")).collect();
            assert!(exit == Exit::Usage && told.len() == 3, "{err}");
            assert!(told[0].starts_with("line 1: error: the line is") && told[0].ends_with(fault), "{err}");
            assert!(told[1].starts_with("line 2: ") && told[2].starts_with("line 3: "), "{err}");
        }
    }

    #[test]
    fn where_reading_fails_the_script_ends() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("gone"))
            }
        }
        let dir = tempfile::TempDir::new().unwrap();
        let globals = Globals { data: dir.path().to_owned(), json: false };
        let err = Paper::default();
        let output = |line| Output::to(Paper::default(), err.clone(), false).at_line(line);
        assert_eq!(run(std::io::BufReader::new(Broken), false, &globals, output), Exit::Failed);
        let err = String::from_utf8(err.0.lock().unwrap().clone()).unwrap();
        assert!(err.starts_with("line 1: error: standard input: reading failed: gone"), "{err}");
    }
}
