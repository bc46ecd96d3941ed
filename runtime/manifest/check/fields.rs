//! Reading maps and lists: each value is read once, what no reader asked for is unknown.

use std::collections::BTreeMap;

use super::super::Place;
use super::super::parse::{Entry, Kind, Node, shown};
use super::{Checker, MAX_ITEMS};

/// A value and the path to it, such as `apis[0].path`.
#[derive(Debug)]
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
}

/// A map that is being read.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    /// Empty for the whole manifest.
    path: String,
    place: Place,
    entries: &'n [Entry],
    /// The keys that were asked for, so far.
    known: Vec<&'static str>,
    /// Whether there is no map at all, which is one fault and not one for each missing key.
    broken: bool,
}

impl<'n> Fields<'n> {
    /// The whole manifest.
    pub(super) fn top(cx: &mut Checker<'_, '_>, root: &'n Node) -> Self {
        match &root.kind {
            Kind::Map(entries) => {
                Self { path: String::new(), place: Place::START, entries, known: Vec::new(), broken: false }
            }
            _ => {
                let message = format!("expected a map with `id` and `version`, found {}", root.found());
                cx.report.fault(root.place, message, None);
                Self { path: String::new(), place: root.place, entries: &[], known: Vec::new(), broken: true }
            }
        }
    }

    /// The map `item`; nothing counts as an empty one.
    pub(super) fn open(cx: &mut Checker<'_, '_>, item: &Item<'n>) -> Option<Self> {
        let entries = match &item.node.kind {
            Kind::Map(entries) => entries.as_slice(),
            _ if item.node.is_null() => &[],
            _ => {
                cx.expected(item, "a map");
                return None;
            }
        };
        let path = item.path.clone();
        Some(Self { path, place: item.node.place, entries, known: Vec::new(), broken: false })
    }

    /// The value of `key`, if it is there.
    pub(super) fn take(&mut self, cx: &mut Checker<'_, '_>, key: &'static str) -> Option<Item<'n>> {
        self.known.push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        cx.places.insert(path.clone(), entry.value.place);
        Some(Item { node: &entry.value, path })
    }

    /// The value of `key` through `reader`; `None` when it is not there or faulty.
    pub(super) fn read<'c, 'r, 'f, T>(
        &mut self,
        cx: &'c mut Checker<'r, 'f>,
        key: &'static str,
        reader: impl FnOnce(&mut Checker<'r, 'f>, &Item<'n>) -> Option<T>,
    ) -> Option<T> {
        let item = self.take(cx, key)?;
        reader(cx, &item)
    }

    /// As [`Fields::read`]; that it is not there is a fault.
    pub(super) fn required<'c, 'r, 'f, T>(
        &mut self,
        cx: &'c mut Checker<'r, 'f>,
        key: &'static str,
        reader: impl FnOnce(&mut Checker<'r, 'f>, &Item<'n>) -> Option<T>,
    ) -> Option<T> {
        match self.take(cx, key) {
            Some(item) => reader(cx, &item),
            None => {
                self.missing(cx, &format!("`{key}`"), None);
                None
            }
        }
    }

    /// A fault: something the map needs is not in it.
    pub(super) fn missing(&self, cx: &mut Checker<'_, '_>, what: &str, help: Option<String>) {
        if self.broken {
            return;
        }
        let message =
            if self.path.is_empty() { format!("missing {what}") } else { format!("{}: missing {what}", self.path) };
        cx.report.fault(self.place, message, help);
    }

    /// Reports every key that nothing asked for.
    pub(super) fn close(self, cx: &mut Checker<'_, '_>) {
        for entry in self.entries.iter().filter(|entry| !self.known.contains(&entry.key.as_str())) {
            let near = cx.report.suggest(&entry.key, self.known.iter().copied());
            let help = near.unwrap_or_else(|| match self.known.as_slice() {
                [] => "nothing is set here: remove it".to_owned(),
                [only] => format!("the only key here is {only}"),
                known => format!("the keys here are {}", known.join(", ")),
            });
            let within = if self.path.is_empty() { String::new() } else { format!(" in {}", self.path) };
            cx.report.fault(entry.place, format!("unknown key `{}`{within}", shown(&entry.key)), Some(help));
        }
    }
}

impl Checker<'_, '_> {
    /// A fault at `item`; the message begins with what it is about.
    pub(super) fn fault(&mut self, item: &Item<'_>, message: impl Into<String>, help: Option<String>) {
        self.report.fault(item.node.place, message, help);
    }

    /// The fault of a wrong type or value.
    pub(super) fn expected(&mut self, item: &Item<'_>, what: &str) {
        self.expected_with(item, what, None);
    }

    /// The fault of a wrong type or value, with help.
    pub(super) fn expected_with(&mut self, item: &Item<'_>, what: &str, help: Option<String>) {
        let message = format!("{}: expected {what}, found {}", item.path, item.node.found());
        self.fault(item, message, help);
    }

    /// A list through a reader for its entries; nothing counts as an empty one, faulty entries are left out.
    pub(super) fn list<'n, T>(
        &mut self,
        item: &Item<'n>,
        mut reader: impl FnMut(&mut Self, &Item<'n>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let nodes = match &item.node.kind {
            Kind::Seq(nodes) => nodes.as_slice(),
            _ if item.node.is_null() => &[],
            _ => {
                self.expected(item, "a list");
                return None;
            }
        };
        if nodes.len() > MAX_ITEMS {
            let message = format!("{}: {} entries, more than {MAX_ITEMS}", item.path, nodes.len());
            self.fault(item, message, None);
            return None;
        }
        let mut read = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let entry = Item { node, path: format!("{}[{index}]", item.path) };
            self.places.insert(entry.path.clone(), node.place);
            read.extend(reader(self, &entry));
        }
        Some(read)
    }

    /// The entries of a map whose keys are the author's, in the order of the text; nothing counts as an empty one.
    pub(super) fn entries<'n>(&mut self, item: &Item<'n>) -> Option<Vec<(&'n Entry, Item<'n>)>> {
        let entries = match &item.node.kind {
            Kind::Map(entries) => entries.as_slice(),
            _ if item.node.is_null() => &[],
            _ => {
                self.expected(item, "a map");
                return None;
            }
        };
        if entries.len() > MAX_ITEMS {
            let message = format!("{}: {} keys, more than {MAX_ITEMS}", item.path, entries.len());
            self.fault(item, message, None);
            return None;
        }
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = format!("{}.{}", item.path, entry.key);
            self.places.insert(path.clone(), entry.value.place);
            items.push((entry, Item { node: &entry.value, path }));
        }
        Some(items)
    }

    /// Whether `value` is new in `seen`; a second one is a fault that names the first one's line.
    pub(super) fn unique(
        &mut self,
        seen: &mut BTreeMap<String, Place>,
        what: &str,
        value: &str,
        item: &Item<'_>,
    ) -> bool {
        match seen.get(value) {
            None => {
                seen.insert(value.to_owned(), item.node.place);
                true
            }
            Some(first) => {
                let message = format!("duplicate {what} `{}`: it stands in line {} already", shown(value), first.line);
                self.fault(item, message, Some("keep one of the two".to_owned()));
                false
            }
        }
    }
}
