//! From any type of serde's to plain data.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::ser::{self, Serialize};

use super::{Misfit, Value};

/// `value` as plain data, in the shape that `serde_json` would give it, with two differences: bytes stay bytes
/// (`serde_bytes`, [`bytes::Bytes`]), and NaN and infinities stay what they are.
///
/// # Errors
/// A whole number that is no `i64`, a map's key that is no text, number or truth value, or what the type itself says.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Misfit> {
    value.serialize(Writer)
}

struct Writer;

/// A list on its way, and the name of the variant that it belongs to.
struct ListWriter {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

/// A map on its way.
struct MapWriter {
    map: BTreeMap<String, Value>,
    key: String,
    variant: Option<&'static str>,
}

impl ListWriter {
    fn new(length: usize, variant: Option<&'static str>) -> Self {
        // a length is only a hint, and may be a wrong one
        Self { items: Vec::with_capacity(length.min(1024)), variant }
    }

    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Misfit> {
        let item = item.serialize(Writer).map_err(|misfit| misfit.in_item(self.items.len()))?;
        self.items.push(item);
        Ok(())
    }

    fn finish(self) -> Value {
        tagged(self.variant, Value::List(self.items))
    }
}

impl MapWriter {
    const fn new(variant: Option<&'static str>) -> Self {
        Self { map: BTreeMap::new(), key: String::new(), variant }
    }

    fn insert<T: Serialize + ?Sized>(&mut self, key: String, item: &T) -> Result<(), Misfit> {
        let item = item.serialize(Writer).map_err(|misfit| misfit.in_entry(&key))?;
        self.map.insert(key, item);
        Ok(())
    }

    fn finish(self) -> Value {
        tagged(self.variant, Value::Map(self.map))
    }
}

/// The content of a variant is a map with the variant's name as its one key.
fn tagged(variant: Option<&str>, content: Value) -> Value {
    match variant {
        Some(variant) => Value::map([(variant, content)]),
        None => content,
    }
}

fn whole<N: TryInto<i64> + Copy + std::fmt::Display>(number: N) -> Result<Value, Misfit> {
    let fits = number.try_into();
    fits.map(Value::Int).map_err(|_| {
        Misfit::new(format_args!(
            "{number} is no whole number of scripts, which have 64 bits with sign; pass it as text"
        ))
    })
}

fn key(key: Value) -> Result<String, Misfit> {
    match key {
        Value::Text(key) => Ok(key),
        Value::Int(key) => Ok(key.to_string()),
        Value::Bool(key) => Ok(key.to_string()),
        other => Err(Misfit::new(format_args!("a map's key must be text, found {}", other.kind()))),
    }
}

impl ser::Serializer for Writer {
    type Ok = Value;
    type Error = Misfit;
    type SerializeSeq = ListWriter;
    type SerializeTuple = ListWriter;
    type SerializeTupleStruct = ListWriter;
    type SerializeTupleVariant = ListWriter;
    type SerializeMap = MapWriter;
    type SerializeStruct = MapWriter;
    type SerializeStructVariant = MapWriter;

    fn serialize_bool(self, truth: bool) -> Result<Value, Misfit> {
        Ok(Value::Bool(truth))
    }

    fn serialize_i8(self, number: i8) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_i16(self, number: i16) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_i32(self, number: i32) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_i64(self, number: i64) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_i128(self, number: i128) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_u8(self, number: u8) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_u16(self, number: u16) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_u32(self, number: u32) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_u64(self, number: u64) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_u128(self, number: u128) -> Result<Value, Misfit> {
        whole(number)
    }

    fn serialize_f32(self, number: f32) -> Result<Value, Misfit> {
        Ok(Value::Float(f64::from(number)))
    }

    fn serialize_f64(self, number: f64) -> Result<Value, Misfit> {
        Ok(Value::Float(number))
    }

    fn serialize_char(self, letter: char) -> Result<Value, Misfit> {
        Ok(Value::Text(letter.into()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, Misfit> {
        Ok(Value::from(text))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, Misfit> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn serialize_none(self) -> Result<Value, Misfit> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Misfit> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Misfit> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Misfit> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Misfit> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, Misfit> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Misfit> {
        Ok(tagged(Some(variant), value.serialize(self).map_err(|misfit| misfit.in_entry(variant))?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<ListWriter, Misfit> {
        Ok(ListWriter::new(length.unwrap_or_default(), None))
    }

    fn serialize_tuple(self, length: usize) -> Result<ListWriter, Misfit> {
        Ok(ListWriter::new(length, None))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<ListWriter, Misfit> {
        Ok(ListWriter::new(length, None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<ListWriter, Misfit> {
        Ok(ListWriter::new(length, Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapWriter, Misfit> {
        Ok(MapWriter::new(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<MapWriter, Misfit> {
        Ok(MapWriter::new(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<MapWriter, Misfit> {
        Ok(MapWriter::new(Some(variant)))
    }
}

impl ser::SerializeSeq for ListWriter {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Misfit> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(self.finish())
    }
}

impl ser::SerializeTuple for ListWriter {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Misfit> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleStruct for ListWriter {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Misfit> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(self.finish())
    }
}

impl ser::SerializeTupleVariant for ListWriter {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Misfit> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(self.finish())
    }
}

impl ser::SerializeMap for MapWriter {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Misfit> {
        self.key = key(name.serialize(Writer)?)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Misfit> {
        let key = std::mem::take(&mut self.key);
        self.insert(key, item)
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(self.finish())
    }
}

impl ser::SerializeStruct for MapWriter {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, item: &T) -> Result<(), Misfit> {
        self.insert(key.to_owned(), item)
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(self.finish())
    }
}

impl ser::SerializeStructVariant for MapWriter {
    type Ok = Value;
    type Error = Misfit;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, item: &T) -> Result<(), Misfit> {
        self.insert(key.to_owned(), item)
    }

    fn end(self) -> Result<Value, Misfit> {
        Ok(self.finish())
    }
}
