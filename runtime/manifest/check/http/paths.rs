//! The syntax of paths, and which of them the module has taken already.

use std::collections::{BTreeMap, BTreeSet};

use matchit::{InsertError, Router};

use super::super::super::Place;
use super::super::super::parse::shown;
use super::super::Checker;
use super::super::fields::Item;
use super::super::names::is_identifier;

/// The paths of the gateway itself.
const RESERVED: &str = "/__replug";

/// The longest path of a url, in bytes.
const LONGEST: usize = 512;

/// The most parameters of a path. The router panics at 26.
const MAX_PARAMETERS: usize = 16;

impl Checker<'_, '_> {
    /// The path of a page or api.
    pub(in super::super) fn url_path(&mut self, item: &Item<'_>) -> Option<String> {
        let text = self.string(item, "a path such as /reports/{id}")?;
        match path_fault(text) {
            None => Some(text.to_owned()),
            Some((why, help)) => {
                self.fault(item, format!("{}: `{}`: {why}", item.path, shown(text)), help);
                None
            }
        }
    }
}

/// What is wrong with a path in matchit's syntax, and what helps.
pub(in super::super) fn path_fault(path: &str) -> Option<(&'static str, Option<String>)> {
    if !path.starts_with('/') {
        return Some(("a path begins with `/`", Some(format!("write `/{}`", shown(path)))));
    }
    if path.len() > LONGEST {
        return Some(("the path is longer than 512 bytes", None));
    }
    if path.contains("//") {
        return Some(("the path has an empty part", Some("remove one of the two `/`".to_owned())));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/{}".contains(c);
    if let Some(bad) = path.chars().find(|c| !allowed(*c)) {
        let help = format!("`{}` cannot stand in a path; the gateway matches paths without query", bad.escape_debug());
        return Some(("a character that is not allowed", Some(help)));
    }
    let reserved = path.strip_prefix(RESERVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if reserved {
        return Some(("paths under /__replug belong to the gateway", Some("choose another path".to_owned())));
    }
    let mut names = BTreeSet::new();
    if let Some(fault) = path.split('/').find_map(|part| part_fault(part, &mut names)) {
        return Some(fault);
    }
    (names.len() > MAX_PARAMETERS).then_some(("the path has more than 16 parameters", None))
}

/// What is wrong with one part of a path; `names` has the parameters of the parts before it.
fn part_fault<'p>(part: &'p str, names: &mut BTreeSet<&'p str>) -> Option<(&'static str, Option<String>)> {
    if matches!(part, "." | "..") {
        return Some(("a path has no parts `.` or `..`", None));
    }
    if let Some(name) = part.strip_prefix(':').filter(|name| is_identifier(name, "")) {
        return Some(("parameters are written in braces", Some(format!("write `{{{name}}}`"))));
    }
    let Some(open) = part.find('{') else {
        if part.contains('}') {
            return Some(("a `}` without a `{`", None));
        }
        if let Some(name) = part.strip_prefix('*') {
            let name = if is_identifier(name, "") { name } else { "rest" };
            return Some(("the rest of a path is written in braces", Some(format!("write `{{*{name}}}`"))));
        }
        return None;
    };
    let Some(inside) = part[open + 1..].strip_suffix('}') else {
        let help = "a parameter ends its part of the path, as /a-{name}/b".to_owned();
        return Some(("a parameter does not end with its part", Some(help)));
    };
    let name = inside.strip_prefix('*').unwrap_or(inside);
    if !is_identifier(name, "") {
        let help = "one parameter a part, `{name}` or `{*rest}`, named by letters, digits and underscores".to_owned();
        return Some(("a parameter without a proper name", Some(help)));
    }
    if !names.insert(name) {
        return Some(("two parameters of one name", Some(format!("rename one `{name}`"))));
    }
    None
}

/// The paths taken so far and by which methods.
#[derive(Default)]
pub(super) struct Taken {
    router: Router<()>,
    methods: BTreeMap<String, BTreeMap<String, Place>>,
    first: BTreeMap<String, Place>,
}

impl Taken {
    /// Takes `path` for `methods`; whatever is taken already is a fault that names the other place.
    pub(super) fn add(&mut self, cx: &mut Checker<'_, '_>, item: &Item<'_>, path: &str, methods: &[&str]) -> bool {
        if !self.first.contains_key(path) {
            if let Err(error) = self.router.insert(path, ()) {
                self.refuse(cx, item, path, &error);
                return false;
            }
            self.first.insert(path.to_owned(), item.node.place);
        }
        let taken = self.methods.entry(path.to_owned()).or_default();
        let twice = methods.iter().find_map(|method| taken.get(*method).map(|place| (*method, place.line)));
        if let Some((method, line)) = twice {
            let message = format!("{}: `{method} {path}` stands in line {line} already", item.path);
            cx.fault(item, message, Some("a page answers GET and HEAD; give each path and method once".to_owned()));
            return false;
        }
        taken.extend(methods.iter().map(|method| ((*method).to_owned(), item.node.place)));
        true
    }

    fn refuse(&self, cx: &mut Checker<'_, '_>, item: &Item<'_>, path: &str, error: &InsertError) {
        let (message, help) = match error {
            InsertError::Conflict { with } => {
                let line = self.first.get(with).map(|place| format!(" in line {}", place.line)).unwrap_or_default();
                let help = "both match the same requests: give their parameters one name, or change a path";
                (format!("`{path}` conflicts with `{}`{line}", shown(with)), Some(help.to_owned()))
            }
            InsertError::InvalidCatchAll => (format!("`{path}`: `{{*rest}}` stands only at a path's end"), None),
            InsertError::InvalidParamSegment => (format!("`{path}`: only one parameter in a part of a path"), None),
            other => (format!("`{path}`: {}", other.to_string().to_lowercase()), None),
        };
        cx.fault(item, format!("{}: {message}", item.path), help);
    }
}
