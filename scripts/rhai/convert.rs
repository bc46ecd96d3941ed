//! Values between Rhai and the host.
//!
//! Both sides tell whole numbers from floats, lists from maps, and text from bytes, so a value comes back as it went; a
//! character becomes text. Functions, ranges and the like do not cross.

use bytes::Bytes;
use rhai::{Array, Blob, Dynamic, FnPtr, Map};

use crate::crossing::{self, Room, Unfit, check_depth};
use crate::value::Value;

/// A copy of a script's value. Every node is a tick.
pub(super) fn to_host(value: &Dynamic) -> Result<Value, Unfit> {
    to_host_within(value, &mut Room::of_call())
}

/// The same for one of several values that share a room.
pub(super) fn to_host_within(value: &Dynamic, room: &mut Room) -> Result<Value, Unfit> {
    copy_out(value, 0, room)
}

fn copy_out(value: &Dynamic, depth: usize, room: &mut Room) -> Result<Value, Unfit> {
    room.take_node()?;
    if value.is_shared() {
        // A cell never holds a cell: it counts no level of its own.
        let content = value.read_lock::<Dynamic>().filter(|content| !content.is_shared());
        return copy_out(&*content.ok_or(Unfit::Kind("value in use"))?, depth, room);
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        room.take_bytes(text.len())?;
        return Ok(Value::Text(text.as_str().to_owned()));
    }
    if let Ok(number) = value.as_int() {
        return Ok(Value::Int(number));
    }
    if let Ok(map) = value.as_map_ref() {
        check_depth(depth)?;
        let mut copy = std::collections::BTreeMap::new();
        for (key, item) in &*map {
            room.take_bytes(key.len())?;
            room.take_entry(copy.len())?;
            copy.insert(key.to_string(), copy_out(item, depth + 1, room)?);
        }
        return Ok(Value::Map(copy));
    }
    if let Ok(array) = value.as_array_ref() {
        check_depth(depth)?;
        let mut copy = Vec::new();
        for item in &*array {
            copy.push(copy_out(item, depth + 1, room)?);
        }
        return Ok(Value::List(copy));
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(truth) = value.as_bool() {
        return Ok(Value::Bool(truth));
    }
    if let Ok(number) = value.as_float() {
        return Ok(Value::Float(number));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Value::Text(letter.into()));
    }
    if let Ok(blob) = value.as_blob_ref() {
        room.take_bytes(blob.len())?;
        return Ok(Value::Bytes(Bytes::copy_from_slice(&blob)));
    }
    Err(Unfit::Kind(kind(value)))
}

/// A script's copy of the host's value, which is checked first.
pub(super) fn to_script(value: Value) -> Result<Dynamic, Unfit> {
    crossing::check(&value)?;
    Ok(copy_in(value))
}

/// What the engine's caps bound in a value, with all that is in it.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes {
    /// Bytes of texts.
    pub(super) texts: usize,
    /// Elements of arrays and bytes of blobs.
    pub(super) elements: usize,
    /// Entries of maps.
    pub(super) entries: usize,
}

/// The sizes of the host's value.
pub(super) fn sizes(value: &Value) -> Sizes {
    fn add(value: &Value, sizes: &mut Sizes) {
        match value {
            Value::Text(text) => sizes.texts += text.len(),
            Value::Bytes(bytes) => sizes.elements += bytes.len(),
            Value::List(items) => {
                sizes.elements += items.len();
                items.iter().for_each(|item| add(item, sizes));
            }
            Value::Map(map) => {
                sizes.entries += map.len();
                map.values().for_each(|item| add(item, sizes));
            }
            _ => {}
        }
    }
    let mut sizes = Sizes::default();
    add(value, &mut sizes);
    sizes
}

/// A script's copy of the host's value.
pub(super) fn copy_in(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(truth) => truth.into(),
        Value::Int(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::Bytes(bytes) => Dynamic::from_blob(Blob::from(bytes)),
        Value::List(items) => Dynamic::from_array(items.into_iter().map(copy_in).collect::<Array>()),
        Value::Map(map) => {
            Dynamic::from_map(map.into_iter().map(|(key, item)| (key.into(), copy_in(item))).collect::<Map>())
        }
    }
}

/// What scripts call the kind of a value.
pub(super) fn kind(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "()"
    } else if value.is_bool() {
        "boolean"
    } else if value.is_int() || value.is_float() {
        "number"
    } else if value.is_string() || value.is_char() {
        "string"
    } else if value.is_array() {
        "array"
    } else if value.is_map() {
        "map"
    } else if value.is_blob() {
        "blob"
    } else if value.is_fnptr() || value.read_lock::<FnPtr>().is_some() {
        "function"
    } else if value.read_lock::<std::ops::Range<i64>>().is_some()
        || value.read_lock::<std::ops::RangeInclusive<i64>>().is_some()
    {
        "range"
    } else {
        "host object"
    }
}
