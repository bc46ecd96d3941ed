//! From YAML text to a tree in which every key and value knows its place.
//!
//! Events of the YAML parser are folded into the tree without recursion. Whatever could make a small text large or deep
//! is bounded here, so that the checks after it need no bounds of their own: bytes, nesting, values after aliases.

use std::collections::HashMap;
use std::rc::Rc;

use serde_saphyr::granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError};

use super::report::Report;
use super::{MAX_BYTES, MAX_DEPTH, MAX_VALUES, Place};

mod node;

pub(super) use node::{Entry, Kind, Node, Scalar};

const TOO_DEEP: &str = "more than 32 lists and maps inside each other";
const _: () = assert!(MAX_DEPTH == 32, "the message names the bound");

/// Reading cannot go on; the fault is in the report.
struct Stopped;

/// Reads `text` as one YAML document. `None` means that the report says why not.
pub(super) fn parse(text: &[u8], report: &mut Report<'_>) -> Option<Rc<Node>> {
    if text.len() > MAX_BYTES {
        let message = format!("the manifest has {} bytes, more than 1 MiB", text.len());
        report.fault(Place::START, message, Some("move data into files of the module".to_owned()));
        return None;
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let before = String::from_utf8_lossy(&text[..error.valid_up_to()]);
            let help = "save the file as UTF-8".to_owned();
            report.fault(end_of(&before), "the manifest is not UTF-8 from here on", Some(help));
            return None;
        }
    };
    Builder { report, frames: Vec::new(), anchors: HashMap::new(), values: 0, root: None }.document(text).ok()
}

/// The place just after `text`.
fn end_of(text: &str) -> Place {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line, column }
}

/// A list or map whose end has not been read yet.
enum Frame {
    Seq {
        place: Place,
        anchor: usize,
        size: usize,
        items: Vec<Rc<Node>>,
    },
    Map {
        place: Place,
        anchor: usize,
        size: usize,
        entries: Vec<Entry>,
        seen: HashMap<String, Place>,
        key: Option<Key>,
    },
}

/// A key whose value has not been read yet; `None` in `name` drops the value, because the key was faulty.
struct Key {
    name: Option<String>,
    place: Place,
}

struct Builder<'r, 'f> {
    report: &'r mut Report<'f>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Rc<Node>>,
    values: usize,
    root: Option<Rc<Node>>,
}

