//! The tutorials of the book, run as they stand: their files are written, their commands run in their order, and what the
//! pages show of answers must be what comes. `…` in a shown answer stands for anything.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to be ready, and to serve what was saved.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fenced block: its info string and its text.
struct Block {
    info: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => open = Some(Block { info: info.to_owned(), text: String::new() }),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Whether `shown`, in which `…` stands for anything, is in `text`.
fn has(text: &str, shown: &str) -> bool {
    let mut rest = text;
    shown.trim_end().split('…').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The folder in which a page is followed, and the server that it starts.
struct Place {
    dir: TempDir,
    server: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Place {
    fn shell(&self, line: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_replug")).parent().expect("it lies in a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).current_dir(self.dir.path());
        command.env("PATH", format!("{}:{path}", binary.display())).stdin(Stdio::null());
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where the gateway really listens.
    fn gateway(&self) -> Option<String> {
        let text = fs::read_to_string(self.dir.path().join(".replug/runtime.json")).ok()?;
        let runtime: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(runtime["gateway"].as_str()?.to_owned())
    }

    /// Starts what the page leaves in the foreground, on free ports.
    fn serve(&mut self, line: &str) {
        let log = fs::File::create(self.dir.path().join("log")).expect("a file can be made");
        let line = format!("exec {line} --listen 127.0.0.1:0 --admin 127.0.0.1:0");
        let mut command = self.shell(&line);
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.server = Some(command.spawn().expect("it starts"));
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("Ctrl-C stops it") {
            assert!(Instant::now() < deadline, "{line}: {}", self.log());
            pause();
        }
    }

    /// Runs a line, which must give what the page shows, and fail only where the page shows that.
    fn run(&self, line: &str, shown: Option<&str>) {
        let there = self.gateway().unwrap_or_default();
        let real = line.replace("127.0.0.1:8080", &there).replace("curl ", "curl -sS ");
        let ran = self.shell(&real).output().expect("a shell runs");
        let out = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        let holds = shown.is_none_or(|shown| has(&out, shown));
        let fails = shown.is_some_and(|shown| shown.contains("FAIL"));
        let wanted = shown.unwrap_or("success");
        assert!(holds && ran.status.success() != fails, "{line}\ngave\n{out}\nnot\n{wanted}\n{}", self.log());
    }

    /// Waits until the server's terminal shows this after what it had shown.
    fn shows(&self, shown: &str, before: usize) {
        let deadline = Instant::now() + PATIENCE;
        while !has(self.log().get(before..).unwrap_or_default(), shown) {
            assert!(Instant::now() < deadline, "{shown}\nis not in\n{}", self.log());
            pause();
        }
    }
}

/// Between two looks at what another process writes into a file.
#[expect(clippy::disallowed_methods, reason = "nothing tells when the file grows; the looks have a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn follow(page: &str) {
    let mut place = Place { dir: TempDir::new().expect("a folder"), server: None };
    let blocks = blocks(page);
    let is_shown = |block: &Block| matches!(block.info.as_str(), "text" | "json");
    assert!(blocks.iter().filter(|block| block.info == "sh").count() > 5, "the page has commands");
    for (index, block) in blocks.iter().enumerate() {
        let next = blocks.get(index + 1).filter(|next| is_shown(next)).map(|next| next.text.as_str());
        if let Some((_, file)) = block.info.split_once("file=") {
            let before = place.log().len();
            fs::write(place.dir.path().join(file), &block.text).expect("a file can be written");
            if let Some(shown) = next {
                place.shows(shown, before);
            }
        } else if block.info == "sh" {
            let lines: Vec<&str> = block.text.lines().collect();
            for (number, line) in lines.iter().enumerate() {
                match line.starts_with("replug serve") {
                    true => place.serve(line),
                    false => place.run(line, next.filter(|_| number + 1 == lines.len())),
                }
            }
        } else {
            assert!(is_shown(block), "a block of {} is neither a command nor an answer", block.info);
        }
    }
}

#[test]
fn the_tutorial_in_lua_comes_out_as_it_says() {
    follow(include_str!("../../book/src/tutorial-lua.md"));
}

#[test]
fn the_tutorial_in_rhai_comes_out_as_it_says() {
    follow(include_str!("../../book/src/tutorial-rhai.md"));
}

#[test]
fn what_a_page_shows_is_looked_for_with_its_gaps() {
    assert!(has("a (12 ms)\nb", "a (… ms)\n") && has("x", "") && has("one two", "one…two"));
    assert!(!has("a (12 s)", "a (… ms)") && !has("two one", "one…two"));
}
