//! Paths as scripts write them.

use super::RESERVED;

/// The longest path, in bytes.
const MAX_PATH: usize = 1024;
/// The longest part of a path, in bytes: file systems take no more.
const MAX_PART: usize = 255;
/// The most parts of a path.
const MAX_PARTS: usize = 32;

/// A path below a module's folder, taken apart; without parts it is the folder itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// The parts with `/` between them.
    text: Box<str>,
    parts: Vec<String>,
}

impl FilePath {
    /// Takes `text` apart: parts with `/` between them, `.` for the folder itself.
    ///
    /// # Errors
    /// Why it is no path inside the folder.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "" => return Err("it is empty; `.` is the folder itself"),
            "." => return Ok(Self { text: Box::default(), parts: Vec::new() }),
            _ if text.len() > MAX_PATH => return Err("it is longer than 1024 bytes"),
            _ if text.starts_with('/') => return Err("it is absolute; paths begin at the module's data folder"),
            _ if text.contains('\\') => return Err("it has a backslash; write `/` between folders"),
            _ if text.contains(':') => return Err("it has a colon, as drives have"),
            _ if text.chars().any(char::is_control) => return Err("it has a control character"),
            _ => {}
        }
        let parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        if parts.len() > MAX_PARTS {
            return Err("it has more than 32 parts");
        }
        match parts.iter().find_map(|part| fault(part)) {
            Some(fault) => Err(fault),
            None => Ok(Self { text: text.into(), parts }),
        }
    }

    /// The parts with `/` between them; nothing for the module's folder itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts, outermost first.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The folders on the way and the last part; `None` for the module's folder itself.
    #[must_use]
    pub fn split(&self) -> Option<(&[String], &str)> {
        self.parts.split_last().map(|(name, folders)| (folders, name.as_str()))
    }
}

fn fault(part: &str) -> Option<&'static str> {
    match part {
        "" => Some("it has an empty part"),
        "." => Some("it has a part `.`"),
        ".." => Some("`..` leaves the folder"),
        _ if part.len() > MAX_PART => Some("a part is longer than 255 bytes"),
        _ if part.ends_with([' ', '.']) => Some("a part ends with a space or dot"),
        _ if part.starts_with(RESERVED) => Some("names that begin with `.replug-` are the runtime's"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_that_is_not_inside_is_refused_with_its_reason() {
        let long = "x".repeat(256);
        let many = vec!["x"; 33].join("/");
        let endless = "x/".repeat(600);
        let table = [
            ("", "empty"),
            ("/etc/passwd", "absolute"),
            ("//server/share", "absolute"),
            ("..", "leaves"),
            ("a/../../b", "leaves"),
            ("a/..", "leaves"),
            ("./a", "part `.`"),
            ("a//b", "empty part"),
            ("a/", "empty part"),
            ("a\\..\\b", "backslash"),
            ("C:a", "colon"),
            ("a\0b", "control"),
            ("a\n", "control"),
            ("a/.. ", "space or dot"),
            ("...", "space or dot"),
            (".replug-1", "runtime's"),
            ("a/.replug-x", "runtime's"),
            (long.as_str(), "255"),
            (many.as_str(), "32 parts"),
            (endless.as_str(), "1024"),
        ];
        for (text, why) in table {
            let fault = FilePath::parse(text).expect_err(text);
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }

    #[test]
    fn names_that_only_look_strange_are_names() {
        for text in ["a", ".hidden", "a b/c", "ä/日本", "~", "$HOME", "%2e%2e", "a/..b", "-rf", "*"] {
            assert!(FilePath::parse(text).is_ok(), "{text}");
        }
        assert_eq!(FilePath::parse(".").unwrap().split(), None);
    }

    proptest! {
        #[test]
        fn whatever_is_taken_has_no_way_out(text in "[a./\\\\:\\x00-\\x1f]{0,12}") {
            if let Ok(path) = FilePath::parse(&text) {
                for part in path.parts() {
                    prop_assert!(!part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '\0']));
                }
            }
        }
    }
}
