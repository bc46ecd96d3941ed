//! JSON within the budget of the call that runs on this thread: a text of a megabyte may stand for a hundred, and a value for
//! six times its bytes.

use std::collections::BTreeMap;
use std::{fmt, io};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

#[cfg(any(feature = "lua", feature = "rhai"))]
use crate::crossing::Room;
use crate::value::Value;

/// The text of a value.
///
/// # Errors
/// Bytes that are no text; a text that is larger than the VM of the call may be; the call is over.
pub fn encode(value: &Value) -> serde_json::Result<Vec<u8>> {
    let mut writer = Capped { written: Vec::new(), room: Room::of_call(), owed: 0 };
    serde_json::to_writer(&mut writer, value)?;
    Ok(writer.written)
}

/// The text of a value where it has `most` bytes or fewer, and otherwise its first `most`; no more than those are kept in memory.
///
/// # Errors
/// Bytes that are no text, among these.
pub fn encode_first(value: &Value, most: usize) -> serde_json::Result<(Vec<u8>, Length)> {
    let mut writer = First { written: Vec::new(), most, cut: false };
    match serde_json::to_writer(&mut writer, value) {
        Ok(()) => Ok((writer.written, Length::Whole)),
        Err(_) if writer.cut => Ok((writer.written, Length::Cut)),
        Err(error) => Err(error),
    }
}

/// Whether a text is all that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// It is.
    Whole,
    /// There is more.
    Cut,
}

/// Takes the first bytes, and fails after them.
struct First {
    written: Vec<u8>,
    most: usize,
    cut: bool,
}

impl io::Write for First {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fitting = bytes.len().min(self.most - self.written.len());
        self.written.extend_from_slice(&bytes[..fitting]);
        if fitting < bytes.len() {
            self.cut = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value of a text.
///
/// # Errors
/// The place of the first fault: what is no JSON, or where the value becomes larger than the VM of the call may be.
pub fn decode(text: &[u8]) -> serde_json::Result<Value> {
    if text.len() <= LARGE {
        return read(serde_json::Deserializer::from_slice(text));
    }
    let metered = Metered { rest: text, owed: 0, room: Room::of_call() };
    read(serde_json::Deserializer::from_reader(metered))
}

fn read<'de, R: serde_json::de::Read<'de>>(mut reader: serde_json::Deserializer<R>) -> serde_json::Result<Value> {
    let value = Seed(&mut Room::of_call()).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// What a piece of a text costs beside its own bytes, in bytes: escapes are written one by one, and so are commas.
const PIECE: usize = 16;
/// The call is charged for so many bytes at a time: a single piece is less than a tick.
const CHARGED: usize = 1024;

/// Takes no more bytes than there is room for, and charges the call for writing them.
struct Capped {
    written: Vec<u8>,
    room: Room,
    /// Bytes that the call was not charged for yet.
    owed: usize,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.room.take(bytes.len()).map_err(io::Error::other)?;
        self.owed += PIECE + bytes.len();
        if self.owed >= CHARGED {
            let owed = std::mem::take(&mut self.owed);
            self.room.charge(owed).map_err(io::Error::other)?;
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Texts beyond this may stand for one string of escapes, which takes long to read and is no value before its end: those are read
/// in the slower way, a byte at a time.
const LARGE: usize = 4 << 20;

/// A text that the call is charged for as it is read.
struct Metered<'a> {
    rest: &'a [u8],
    /// Bytes that the call was not charged for yet.
    owed: usize,
    room: Room,
}

impl io::Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.rest.read(buffer)?;
        self.owed += read;
        if self.owed >= CHARGED {
            let owed = std::mem::take(&mut self.owed);
            self.room.charge(owed).map_err(io::Error::other)?;
        }
        Ok(read)
    }
}

/// A value that is still to be read, and the room for it.
struct Seed<'a>(&'a mut Room);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.take_node().map_err(D::Error::custom)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        #[allow(clippy::cast_precision_loss, reason = "what does not fit is a float, as in JavaScript")]
        Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.0.take_bytes(text.len()).map_err(E::custom)?;
        Ok(Value::from(text))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        self.0.take_bytes(bytes.len()).map_err(E::custom)?;
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed(self.0))? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.take_bytes(key.len()).and_then(|()| self.0.take_entry(map.len())).map_err(A::Error::custom)?;
            map.insert(key, entries.next_value_seed(Seed(self.0))?);
        }
        Ok(Value::Map(map))
    }
}

/// Where no language is there, no call has a budget.
#[cfg(not(any(feature = "lua", feature = "rhai")))]
struct Room;

#[cfg(not(any(feature = "lua", feature = "rhai")))]
impl Room {
    fn of_call() -> Self {
        Self
    }