impl Builder<'_, '_> {
    fn document(mut self, text: &str) -> Result<Rc<Node>, Stopped> {
        let mut options = Options::default();
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        options.set_emit_comments(false);
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let place = place(&span.start);
            // The parser writes `~` where nothing stands.
            let event = match event {
                Event::Scalar(_, ScalarStyle::Plain, anchor, tag) if span.is_empty() => {
                    Event::Scalar("".into(), ScalarStyle::Plain, anchor, tag)
                }
                event => event,
            };
            self.event(event, place, span.tag_start.as_ref().map(self::place))?;
        }
        match self.root {
            Some(root) => Ok(root),
            None => {
                let help = "it needs at least `id` and `version`".to_owned();
                self.report.fault(Place::START, "the manifest is empty", Some(help));
                Err(Stopped)
            }
        }
    }

    fn syntax(&mut self, error: &ScanError) -> Stopped {
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => TOO_DEEP.to_owned(),
            kind => format!("not valid YAML: {kind}").replace('\n', " "),
        };
        self.stop(place(error.marker()), message, None)
    }

    fn event(&mut self, event: Event<'_>, place: Place, tag: Option<Place>) -> Result<(), Stopped> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let help = "one file describes one module: remove `---` and what follows".to_owned();
                Err(self.stop(place, "a second YAML document", Some(help)))
            }
            Event::Scalar(text, style, anchor, has_tag) => {
                self.refuse_tag(has_tag.is_some(), tag.unwrap_or(place));
                let plain = style == ScalarStyle::Plain;
                if let Some(bad) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
                    let message = format!("a control character (U+{:04X}) in a string", u32::from(bad));
                    self.report.fault(place, message, Some("remove it".to_owned()));
                }
                self.scalar(text.into_owned(), plain, anchor, place)
            }
            Event::SequenceStart(_, anchor, has_tag) => {
                self.refuse_tag(has_tag.is_some(), tag.unwrap_or(place));
                self.open(Frame::Seq { place, anchor, size: 1, items: Vec::new() }, place)
            }
            Event::MappingStart(_, anchor, has_tag) => {
                self.refuse_tag(has_tag.is_some(), tag.unwrap_or(place));
                let (entries, seen) = (Vec::new(), HashMap::new());
                self.open(Frame::Map { place, anchor, size: 1, entries, seen, key: None }, place)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.frames.pop() {
                Some(Frame::Seq { place, anchor, size, items }) => {
                    self.add(Rc::new(Node { place, kind: Kind::Seq(items), size }), anchor)
                }
                Some(Frame::Map { place, anchor, size, entries, .. }) => {
                    self.add(Rc::new(Node { place, kind: Kind::Map(entries), size }), anchor)
                }
                None => Ok(()),
            },
            Event::Alias(target) => {
                self.refuse_as_key(place)?;
                let Some(node) = self.anchors.get(&target).cloned() else {
                    return Err(self.stop(place, "an alias inside the value that it stands for", None));
                };
                self.count(node.size, place)?;
                self.add(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn refuse_tag(&mut self, present: bool, place: Place) {
        if present {
            let help = "remove the tag; to make a value a string, quote it".to_owned();
            self.report.fault(place, "a YAML tag: tags are not used in manifests", Some(help));
        }
    }

    /// A key of the map that is open, or a value.
    fn scalar(&mut self, text: String, plain: bool, anchor: usize, place: Place) -> Result<(), Stopped> {
        if let Some(Frame::Map { key: key @ None, seen, .. }) = self.frames.last_mut() {
            let mut name = Some(text.clone());
            if text.is_empty() {
                self.report.fault(place, "a key without a name", None);
                name = None;
            } else if plain && text == "<<" {
                let help = "write the keys out, or give the whole map an alias".to_owned();
                self.report.fault(place, "a YAML merge key: merging is not used in manifests", Some(help));
                name = None;
            } else if let Some(first) = seen.get(&text) {
                let message = format!("duplicate key `{}`: it stands in line {} already", shown(&text), first.line);
                self.report.fault(place, message, Some("keep one of the two".to_owned()));
                name = None;
            } else {
                seen.insert(text.clone(), place);
            }
            *key = Some(Key { name, place });
            if anchor != 0 {
                // An alias of a key's anchor stands for the key's text.
                self.anchors.insert(anchor, Rc::new(Node { place, kind: Kind::Scalar { text, plain }, size: 1 }));
            }
            return self.count(1, place);
        }
        self.count(1, place)?;
        self.add(Rc::new(Node { place, kind: Kind::Scalar { text, plain }, size: 1 }), anchor)
    }

    fn open(&mut self, frame: Frame, place: Place) -> Result<(), Stopped> {
        self.refuse_as_key(place)?;
        self.count(1, place)?;
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.stop(place, TOO_DEEP, None));
        }
        self.frames.push(frame);
        Ok(())
    }

    fn refuse_as_key(&mut self, place: Place) -> Result<(), Stopped> {
        if matches!(self.frames.last(), Some(Frame::Map { key: None, .. })) {
            return Err(self.stop(place, "a key must be a string", None));
        }
        Ok(())
    }

    /// Puts a finished value into what is around it.
    fn add(&mut self, node: Rc<Node>, anchor: usize) -> Result<(), Stopped> {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.frames.last_mut() {
            Some(Frame::Seq { items, size, .. }) => {
                *size += node.size;
                items.push(node);
            }
            Some(Frame::Map { entries, size, key, .. }) => {
                *size += node.size + 1;
                if let Some(Key { name: Some(name), place }) = key.take() {
                    // Nothing after a key has no place of its own: it stands where its key stands.
                    let value = if node.is_empty_plain() { Rc::new(Node::nothing(place)) } else { node };
                    entries.push(Entry { key: name, place, value });
                }
            }
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn count(&mut self, values: usize, place: Place) -> Result<(), Stopped> {
        self.values = self.values.saturating_add(values);
        if self.values > MAX_VALUES {
            let message = format!("more than {MAX_VALUES} values, aliases written out");
            return Err(self.stop(place, message, Some("use fewer or smaller aliases".to_owned())));
        }
        Ok(())
    }

    fn stop(&mut self, place: Place, message: impl Into<String>, help: Option<String>) -> Stopped {
        self.report.fault(place, message, help);
        Stopped
    }
}

/// The parser counts columns from 0.
fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A text in a message: one line, and never the whole of a long one.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let escaped = |c: char| if c == '\'' || c == '"' { vec![c] } else { c.escape_debug().collect() };
    let mut out: String = text.chars().take(LONGEST).flat_map(escaped).collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}
