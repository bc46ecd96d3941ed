//! The table of verbs: what every front end offers, with the words to offer it.

/// A verb of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// Its arguments, in short.
    pub args: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// A line that works.
    pub example: &'static str,
}

const fn verb(name: &'static str, args: &'static str, about: &'static str, example: &'static str) -> Verb {
    Verb { name, args, about, example }
}

/// All verbs, in the order in which help shows them.
pub const VERBS: [Verb; 37] = [
    verb(
        "serve",
        "[DIR…]",
        "Start the runtime and the gateway; seed it from the modules found under DIR",
        "replug serve modules --listen 127.0.0.1:8080",
    ),
    verb(
        "demo",
        "",
        "Show in under a minute what Replug promises, and measure in that run whether it keeps it",
        "replug demo",
    ),
    verb(
        "register",
        "PATH",
        "Upload a module's folder and register it under its manifest's id and version",
        "replug register ./greeter",
    ),
    verb("unregister", "ID[@V]", "Remove a version, or all versions, of a module", "replug unregister greeter@1.0.0"),
    verb(
        "update",
        "PATH",
        "Register a folder, and activate it if a version of the module serves",
        "replug update ./greeter",
    ),
    verb(
        "activate",
        "ID[@V] [--set ID[@V]…]",
        "Start a version (the newest without @V) and put it in the place of the one that serves",
        "replug activate greeter@1.1.0 --strategy instant",
    ),
    verb("deactivate", "ID", "Take a module out of service and stop it", "replug deactivate greeter"),
    verb("rollback", "ID", "Return to the version on standby, or to another one", "replug rollback greeter --to 1.0.0"),
    verb("confirm", "ID", "Make the version that serves provisionally permanent at once", "replug confirm greeter"),
    verb("pause", "ID", "Keep a traffic shift at its weight; it is judged as ever", "replug pause greeter"),
    verb("resume", "ID", "Let a traffic shift that was paused go on", "replug resume greeter"),
    verb(
        "promote",
        "ID [--full]",
        "Give the version whose traffic is shifted its next weight at once, or everything",
        "replug promote greeter --full",
    ),
    verb("abort", "ID", "Give a traffic shift up: what served before takes everything", "replug abort greeter"),
    verb("list", "", "Show what serves: one row for each slot", "replug list --json"),
    verb("health", "[ID]", "Show what the health checks said last, of one module or of all", "replug health greeter"),
    verb(
        "top",
        "[ID]",
        "Show what modules use of memory, processor, network and disk, beside what they may",
        "replug top --watch",
    ),
    verb("show", "ID[@V]", "Show a manifest with all defaults, and the version's state", "replug show greeter"),
    verb(
        "versions",
        "ID",
        "Show the registered versions of a module",
        "replug versions greeter --compatible-with 1.0.0",
    ),
    verb(
        "deps",
        "ID[@V]",
        "Show the newest versions that go together with one, in the order to activate them, or why none do",
        "replug deps greeter@1.1.0",
    ),
    verb(
        "plan",
        "ID[@V] [--set ID[@V]…]",
        "Show what an activation would do, step by step, and what it would touch, without doing it",
        "replug plan greeter@1.1.0",
    ),
    verb("why", "ID[@V]", "Tell why a module runs, does not run, or runs in the version it does", "replug why greeter"),
    verb(
        "capabilities",
        "[CAPABILITY]",
        "Show who offers a capability, who needs it, and whose is called",
        "replug capabilities mail",
    ),
    verb(
        "choose",
        "CAPABILITY ID | --any",
        "Choose which of several modules is called for a capability",
        "replug choose mail post",
    ),
    verb("conflicts", "ID[@V]", "Show what keeps a version from running beside others", "replug conflicts greeter"),
    verb(
        "validate",
        "ID[@V] [--from W]",
        "Tell whether a version can run beside what runs or, with --from, whether it can take over from that version",
        "replug validate greeter@1.1.0 --from 1.0.0",
    ),
    verb(
        "find",
        "--capability C | --category C | --compatible ID@RANGE…",
        "Find the registered modules that offer a capability, or one of a category, or that are in a range",
        "replug find --capability authentication",
    ),
    verb("history", "ID", "Show what was done to a module, the newest first", "replug history greeter --limit 5"),
    verb(
        "watch",
        "[ID]",
        "Show what happens as it happens; of a module, until the activation in flight ends; of an operation, until it ends",
        "replug watch greeter",
    ),
    verb(
        "permissions",
        "show | grant | narrow | deny ID[@V] [PERMISSION…]",
        "Show what a module asks for, and decide what is given of it",
        "replug permissions grant mailer",
    ),
    verb(
        "audit",
        "[--follow | verify]",
        "Show who did what and when, or check that nobody changed that log",
        "replug audit --follow",
    ),
    verb(
        "backup",
        "FILE",
        "Write everything that the runtime is brought back with to one file, while it serves",
        "replug backup monday.replug",
    ),
    verb(
        "restore",
        "FILE",
        "Put what a backup holds into a data directory in which no runtime runs",
        "replug restore monday.replug --data restored",
    ),
    verb(
        "new",
        "--lua | --rhai NAME",
        "Make the folder of a new module that runs, with tests and what editors need",
        "replug new --lua greeter",
    ),
    verb(
        "check",
        "DIR",
        "Check a folder's manifest, files and scripts without a server; show every fault at once",
        "replug check ./greeter",
    ),
    verb(
        "test",
        "DIR",
        "Run a module's own tests without a server: its handlers in the sandbox, with a clock, an HTTP and services that are played",
        "replug test ./greeter --filter health",
    ),
    verb(
        "eval",
        "ID CODE",
        "Run a piece of code beside the files of the version that serves, in a VM of its own, and show its value",
        "replug eval greeter 'kv.list(\"greeted:\")'",
    ),
    verb(
        "repl",
        "",
        "Run commands line by line, with completion, hints and a history; over a pipe, run its lines in order",
        "replug repl",
    ),
];

/// The row of `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_there_once_and_its_example_uses_it() {
        for (index, verb) in VERBS.iter().enumerate() {
            assert_eq!(VERBS.iter().position(|other| other.name == verb.name), Some(index));
            assert!(verb.example.starts_with(&format!("replug {}", verb.name)), "{}", verb.example);
            assert!(!verb.about.is_empty() && !verb.about.ends_with('.'), "{}", verb.about);
        }
        assert_eq!(find("activate").map(|verb| verb.args), Some("ID[@V] [--set ID[@V]…]"));
        assert_eq!(find("dance"), None);
    }
}
