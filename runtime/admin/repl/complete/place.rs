//! Where a line stands in the definitions.

use clap::{Arg, ArgAction, Command};

/// The definitions that apply after some words.
pub(in crate::admin::repl) struct Place<'a> {
    command: &'a Command,
    /// The arguments of the verb that stand already.
    pub(super) given: Vec<&'a str>,
    used: Vec<&'a str>,
    /// The option whose value comes next.
    pub(in crate::admin::repl) awaiting: Option<&'a Arg>,
    /// Whether no options follow.
    pub(super) ended: bool,
    /// Whether a word was no verb, so that nothing is known of what follows.
    lost: bool,
}

impl<'a> Place<'a> {
    /// The place after these words.
    pub(in crate::admin::repl) fn after(definition: &'a Command, words: &'a [String]) -> Self {
        let (given, used) = (Vec::new(), Vec::new());
        let mut place = Self { command: definition, given, used, awaiting: None, ended: false, lost: false };
        let words = words.strip_prefix(&["replug".to_owned()]).unwrap_or(words);
        words.iter().for_each(|word| place.pass(word));
        place
    }

    fn pass(&mut self, word: &'a str) {
        if self.awaiting.take().is_some() {
            return;
        }
        if word == "--" && !self.ended {
            self.ended = true;
        } else if word.len() > 1 && word.starts_with('-') && !self.ended {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let Some(arg) = self.option(name) else { return };
            self.used.push(arg.get_id().as_str());
            self.awaiting = Some(arg).filter(|arg| value.is_none() && arg.get_action().takes_values());
        } else if self.command.has_subcommands() {
            match self.command.find_subcommand(word) {
                Some(command) => self.command = command,
                None => self.lost = true,
            }
        } else {
            self.given.push(word);
        }
    }

    /// The verb's name.
    pub(super) fn verb(&self) -> &'a str {
        self.command.get_name()
    }

    /// The option of this name, with its dashes.
    pub(super) fn option(&self, name: &str) -> Option<&'a Arg> {
        let mut options = self.command.get_arguments();
        if let Some(long) = name.strip_prefix("--") {
            return options.find(|arg| arg.get_long() == Some(long));
        }
        let short = name.strip_prefix('-')?.chars().next_back()?;
        options.find(|arg| arg.get_short() == Some(short))
    }

    /// The verbs that can stand here.
    pub(super) fn verbs(&self) -> impl Iterator<Item = &'a Command> + use<'a> {
        let lost = self.lost;
        self.command.get_subcommands().filter(move |verb| !lost && !verb.is_hide_set())
    }

    /// The arguments without a name that have not been given, the next one first.
    pub(super) fn positionals(&self) -> impl Iterator<Item = &'a Arg> {
        let given = self.given.len();
        let many = |arg: &Arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        self.command
            .get_positionals()
            .enumerate()
            .filter(move |(at, arg)| *at >= given || many(arg))
            .map(|(_, arg)| arg)
    }

    /// The argument without a name that comes next.
    pub(super) fn positional(&self) -> Option<&'a Arg> {
        self.positionals().next().filter(|_| !self.lost)
    }

    /// The options that can still be given.
    pub(super) fn options(&self) -> impl Iterator<Item = &'a Arg> {
        let again = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
        let named = self.command.get_arguments().filter(|arg| arg.get_long().is_some() && !arg.is_hide_set());
        let free = move |arg: &&Arg| again(arg) || !self.used.contains(&arg.get_id().as_str());
        named.filter(free).filter(|_| !self.lost && !self.ended)
    }
}

/// What help calls the value of an argument.
pub(super) fn value_name(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if arg.get_action().takes_values() && !values.is_empty() { values.join("|") } else { placeholder(arg) }
}

/// The name that stands for the value in the definition, such as `ID[@V]`.
pub(super) fn placeholder(arg: &Arg) -> String {
    let name = arg.get_value_names().and_then(<[_]>::first);
    name.map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string)
}
