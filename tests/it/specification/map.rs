//! The rows of the map, and whether they are true.

use std::fs;
use std::path::Path;

/// The first line of each table.
const HEAD: &str = "| identifier | where | shown by |";

/// Before it stand places; after it, what there is not.
const MISSING: &str = "**missing**";

/// What the specification names, where that is, and what shows it.
pub(crate) struct Row<'a> {
    /// The row's line in the page, from 1.
    line: usize,
    /// As the specification has it.
    pub(crate) identifier: &'a str,
    place: Cell<'a>,
    shown: Cell<'a>,
}

/// Places, and a reason why there is not more of it.
struct Cell<'a> {
    places: Vec<Place<'a>>,
    missing: Option<&'a str>,
}

/// A file, by its path from the top of the repository, and names that stand in it.
struct Place<'a> {
    file: &'a str,
    names: Vec<&'a str>,
}

/// The rows of all tables of `page`.
pub(crate) fn rows(page: &str) -> Vec<Row<'_>> {
    let lines = page.lines().enumerate().filter(|(_, line)| line.starts_with("| ") && *line != HEAD);
    lines.map(|(index, line)| Row::read(index + 1, line)).collect()
}

impl<'a> Row<'a> {
    fn read(number: usize, line: &'a str) -> Self {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", identifier, place, shown, ""] = cells[..] else {
            panic!("line {number} has not three cells: {line}");
        };
        Self {
            line: number,
            identifier: identifier.trim_matches('`'),
            place: Cell::read(place),
            shown: Cell::read(shown),
        }
    }

    /// What is wrong with it.
    pub(crate) fn faults(&self) -> Vec<String> {
        let (place, shown) = (&self.place, &self.shown);
        let mut faults = Vec::new();
        if place.is_empty() {
            faults.push("it neither says where it is nor that it is missing".to_owned());
        }
        // what is not there at all is shown by nothing
        if shown.is_empty() && !place.places.is_empty() {
            faults.push("it neither says what shows it nor that a test is missing".to_owned());
        }
        place.check(defines, &mut faults);
        shown.check(|text, name| has_word(text, &format!("fn {name}")), &mut faults);
        faults.into_iter().map(|fault| format!("line {}: {}: {fault}", self.line, self.identifier)).collect()
    }
}

impl<'a> Cell<'a> {
    /// Of what stands in backticks, files have a `/` in them, and names follow theirs.
    fn read(text: &'a str) -> Self {
        let (named, missing) = match text.split_once(MISSING) {
            Some((named, missing)) => (named, Some(missing)),
            None => (text, None),
        };
        let mut places: Vec<Place<'a>> = Vec::new();
        for code in named.split('`').skip(1).step_by(2) {
            if code.contains('/') {
                places.push(Place { file: code, names: Vec::new() });
            } else if let Some(place) = places.last_mut() {
                place.names.push(code);
            } else {
                places.push(Place { file: "", names: vec![code] });
            }
        }
        Self { places, missing }
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.missing.is_none()
    }

    /// `has` says whether a file has a name.
    fn check(&self, has: impl Fn(&str, &str) -> bool, faults: &mut Vec<String>) {
        if self.missing.is_some_and(|reason| reason.trim_start_matches(':').split_whitespace().count() < 3) {
            faults.push("it does not say what is missing".to_owned());
        }
        for Place { file, names } in &self.places {
            if file.is_empty() {
                faults.push(format!("`{}` stands before the name of a file", names.join("`, `")));
                continue;
            }
            let text = match fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)) {
                Ok(text) => text,
                Err(error) => {
                    faults.push(format!("{file} cannot be read: {error}"));
                    continue;
                }
            };
            if names.is_empty() {
                faults.push(format!("nothing is named in {file}"));
            }
            let absent = names.iter().filter(|name| !has(&text, name));
            faults.extend(absent.map(|name| format!("{file} does not define `{name}`")));
        }
    }
}

/// Whether `text` defines a name rather than uses it or speaks of it: as an item, a field, a variant, or in a string.
fn defines(text: &str, name: &str) -> bool {
    let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    code.into_iter().any(|line| {
        let items = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "macro_rules!"];
        if items.iter().any(|item| has_word(line, &format!("{item} {name}"))) {
            return true;
        }
        let named = line.strip_prefix("pub ").or_else(|| line.split_once(") ").map(|(_, rest)| rest)).unwrap_or(line);
        let begins = |line: &str| line.strip_prefix(name).map(str::trim_start).map(str::to_owned);
        // a variant or a field; what else begins with a name uses it
        let is_variant = name.starts_with(char::is_uppercase);
        let is_member = |rest: String| match is_variant {
            true => rest.is_empty() || rest.starts_with([',', '{', '(', '=']),
            false => rest == ":" || rest.starts_with(": "),
        };
        let strings = line.split('"').skip(1).step_by(2);
        [line, named].into_iter().filter_map(begins).any(is_member)
            || strings.into_iter().any(|string| has_word(string, name))
    })
}

/// Whether `word` stands in `text` and is no part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.chars().next_back().is_some_and(is_part) && !after.chars().next().is_some_and(is_part)
    })
}

#[test]
fn a_name_is_defined_by_an_item_a_field_a_variant_or_a_string_and_by_nothing_else() {
    let text = "// gone\n/// `told`\npub struct Kept {\n    pub(crate) weight: u8,\n}\nenum E {\n    Stays(u8),\n}\n\
                fn made() { used(); x.taken; \"metric_name\" }\n    called(1);\n    set = 2;\n    passed,\n";
    for name in ["Kept", "weight", "Stays", "made", "metric_name"] {
        assert!(defines(text, name), "{name}");
    }
    for name in ["gone", "told", "used", "taken", "Kep", "metric", "called", "set", "passed"] {
        assert!(!defines(text, name), "{name}");
    }
}
