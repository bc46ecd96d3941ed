//! Values as texts. The crate goes on printing when a limit is reached in the middle, and then prints the whole value without a
//! step: a text of a megabyte that stands a thousand times in an array is one in memory and a thousand on the way out.
//!
//! So functions and operators that print arrays and maps are replaced by ones that fail. Where the engine prints or hashes a value
//! by itself, [`super::qualify`] puts an operator of this module before it, which lets through what is small when it is
//! written out, or a text.

use rhai::{Array, Dynamic, FnPtr, ImmutableString, Map, Module, NativeCallContext};

use super::calls::over;
use super::gates::{Checked, changing, charge, gate, too_large};
use crate::meter;
use crate::value::MAX_DEPTH;

/// How deep a value may nest that the engine prints or hashes by itself; closures that hold themselves nest without end.
const DEEPEST: usize = 1000;

/// Bytes of a text that are charged and escaped at once.
const PIECE: usize = 4096;

/// Texts and what they are joined with. A macro, as the crate does not show the bound that a function over types would need.
macro_rules! joins {
    ($module:expr, $value:ty) => {
        gate("+").set_into_module($module, |context: NativeCallContext, text: ImmutableString, value: $value| {
            written(&context, &text, &value, "")
        });
        gate("+").set_into_module($module, |context: NativeCallContext, value: $value, text: ImmutableString| {
            written(&context, "", &value, &text)
        });
        for name in ["+=", "append"] {
            changing(name).set_into_module(
                $module,
                |context: NativeCallContext, text: &mut ImmutableString, value: $value| -> Checked<()> {
                    *text = written(&context, text, &value, "")?.into();
                    Ok(())
                },
            );
        }
    };
}

/// Adds all of them.
pub(super) fn add(module: &mut Module) {
    looks(module);
    for name in ["print", "to_string", "debug", "to_debug"] {
        gate(name)
            .set_into_module(module, |context: NativeCallContext, array: &mut Array| written(&context, "", array, ""));
        gate(name).set_into_module(module, |context: NativeCallContext, map: &mut Map| written(&context, "", map, ""));
    }
    for name in ["debug", "to_debug"] {
        gate(name).set_into_module(module, |context: NativeCallContext, text: ImmutableString| -> Checked<String> {
            let mut out = Out::new(&context);
            out.quoted(&text)?;
            Ok(out.text)
        });
    }
    joins!(module, Array);
    joins!(module, Map);
}

/// The operators that stand before values. A script may write them too, which makes nothing of its value that they let not
/// through.
fn looks(module: &mut Module) {
    // in the hole of a text
    gate("-").set_into_module(module, |context: NativeCallContext, (): (), value: Dynamic| -> Checked<Dynamic> {
        if !is_nest(&value) {
            return Ok(value);
        }
        let mut out = Out::new(&context);
        out.dynamic(&value, 0)?;
        Ok(out.text.into())
    });
    // in a `switch`, which hashes what closures captured too
    gate("^").set_into_module(module, |context: NativeCallContext, (): (), value: Dynamic| -> Checked<Dynamic> {
        if is_nest(&value) || value.is_fnptr() {
            look(&value, 0, &mut context.engine().max_string_size())?;
        }
        Ok(value)
    });
    // before it becomes an element; of a function alone only the name is ever printed
    gate("&").set_into_module(module, |context: NativeCallContext, (): (), value: Dynamic| -> Checked<Dynamic> {
        if is_nest(&value) {
            look(&value, 0, &mut context.engine().max_string_size())?;
        }
        Ok(value)
    });
}

fn is_nest(value: &Dynamic) -> bool {
    value.is_array() || value.is_map()
}

