//! A sum over all records, kept by the writer: it shows that a record is missing, or is an older one than was written.
//!
//! The engine underneath checks what it reads, but leaves out what it cannot read of an older part of its file and says
//! nothing. A sum that does not matter in which order it is made needs only what a write changes: what was there is taken from
//! it, what is there now is added. It is no proof against somebody who makes other records of the same sum on purpose.

/// How many records there are, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) records: u64,
    hashes: u128,
}

impl Sum {
    /// A record is there.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_add(1);
        self.hashes = self.hashes.wrapping_add(hash(key, value));
    }

    /// A record that was there is not any more.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_sub(1);
        self.hashes = self.hashes.wrapping_sub(hash(key, value));
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.records.to_be_bytes());
        out.extend_from_slice(&self.hashes.to_be_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (records, hashes) = bytes.split_first_chunk()?;
        Some(Self { records: u64::from_be_bytes(*records), hashes: u128::from_be_bytes(hashes.try_into().ok()?) })
    }
}

/// The first half of the BLAKE3 hash of the key's length, the key and the value.
fn hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(value);
    let mut half = [0; size_of::<u128>()];
    hasher.finalize_xof().fill(&mut half);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_of_the_records_that_are_there_in_whatever_order_they_came() {
        let mut one = Sum::default();
        one.add(b"a", b"1");
        one.add(b"b", b"2");
        one.take(b"a", b"1");
        one.add(b"a", b"3");
        let mut other = Sum::default();
        other.add(b"a", b"3");
        other.add(b"b", b"2");
        assert_eq!(one, other);
        other.take(b"b", b"2");
        other.add(b"b2", b"");
        assert_ne!(one, other, "where a key ends counts");
        let mut bytes = Vec::new();
        one.write(&mut bytes);
        assert_eq!((Sum::read(&bytes), Sum::read(&bytes[1..])), (Some(one), None));
    }
}
