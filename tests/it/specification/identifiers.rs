//! What the specification names: the identifiers of its TypeScript, the keys of its manifest, the entries of its lists.

use std::collections::BTreeSet;

/// The lists whose entries count, each by the line that opens it.
const LISTS: [&str; 6] = [
    "**Core Principles:**",
    "#### Core Components",
    "#### Automatic Rollback Triggers",
    "### Performance Targets",
    "### Development Standards",
    "### Testing Strategy",
];

/// Types of the language itself.
const BUILT_IN: [&str; 3] = ["Date", "Promise", "Record"];

/// Everything that the specification `text` names, as its map writes it: `Owner.member.literal` and the names of types,
/// `manifest.key.list[].key`, and the entries of lists.
pub(crate) fn identifiers(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for block in blocks(text, "typescript") {
        typescript(block, &mut found);
    }
    for block in blocks(text, "yaml") {
        manifest(block, &mut found);
    }
    lists(text, &mut found);
    found
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect()
}

/// Types, and members with all that stands around them. Each member has a line of its own.
fn typescript(block: &str, found: &mut BTreeSet<String>) {
    // the interface or class, and the members that are open in it
    let mut open: Vec<&str> = Vec::new();
    for line in block.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let declared = line.strip_prefix("interface ").or_else(|| line.strip_prefix("class "));
        if let Some(name) = declared.and_then(|rest| rest.strip_suffix(" {")) {
            open = vec![name];
            found.insert(name.to_owned());
            continue;
        }
        found.extend(words(line).filter(|word| is_type(word)).map(str::to_owned));
        let literals = line.split('\'').skip(1).step_by(2);
        if line.starts_with('\'') {
            found.extend(literals.map(|literal| format!("{}.{literal}", open.join("."))));
        } else if line.starts_with(['}', ']']) {
            open.pop();
        } else if let Some(member) = words(line).next() {
            open.push(member);
            let path = open.join(".");
            found.extend(literals.map(|literal| format!("{path}.{literal}")));
            found.insert(path);
            if !line.ends_with(['{', '[']) {
                open.pop();
            }
        }
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Types have names in upper case; parameters and keywords have not.
fn is_type(word: &str) -> bool {
    word.len() > 1 && word.starts_with(|letter: char| letter.is_ascii_uppercase()) && !BUILT_IN.contains(&word)
}

/// The keys of a manifest in block style, each with its path.
fn manifest(block: &str, found: &mut BTreeSet<String>) {
    // what is open: the column at which it stands, and its path
    let mut open: Vec<(usize, String)> = Vec::new();
    for line in block.lines() {
        let text = line.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut column = line.len() - text.len();
        let item = text.strip_prefix("- ");
        if item.is_some() {
            let path = format!("{}[]", around(&mut open, column));
            open.push((column, path));
            column += 2;
        }
        if let Some((key, _)) = item.unwrap_or(text).split_once(':') {
            let path = format!("{}.{key}", around(&mut open, column));
            found.insert(path.clone());
            open.push((column, path));
        }
    }
}

/// The path of what stands around something at `column`; what is not to its left ends there.
fn around(open: &mut Vec<(usize, String)>, column: usize) -> &str {
    while open.last().is_some_and(|(at, _)| *at >= column) {
        open.pop();
    }
    open.last().map_or("manifest", |(_, path)| path.as_str())
}

/// The entries of the lists that count, by their bold names or else whole.
fn lists(text: &str, found: &mut BTreeSet<String>) {
    // how deep the heading is whose entries count
    let mut open: Option<usize> = None;
    for line in text.lines() {
        let depth = line.chars().take_while(|letter| *letter == '#').count();
        if LISTS.contains(&line) {
            // what is no heading itself ends with any
            open = Some(if depth == 0 { usize::MAX } else { depth });
        } else if depth > 0 && open.is_some_and(|open| depth <= open) {
            open = None;
        } else if open.is_some()
            && let Some(entry) = entry(line)
        {
            found.insert(entry.to_owned());
        }
    }
}

fn entry(line: &str) -> Option<&str> {
    let numbered = || line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok()).map(|(_, text)| text);
    let text = line.strip_prefix("- ").or_else(numbered)?;
    let bold = text.strip_prefix("**").and_then(|rest| rest.split_once("**"));
    Some(bold.map_or(text, |(name, _)| name))
}