/// Takes what a value has of texts and blobs, as often as they stand in it, from the `room`.
fn look(value: &Dynamic, depth: usize, room: &mut usize) -> Checked<()> {
    if meter::tick(1).is_some() {
        return Err(over());
    }
    if depth > DEEPEST {
        return Err("the value nests too deep for that".into());
    }
    if let Ok(array) = value.as_array_ref() {
        array.iter().try_for_each(|item| look(item, depth + 1, room))
    } else if let Ok(map) = value.as_map_ref() {
        map.iter().try_for_each(|(key, item)| {
            take(room, key.len())?;
            look(item, depth + 1, room)
        })
    } else if let Some(function) = value.read_lock::<FnPtr>() {
        function.curry().iter().try_for_each(|item| look(item, depth + 1, room))
    } else if let Ok(text) = value.as_immutable_string_ref() {
        take(room, text.len())
    } else if let Ok(blob) = value.as_blob_ref() {
        take(room, blob.len())
    } else {
        Ok(())
    }
}

fn take(room: &mut usize, bytes: usize) -> Checked<()> {
    *room = room.checked_sub(bytes).ok_or_else(|| too_large("Length of the texts and blobs in the value"))?;
    Ok(())
}

fn written(context: &NativeCallContext, before: &str, value: &impl Shown, after: &str) -> Checked<String> {
    let mut out = Out::new(context);
    out.plain(before)?;
    value.write(&mut out, 0)?;
    out.plain(after)?;
    Ok(out.text)
}

/// A text that is written.
struct Out {
    text: String,
    max: usize,
}

impl Out {
    fn new(context: &NativeCallContext) -> Self {
        Self { text: String::new(), max: context.engine().max_string_size() }
    }

    fn plain(&mut self, text: &str) -> Checked<()> {
        if text.len() > self.max.saturating_sub(self.text.len()) {
            return Err(too_large("Length of string"));
        }
        charge(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    /// In quotation marks, with escapes.
    fn quoted(&mut self, text: &str) -> Checked<()> {
        self.plain("\"")?;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(rest.floor_char_boundary(PIECE));
            rest = others;
            if piece.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
                self.plain(piece)?;
            } else {
                charge(8 * piece.len())?;
                self.plain(&piece.chars().flat_map(escaped).collect::<String>())?;
            }
        }
        self.plain("\"")
    }

    fn dynamic(&mut self, value: &Dynamic, depth: usize) -> Checked<()> {
        if meter::tick(1).is_some() {
            return Err(over());
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            self.quoted(&text)
        } else if let Ok(array) = value.as_array_ref() {
            array.write(self, depth + 1)
        } else if let Ok(map) = value.as_map_ref() {
            map.write(self, depth + 1)
        } else if value.is_unit() {
            self.plain("()")
        } else {
            self.plain(&value.to_string())
        }
    }
}

/// A letter as it stands in quotation marks; a single one needs no escape there.
fn escaped(letter: char) -> impl Iterator<Item = char> {
    let plain = (letter == '\'').then_some(letter);
    plain.into_iter().chain(letter.escape_debug().filter(move |_| plain.is_none()))
}

/// What is printed as a nest of values.
trait Shown {
    fn write(&self, out: &mut Out, depth: usize) -> Checked<()>;
}

impl Shown for Array {
    fn write(&self, out: &mut Out, depth: usize) -> Checked<()> {
        if depth > MAX_DEPTH {
            return out.plain("…");
        }
        out.plain("[")?;
        for (index, item) in self.iter().enumerate() {
            out.plain(if index > 0 { ", " } else { "" })?;
            out.dynamic(item, depth)?;
        }
        out.plain("]")
    }
}

impl Shown for Map {
    fn write(&self, out: &mut Out, depth: usize) -> Checked<()> {
        if depth > MAX_DEPTH {
            return out.plain("…");
        }
        out.plain("#{")?;
        for (index, (key, item)) in self.iter().enumerate() {
            out.plain(if index > 0 { ", " } else { "" })?;
            out.quoted(key)?;
            out.plain(": ")?;
            out.dynamic(item, depth)?;
        }
        out.plain("}")
    }
}
