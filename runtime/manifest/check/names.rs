//! Readers of names and paths, each with its own alphabet.

use super::super::parse::Scalar;
use super::Checker;
use super::fields::Item;

/// The longest id, name of a permission, key or component, in characters.
const MAX_NAME: usize = 128;

/// The longest path of a file, in bytes.
const MAX_PATH: usize = 255;

impl Checker<'_, '_> {
    /// A name that `allowed` admits; `what` describes it and `help` its alphabet.
    pub(super) fn word(
        &mut self,
        item: &Item<'_>,
        what: &str,
        help: &str,
        allowed: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.string(item, what)?;
        if text.len() <= MAX_NAME && allowed(text) {
            return Some(text.to_owned());
        }
        self.expected_with(item, what, Some(help.to_owned()));
        None
    }

    /// The id of a module, capability or category.
    pub(super) fn id(&mut self, item: &Item<'_>) -> Option<String> {
        let help = "lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters";
        self.word(item, "an id such as analytics-advanced", help, is_id)
    }

    /// The name of a permission of people.
    pub(super) fn permission(&mut self, item: &Item<'_>) -> Option<String> {
        let help = "lower-case letters, digits and dashes, in parts joined by dots, at most 128 characters";
        self.word(item, "the name of a permission such as reports.view", help, is_id)
    }

    /// A name that a script can use as it stands: of a cleanup, a method, an environment variable.
    pub(super) fn identifier(&mut self, item: &Item<'_>) -> Option<String> {
        let help = "letters, digits and underscores, not beginning with a digit";
        self.word(item, "a name", help, |text| is_identifier(text, ""))
    }

    /// A key of a configuration.
    pub(super) fn key(&mut self, item: &Item<'_>) -> Option<String> {
        self.word(item, "the name of a setting", KEY_HELP, is_key)
    }

    /// The id of a component.
    pub(super) fn component_id(&mut self, item: &Item<'_>) -> Option<String> {
        let help = "letters, digits, `_`, `-` and `.`, beginning with a letter";
        self.word(item, "the name of a component such as ReportsList", help, is_component)
    }

    /// A file of the module, relative to its folder.
    pub(super) fn file(&mut self, item: &Item<'_>) -> Option<String> {
        self.inside(item, "the path of a file of the module", "name a file inside the module's folder")
    }

    /// A file or folder of the module's data, relative to its data folder; `.` is all of it.
    pub(super) fn data_path(&mut self, item: &Item<'_>) -> Option<String> {
        if let Some(Scalar::Str(".")) = item.node.scalar() {
            return Some(".".to_owned());
        }
        self.inside(item, "a path in the module's data", "name a file or folder inside the module's data folder")
    }

    fn inside(&mut self, item: &Item<'_>, what: &str, help: &str) -> Option<String> {
        let text = self.string(item, what)?;
        match leaves_folder(text) {
            None => Some(text.to_owned()),
            Some(why) => {
                let help = format!("{help}, with `/` between folders");
                self.expected_with(item, &format!("{what} ({why})"), Some(help));
                None
            }
        }
    }

    /// A host: a name, an address, or `*.` and a name.
    pub(super) fn host(&mut self, item: &Item<'_>) -> Option<String> {
        let help = "a name in lower case, an address, or `*.` before a name; no scheme, port or path";
        self.word(item, "a host such as api.example.org", help, is_host)
    }
}

/// What a key of a configuration is made of.
pub(super) const KEY_HELP: &str = "letters, digits, `_`, `-` and `.`, beginning with a letter or underscore";

/// `[a-z0-9-]+(\.[a-z0-9-]+)*`
pub(in crate::manifest) fn is_id(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// `[A-Za-z_][A-Za-z0-9_]*`, with the characters of `more` allowed after the first.
pub(super) fn is_identifier(text: &str, more: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(c))
}

/// Whether `text` can be a setting's key.
pub(in crate::manifest) fn is_key(text: &str) -> bool {
    text.len() <= MAX_NAME && is_identifier(text, "-.")
}

/// Whether `text` can be a component's id.
pub(in crate::manifest) fn is_component(text: &str) -> bool {
    is_identifier(text, "-.") && !text.starts_with('_')
}

/// Whether `text` can be the name of an environment variable.
pub(in crate::manifest) fn is_variable(text: &str) -> bool {
    text.len() <= MAX_NAME && is_identifier(text, "")
}

/// `capability.method`
pub(super) fn is_service(text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(capability, method)| is_id(capability) && is_identifier(method, ""))
}

/// Whether `text` can be a host.
pub(in crate::manifest) fn is_host(text: &str) -> bool {
    if text.len() > MAX_NAME {
        return false;
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    !name.is_empty() && name.split('.').all(label)
}

/// Why `path` is not a relative path that stays inside a folder on every system; `None` when it is.
pub(in crate::manifest) fn leaves_folder(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH {
        return Some("it is longer than 255 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.contains('\\') {
        return Some("it has a backslash");
    }
    if path.contains(':') {
        return Some("it has a colon, as drives have");
    }
    if path.chars().any(char::is_control) {
        return Some("it has a control character");
    }
    path.split('/').find_map(|part| match part {
        "" => Some("it has an empty part"),
        "." => Some("it has a part `.`"),
        ".." => Some("`..` leaves the folder"),
        _ if part.ends_with([' ', '.']) => Some("a part ends with a space or dot"),
        _ => None,
    })
}
