//! Where the command line writes. Nothing else in the program prints.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::Exit;
use crate::admin::CommandError;
use crate::admin::commands::Finding;

/// Standard output and standard error, or what stands for them in a test.
pub(in crate::admin) struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    json: bool,
    /// Whether a person watches standard error.
    watched: bool,
    /// Whether standard output is a screen that can be cleared.
    is_screen: bool,
    /// Where the command stands among the lines of a script.
    line: Option<usize>,
    /// The first failure to write the result, apart from a reader that had seen enough.
    failed: Option<io::Error>,
    /// Whether the reader of the result is gone.
    closed: bool,
}

impl Output {
    /// Those of the process.
    pub(in crate::admin) fn standard(json: bool) -> Self {
        let watched = io::stderr().is_terminal() && !json;
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            json,
            watched,
            is_screen: io::stdout().is_terminal() && !json,
            line: None,
            failed: None,
            closed: false,
        }
    }

    #[cfg(test)]
    pub(in crate::admin) fn to(out: impl Write + 'static, err: impl Write + 'static, json: bool) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            json,
            watched: false,
            is_screen: false,
            line: None,
            failed: None,
            closed: false,
        }
    }

    /// Whether the result is to be JSON.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Makes everything from here JSON.
    pub(in crate::admin) const fn json(&mut self) {
        self.json = true;
    }

    /// The same for the command in this line of a script, from 1; its errors say so.
    pub(in crate::admin) const fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// Whether progress is worth showing.
    pub(super) const fn is_watched(&self) -> bool {
        self.watched
    }

    /// Writes the result: a JSON document, or text for people.
    pub(super) fn result(&mut self, text: &str) {
        let text = if self.json { text.to_owned() } else { visible(text) };
        self.write(&text);
    }

    /// Makes room for what takes the place of what was written: clears a screen, and elsewhere leaves it.
    pub(super) fn clear(&mut self) {
        if self.is_screen {
            let _ = write!(self.out, "\x1b[H\x1b[2J");
        }
    }

    /// Writes help, which comes from this program alone.
    pub(super) fn help(&mut self, text: &str) {
        self.write(text.trim_end());
    }

    fn write(&mut self, text: &str) {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        match written {
            // `replug list | head -1`: what was not read was not wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(error) => self.failed = self.failed.take().or(Some(error)),
            Ok(()) => {}
        }
    }

    /// Whether nothing more can be shown: for what would go on for ever.
    pub(super) const fn is_over(&self) -> bool {
        self.closed || self.failed.is_some()
    }

    /// Writes a line for people to standard error; nobody is told when that fails, there is no other place.
    pub(in crate::admin) fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", visible(text));
    }

    /// Writes what is wrong with arguments.
    pub(super) fn usage(&mut self, text: &str) {
        self.note(&format!("{}{text}", self.place()));
    }

    fn place(&self) -> String {
        self.line.map_or(String::new(), |line| format!("line {line}: "))
    }

    /// Writes an error.
    pub(in crate::admin) fn error(&mut self, error: &CommandError) {
        #[derive(Serialize)]
        struct Document<'a> {
            error: &'a CommandError,
            #[serde(skip_serializing_if = "Option::is_none")]
            line: Option<usize>,
        }
        if self.json {
            let text = serde_json::to_string(&Document { error, line: self.line }).unwrap_or_default();
            let _ = writeln!(self.err, "{text}");
            return;
        }
        self.logged(&error.log);
        if error.faults.is_empty() {
            let place = error
                .location
                .as_ref()
                .map_or("error".to_owned(), |at| format!("{}:{}:{}", at.file, at.line, at.column));
            self.note(&with_help(&format!("{}{place}: {}", self.place(), error.message), error.help.as_deref()));
        } else {
            let place = self.place();
            error.faults.iter().for_each(|fault| self.finding(&place, "", fault));
        }
    }

    /// Writes what a script logged, which with JSON stands in the document.
    pub(super) fn logged(&mut self, lines: &[String]) {
        if !self.json {
            lines.iter().for_each(|line| self.note(&format!("log: {line}")));
        }
    }

    /// Writes warnings, which with JSON stand in the result.
    pub(super) fn warnings(&mut self, warnings: &[Finding]) {
        if !self.json {
            let place = self.place();
            warnings.iter().for_each(|warning| self.finding(&place, "warning: ", warning));
        }
    }

    fn finding(&mut self, place: &str, what: &str, finding: &Finding) {
        let at = &finding.location;
        let line = format!("{place}{}:{}:{}: {what}{}", at.file, at.line, at.column, finding.message);
        self.note(&with_help(&line, finding.help.as_deref()));
    }

    /// How to exit after `exit`: a result that could not be written is a failure.
    pub(in crate::admin) fn end(&mut self, exit: Exit) -> Exit {
        match self.failed.take() {
            None => exit,
            Some(cause) => {
                let error = CommandError::new("output", format!("standard output: writing failed: {cause}"));
                self.error(&error.with_help("the command itself was carried out"));
                if exit == Exit::Done { Exit::Failed } else { exit }
            }
        }
    }
}

fn with_help(line: &str, help: Option<&str>) -> String {
    help.map_or_else(|| line.to_owned(), |help| format!("{line}\n  help: {help}"))
}

/// The text without what would steer a terminal: names and messages come from modules.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}