    fn take_node(&mut self) -> Result<(), std::convert::Infallible> {
        Ok(())
    }

    fn take(&mut self, _: usize) -> Result<(), std::convert::Infallible> {
        Ok(())
    }

    fn charge(&mut self, _: usize) -> Result<(), std::convert::Infallible> {
        Ok(())
    }

    fn take_bytes(&mut self, _: usize) -> Result<(), std::convert::Infallible> {
        Ok(())
    }

    fn take_entry(&mut self, _: usize) -> Result<(), std::convert::Infallible> {
        Ok(())
    }
}

#[cfg(any(feature = "lua", feature = "rhai"))]
#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::limits::Limits;
    use crate::meter;

    #[test]
    fn without_a_call_all_of_json_is_read_and_written() {
        let text = br#"{"a":[1,-2,2.5,true,null,"x"],"b":{},"c":[],"d":18446744073709551615}"#;
        let value = decode(text).unwrap();
        assert_eq!(value, serde_json::from_slice::<Value>(text).unwrap());
        assert_eq!(decode(&encode(&value).unwrap()).unwrap(), value);
        let fault = decode(b"[1,\n 2,, 3]").unwrap_err();
        assert_eq!((fault.line(), fault.column()), (2, 4));
        assert!(decode(b"[1] 2").is_err() && decode(b"").is_err());
        assert!(encode(&Value::Bytes(Bytes::from_static(b"\xff"))).is_err());
    }

    #[test]
    fn a_text_is_cut_where_it_becomes_too_long() {
        let value = Value::List(vec![Value::from("ab"), Value::from("c".repeat(100_000))]);
        let first = |most: usize| {
            let (text, length) = encode_first(&value, most).unwrap();
            (String::from_utf8(text).unwrap(), length)
        };
        assert_eq!(first(8), (r#"["ab","c"#.to_owned(), Length::Cut));
        assert_eq!(first(0), (String::new(), Length::Cut));
        let whole = first(1 << 20);
        assert_eq!((whole.0.len(), whole.1), (100_009, Length::Whole));
        assert_eq!(first(100_009).1, Length::Whole);
        assert_eq!(first(100_008).1, Length::Cut);
        assert!(encode_first(&Value::Bytes(Bytes::from_static(b"\xff")), 100).is_err());
    }

    #[test]
    fn what_becomes_larger_than_the_vm_is_refused() {
        let limits = Limits { memory: 1 << 20, ..Limits::default() };
        let _guard = meter::start(&limits, Instant::now() + Duration::from_secs(60));
        for part in ["[],", "{\"a\":1},", "1,", "\"\",", "[[[[]]]],"] {
            let text = format!("[{}0]", part.repeat(100_000));
            let fault = decode(text.as_bytes()).unwrap_err();
            assert!(fault.to_string().contains("memory limit"), "{part} {fault}");
        }
        let fault = encode(&Value::from("\u{1}".repeat(500_000))).unwrap_err();
        assert!(fault.to_string().contains("memory limit"), "{fault}");
        assert_eq!(meter::verdict(), None, "the script may go on with less");
    }

    #[test]
    fn a_large_text_is_looked_at_while_it_is_read() {
        let escapes = format!("\"{}\"", "\\u0001".repeat(LARGE / 6 + 1));
        assert_eq!(decode(escapes.as_bytes()).unwrap(), Value::from("\u{1}".repeat(LARGE / 6 + 1)));
        let faults =
            [format!("{escapes},"), format!("[{escapes}\n 1]")].map(|text| decode(text.as_bytes()).unwrap_err());
        assert_eq!(faults.map(|fault| (fault.line(), fault.column())), [(1, escapes.len() + 1), (2, 2)]);
        let limits = Limits { ticks: 40_000, ..Limits::default() };
        let _guard = meter::start(&limits, Instant::now() + Duration::from_secs(60));
        let fault = decode(escapes.as_bytes()).unwrap_err();
        assert!(fault.to_string().contains("limit") && meter::verdict().is_some(), "{fault}");
    }

    #[test]
    fn a_call_that_is_over_reads_and_writes_no_more() {
        let limits = Limits { ticks: 1000, ..Limits::default() };
        let guard = meter::start(&limits, Instant::now() + Duration::from_secs(60));
        let escapes = encode(&Value::from("\u{1}".repeat(10_000)));
        assert!(escapes.is_err() && meter::verdict().is_some(), "small pieces count");
        drop(guard);
        let _guard = meter::start(&limits, Instant::now() + Duration::from_secs(60));
        assert!(decode(format!("[{}0]", "1,".repeat(10_000)).as_bytes()).is_err());
        assert!(meter::verdict().is_some() && encode(&Value::from("x".repeat(2000))).is_err());
    }
}
