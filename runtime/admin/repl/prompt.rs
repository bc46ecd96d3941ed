//! The REPL at a terminal: a prompt that says whom it speaks to, with completion, hints and a history.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use reedline::{
    Color, ColumnarMenu, Completer, CompletionResult, Emacs, Hinter, History, KeyCode, KeyModifiers, MenuBuilder,
    Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, Span, Suggestion,
    default_emacs_keybindings,
};

use super::complete::{self, Candidate, Completion, Offer};
use super::history::{self, Lines};
use super::line::{self, Ran};
use super::link::Link;
use super::{failed, paths};
use crate::admin::cli::{Exit, Globals, Output};
use crate::admin::{CommandError, RuntimeFile};

/// The name by which the key finds the menu.
const MENU: &str = "completion";

/// Asks for lines until the user ends it.
pub(super) fn run(globals: &Globals) -> Exit {
    let link = match Link::open(&globals.data) {
        Ok(link) => link,
        Err(error) => return failed(&error, globals),
    };
    let mut output = Output::standard(globals.json);
    link.survive_interrupts();
    let history = Lines::open(&globals.data).unwrap_or_else(|error| {
        output.note(&format!("the history ends with this session: {error}"));
        Lines::forgetful()
    });
    output.note("`help` says what there is, Tab completes, Ctrl-D ends");
    let link = Arc::new(Mutex::new(link));
    let mut editor = editor(history, &link);
    loop {
        let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(change) = link.look() {
            output.note(&change.text());
        }
        let prompt = Connection(link.reached());
        drop(link);
        let line = match editor.read_line(&prompt) {
            Ok(Signal::Success(line)) => line,
            Ok(Signal::CtrlD) => return Exit::Done,
            Ok(_) => continue,
            Err(cause) => {
                return failed(&CommandError::new("input", format!("the terminal cannot be read: {cause}")), globals);
            }
        };
        if let Err(cause) = editor.sync_history() {
            output.note(&format!("the history cannot be written: {cause}"));
        }
        if line::run(&line, globals, Output::standard(globals.json), interrupted()) == Ran::Left {
            return Exit::Done;
        }
    }
}

/// Ends when the user interrupts.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

fn editor(history: Lines, link: &Arc<Mutex<Link>>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let menu = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(menu));
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let menu = ColumnarMenu::default().with_name(MENU).with_marker("> ");
    Reedline::create()
        .with_history(Box::new(history))
        .with_completer(Box::new(Completing { link: Arc::clone(link), definition: line::definition() }))
        .with_hinter(Box::new(Hints { definition: line::definition(), rest: String::new() }))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_ansi_colors(std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
}

/// The runtime that answered last.
struct Connection(Option<RuntimeFile>);

impl Prompt for Connection {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        self.0.map_or(Cow::Borrowed("replug (not connected)"), |file| Cow::Owned(format!("replug {}", file.admin)))
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("| ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}

struct Completing {
    link: Arc<Mutex<Link>>,
    definition: clap::Command,
}

impl Completer for Completing {
    fn complete(&mut self, line: &str, cursor: usize) -> CompletionResult {
        let before = line.get(..cursor).unwrap_or(line);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let Completion { start, offer } = complete::complete(&self.definition, link.inventory(), before);
        let candidates = match offer {
            Offer::Words(candidates) => candidates,
            Offer::Paths { typed, files } => paths::starting_with(&typed, files),
        };
        let suggestion = |Candidate { value, about, ends }| Suggestion {
            value,
            description: about,
            span: Span::new(start, before.len()),
            append_whitespace: ends,
            ..Suggestion::default()
        };
        CompletionResult::fresh(candidates.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

/// The rest of a line that was typed before, or what comes next.
struct Hints {
    definition: clap::Command,
    /// What the right arrow adds.
    rest: String,
}

impl Hinter for Hints {
    fn handle(&mut self, line: &str, cursor: usize, history: &dyn History, colours: bool, _: &str) -> String {
        self.rest.clear();
        // without colours a hint would look like what was typed
        if cursor < line.len() || line.is_empty() || !colours {
            return String::new();
        }
        if let Some(rest) = history::continued(history, line).as_deref().and_then(|whole| whole.strip_prefix(line)) {
            rest.clone_into(&mut self.rest);
        }
        let hint = if self.rest.is_empty() { complete::next(&self.definition, line) } else { self.rest.clone() };
        if hint.is_empty() { hint } else { Color::DarkGray.paint(hint).to_string() }
    }

    fn complete_hint(&self) -> String {
        self.rest.clone()
    }

    fn next_hint_token(&self) -> String {
        let word = self.rest.trim_start();
        let end = word.find(' ').map_or(self.rest.len(), |end| self.rest.len() - word.len() + end);
        self.rest[..end].to_owned()
    }
}
