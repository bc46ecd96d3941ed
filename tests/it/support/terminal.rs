//! The binary at a terminal: what a person types, and the screen that they see.

use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// How long the screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A screen on which nothing scrolls away.
const SIZE: PtySize = PtySize { rows: 300, cols: 130, pixel_width: 0, pixel_height: 0 };

/// A process at a terminal of its own; ended when it is dropped.
pub(crate) struct Terminal {
    shown: Arc<Shown>,
    writer: Arc<Mutex<Box<dyn Write + Send>>>,
    child: Box<dyn Child + Send + Sync>,
    /// Kept open: the process is told to hang up otherwise.
    _master: Box<dyn MasterPty + Send>,
}

struct Shown {
    screen: Mutex<Screen>,
    changed: Condvar,
}

struct Screen {
    parser: vt100::Parser<Questions>,
    ended: bool,
}

/// What the process asks of its terminal.
#[derive(Default)]
struct Questions {
    answers: Vec<u8>,
}

impl vt100::Callbacks for Questions {
    fn unhandled_csi(&mut self, screen: &mut vt100::Screen, _: Option<u8>, _: Option<u8>, of: &[&[u16]], c: char) {
        if c == 'n' && of == [[6].as_slice()] {
            let (row, column) = screen.cursor_position();
            self.answers.extend(format!("\x1b[{};{}R", row + 1, column + 1).bytes());
        }
    }
}

impl Terminal {
    /// Starts the binary with these variables besides those of the test.
    pub(crate) fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(SIZE).expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_replug"));
        command.args(args);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).expect("the binary starts");
        let parser = vt100::Parser::new_with_callbacks(SIZE.rows, SIZE.cols, 0, Questions::default());
        let shown = Arc::new(Shown { screen: Mutex::new(Screen { parser, ended: false }), changed: Condvar::new() });
        let reader = pair.master.try_clone_reader().expect("a reader");
        let writer = Arc::new(Mutex::new(pair.master.take_writer().expect("a writer")));
        let terminal = Self { shown: Arc::clone(&shown), writer: Arc::clone(&writer), child, _master: pair.master };
        std::thread::spawn(move || shown.follow(reader, &writer));
        terminal
    }

    /// Types these keys.
    pub(crate) fn press(&self, keys: &str) {
        let mut writer = self.writer.lock().expect("nobody panicked");
        writer.write_all(keys.as_bytes()).and_then(|()| writer.flush()).expect("the terminal takes keys");
    }

    /// The screen once it is as expected; the test fails when it does not become so.
    pub(crate) fn wait(&self, expected: impl Fn(&str) -> bool, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut screen = self.shown.screen.lock().expect("nobody panicked");
        loop {
            let text = screen.parser.screen().contents();
            if expected(&text) {
                return text;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !screen.ended, "{what} did not appear:\n{text}");
            screen = self.shown.changed.wait_timeout(screen, left).expect("nobody panicked").0;
        }
    }

    /// Waits until the line with the cursor ends so.
    pub(crate) fn line_ends(&self, end: &str) {
        self.wait(|text| text.lines().last().is_some_and(|line| line.trim_end().ends_with(end)), end);
    }

    /// Waits until the line with the cursor, and what is hinted behind it, has this.
    pub(crate) fn line_has(&self, part: &str) {
        self.wait(|text| text.lines().last().is_some_and(|line| line.contains(part)), part);
    }

    /// Types a line at an empty prompt; gives what was shown until the next one.
    pub(crate) fn run(&self, line: &str) -> String {
        self.press(line);
        self.enter()
    }

    /// Ends the typed line; gives what is shown until the next prompt.
    pub(crate) fn enter(&self) -> String {
        let before = self.wait(|_| true, "anything");
        let prompts = prompts(&before);
        self.press("\r");
        let after = self.wait(|text| self::prompts(text) > prompts && is_waiting(text), "the next prompt");
        let mut shown: Vec<_> = after.lines().skip_while(|line| !is_prompt(line)).collect();
        shown.pop();
        let from = shown.iter().rposition(|line| is_prompt(line)).map_or(0, |at| at + 1);
        shown[from..].join("\n")
    }

    /// Whether anything on the screen has a colour.
    pub(crate) fn is_coloured(&self) -> bool {
        let screen = self.shown.screen.lock().expect("nobody panicked");
        let screen = screen.parser.screen();
        let cells = (0..SIZE.rows).flat_map(|row| (0..SIZE.cols).map(move |column| (row, column)));
        cells.filter_map(|(row, column)| screen.cell(row, column)).any(|cell| cell.fgcolor() != vt100::Color::Default)
    }

    /// How the process ends; the test fails when it does not.
    pub(crate) fn end(mut self) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        let mut screen = self.shown.screen.lock().expect("nobody panicked");
        while !screen.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it did not end:\n{}", screen.parser.screen().contents());
            screen = self.shown.changed.wait_timeout(screen, left).expect("nobody panicked").0;
        }
        drop(screen);
        self.child.wait().expect("it has ended").exit_code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shown {
    /// Shows what the process writes, and answers what it asks of its terminal.
    fn follow(&self, mut from: Box<dyn Read + Send>, to: &Mutex<Box<dyn Write + Send>>) {
        let mut bytes = [0; 4096];
        // the end of the process is an error on some systems
        while let Some(read) = from.read(&mut bytes).ok().filter(|read| *read > 0) {
            let mut screen = self.screen.lock().expect("nobody panicked");
            screen.parser.process(&bytes[..read]);
            let answers = std::mem::take(&mut screen.parser.callbacks_mut().answers);
            drop(screen);
            self.changed.notify_all();
            if !answers.is_empty() {
                let _ = to.lock().expect("nobody panicked").write_all(&answers);
            }
        }
        self.screen.lock().expect("nobody panicked").ended = true;
        self.changed.notify_all();
    }
}

fn is_prompt(line: &str) -> bool {
    line.starts_with("replug ") && line.contains('>')
}

fn prompts(text: &str) -> usize {
    text.lines().filter(|line| is_prompt(line)).count()
}

/// Whether the last line is an empty prompt.
fn is_waiting(text: &str) -> bool {
    text.lines().last().is_some_and(|line| is_prompt(line) && line.trim_end().ends_with('>'))
}
