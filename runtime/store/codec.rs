//! Records as bytes: the record's format (two bytes, big-endian), then what the type writes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// The most bytes a record may take, its format number included: records are under 64 KiB.
pub const MAX_VALUE: usize = 64 * 1024 - 1;

/// A type that can be kept in a tree.
///
/// When the written shape changes, raise `FORMAT` and let [`Record::decode`] still read the older ones. A record of a newer
/// format never reaches `decode`: it is refused by name.
pub trait Record: Sized {
    /// The format that [`Record::encode`] writes.
    const FORMAT: u16;

    /// Appends the record; the error says why it cannot be written.
    ///
    /// # Errors
    /// A text that says why.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String>;

    /// Reads a record of `format`, which is at most `FORMAT`.
    ///
    /// # Errors
    /// A text that says what is wrong with the bytes.
    fn decode(format: u16, bytes: &[u8]) -> Result<Self, String>;
}

/// [`Record::encode`] for a type kept as JSON.
///
/// # Errors
/// What the serializer says.
pub fn to_json(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), String> {
    serde_json::to_writer(out, value).map_err(|error| error.to_string())
}

/// [`Record::decode`] for a type kept as JSON.
///
/// # Errors
/// What the parser says.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Plain numbers: counters and sequence numbers.
impl Record for u64 {
    const FORMAT: u16 = 1;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }

    fn decode(_format: u16, bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.try_into().map_err(|_| format!("a number takes 8 bytes, found {}", bytes.len()))?;
        Ok(Self::from_be_bytes(bytes))
    }
}

pub(super) fn encode<V: Record>(
    tree: &'static str,
    key: &dyn Fn() -> String,
    value: &V,
) -> Result<Vec<u8>, StoreError> {
    let mut out = V::FORMAT.to_be_bytes().to_vec();
    value.encode(&mut out).map_err(|cause| StoreError::Encode { tree, key: key(), cause })?;
    if out.len() > MAX_VALUE {
        return Err(StoreError::ValueTooLarge { tree, key: key(), size: out.len(), limit: MAX_VALUE });
    }
    Ok(out)
}

pub(super) fn decode<V: Record>(tree: &'static str, key: &dyn Fn() -> String, bytes: &[u8]) -> Result<V, StoreError> {
    let Some((format, body)) = bytes.split_first_chunk() else {
        return Err(StoreError::Corrupt { tree, key: key(), cause: "it has no format number".to_owned() });
    };
    let found = u16::from_be_bytes(*format);
    if found > V::FORMAT {
        return Err(StoreError::TooNew { tree, key: key(), found, known: V::FORMAT });
    }
    V::decode(found, body).map_err(|cause| StoreError::Corrupt { tree, key: key(), cause })
}
