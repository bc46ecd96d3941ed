//! Keys as bytes that sort as the keys do.
//!
//! | key | bytes |
//! |---|---|
//! | `u64` | 8 bytes, big-endian |
//! | text | its UTF-8 with each 00 as 00 FF, then 00 01: so no text's bytes are a prefix of another's |
//! | version | major, minor, patch; the pre-release (none sorts last); the build metadata |
//! | pair | one after the other |

use std::fmt::Debug;

use semver::{BuildMetadata, Prerelease, Version};

/// The most bytes an encoded key may take, its tree's name included.
pub const MAX_KEY: usize = 4096;

const ESCAPE: u8 = 0xFF;
const END: u8 = 0x01;
const NUMERIC: u8 = 0x02;
const ALPHANUMERIC: u8 = 0x03;
const PRE_RELEASE: u8 = 0x01;
const RELEASE: u8 = 0x02;

/// Something that encodes as the key type `K` does: `&str` for `String`, `(&str, &Version)` for `(String, Version)`.
pub trait KeyOf<K>: Debug {
    /// Appends the key's bytes.
    fn write(&self, out: &mut Vec<u8>);
}

/// A key type. For any two keys the order of their bytes is the order of the keys.
pub trait Key: KeyOf<Self> + Sized {
    /// Takes one key off the front of `bytes`; `None` when they are no such key.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

impl<K, T: KeyOf<K> + ?Sized> KeyOf<K> for &T {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

impl KeyOf<u64> for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl Key for u64 {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(Self::from_be_bytes(*head))
    }
}

impl KeyOf<String> for str {
    fn write(&self, out: &mut Vec<u8>) {
        write_stem(self, out);
        out.extend_from_slice(&[0, END]);
    }
}

impl KeyOf<String> for String {
    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }
}

impl Key for String {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut text = Vec::new();
        loop {
            let zero = bytes.iter().position(|byte| *byte == 0)?;
            text.extend_from_slice(&bytes[..zero]);
            let mark = *bytes.get(zero + 1)?;
            *bytes = &bytes[zero + 2..];
            match mark {
                END => return Self::from_utf8(text).ok(),
                ESCAPE => text.push(0),
                _ => return None,
            }
        }
    }
}

impl<A, B, X: KeyOf<A>, Y: KeyOf<B>> KeyOf<(A, B)> for (X, Y) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?))
    }
}

impl KeyOf<Version> for Version {
    fn write(&self, out: &mut Vec<u8>) {
        self.major.write(out);
        self.minor.write(out);
        self.patch.write(out);
        out.push(if self.pre.is_empty() { RELEASE } else { PRE_RELEASE });
        write_identifiers(&self.pre, out);
        write_identifiers(&self.build, out);
    }
}

impl Key for Version {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (major, minor, patch) = (u64::read(bytes)?, u64::read(bytes)?, u64::read(bytes)?);
        let kind = take(bytes, 1)?[0];
        let pre = Prerelease::new(&read_identifiers(bytes)?).ok()?;
        let build = BuildMetadata::new(&read_identifiers(bytes)?).ok()?;
        let expected = if pre.is_empty() { RELEASE } else { PRE_RELEASE };
        (kind == expected).then_some(Self { major, minor, patch, pre, build })
    }
}

/// Where a scan looks: a leading part of the keys.
#[derive(Debug, Clone, Default)]
pub struct Prefix(Vec<u8>);

impl Prefix {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The keys whose first part is `part`.
    pub fn of<K>(part: impl KeyOf<K>) -> Self {
        let mut bytes = Vec::new();
        part.write(&mut bytes);
        Self(bytes)
    }

    /// Of those, the keys whose next part is a text that begins with `stem`.
    #[must_use]
    pub fn stem(mut self, stem: &str) -> Self {
        write_stem(stem, &mut self.0);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn write_stem(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(ESCAPE);
        }
    }
}

/// Dotted identifiers in `semver`'s order: numbers before words, numbers by value and then by leading zeros.
fn write_identifiers(dotted: &str, out: &mut Vec<u8>) {
    for identifier in dotted.split('.') {
        if identifier.bytes().all(|byte| byte.is_ascii_digit()) {
            let digits = identifier.trim_start_matches('0');
            out.push(NUMERIC);
            write_length(digits.len(), out);
            out.extend_from_slice(digits.as_bytes());
            write_length(identifier.len(), out);
        } else {
            out.push(ALPHANUMERIC);
            identifier.write(out);
        }
    }
    out.push(END);
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    // A longer identifier could not fit a key (`MAX_KEY`); saturating keeps the encoding total all the same.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn read_identifiers(bytes: &mut &[u8]) -> Option<String> {
    let mut identifiers = Vec::new();
    loop {
        match take(bytes, 1)?[0] {
            END => return Some(identifiers.join(".")),
            NUMERIC => {
                let length = read_length(bytes)?;
                let digits = std::str::from_utf8(take(bytes, length)?).ok()?;
                let zeros = read_length(bytes)?.checked_sub(length).filter(|zeros| *zeros <= MAX_KEY)?;
                identifiers.push(format!("{}{digits}", "0".repeat(zeros)));
            }
            ALPHANUMERIC => identifiers.push(String::read(bytes)?),
            _ => return None,
        }
    }
}

fn read_length(bytes: &mut &[u8]) -> Option<usize> {
    let length = take(bytes, 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded<K: Key>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.write(&mut out);
        out
    }

    fn holds<K: Key + Ord + PartialEq>(a: &K, b: &K) -> Result<(), TestCaseError> {
        prop_assert_eq!(encoded(a).cmp(&encoded(b)), a.cmp(b));
        for key in [a, b] {
            let bytes = encoded(key);
            let mut rest = bytes.as_slice();
            let read = K::read(&mut rest);
            prop_assert_eq!(read.as_ref(), Some(key));
            prop_assert!(rest.is_empty());
        }
        Ok(())
    }

    fn version() -> impl Strategy<Value = Version> {
        let numbers = prop_oneof![0..4_u64, Just(255), Just(256), any::<u64>()];
        let pre = prop_oneof![
            Just(String::new()),
            "(0|[1-9][0-9]{0,3}|[a-c-]{1,3})(\\.(0|[1-9][0-9]{0,2}|[a-c][0-9]?)){0,3}"
        ];
        let build = prop_oneof![Just(String::new()), "[0-9a-c-]{1,4}(\\.[0-9a]{1,3}){0,3}"];
        (numbers.clone(), numbers.clone(), numbers, pre, build).prop_filter_map("a version", |(a, b, c, pre, build)| {
            Some(Version {
                major: a,
                minor: b,
                patch: c,
                pre: Prerelease::new(&pre).ok()?,
                build: BuildMetadata::new(&build).ok()?,
            })
        })
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[\\x00\\x01ab\u{ff}]{0,4}", any::<String>()]
    }

    proptest! {
        #[test]
        fn numbers_sort_as_their_bytes(a: u64, b: u64) {
            holds(&a, &b)?;
        }

        #[test]
        fn texts_sort_as_their_bytes(a in text(), b in text()) {
            holds(&a, &b)?;
        }

        #[test]
        fn pairs_sort_as_their_bytes(a in (text(), any::<u64>()), b in (text(), any::<u64>())) {
            holds(&a, &b)?;
        }

        #[test]
        fn versions_sort_as_their_bytes(a in version(), b in version()) {
            holds(&a, &b)?;
        }

        #[test]
        fn definitions_sort_as_their_bytes(a in ("[ab]{1,2}", version()), b in ("[ab]{1,2}", version())) {
            holds(&a, &b)?;
        }

        #[test]
        fn a_stem_is_a_prefix_of_the_keys_that_begin_with_it(stem in text(), rest in text(), other in text()) {
            let prefix = Prefix::of::<String>("ns").stem(&stem);
            let starts = |text: &String| encoded(&("ns".to_owned(), text.clone())).starts_with(prefix.bytes());
            let longer = format!("{stem}{rest}");
            prop_assert!(starts(&longer));
            prop_assert_eq!(starts(&other), other.starts_with(&stem));
        }

        #[test]
        fn foreign_bytes_are_refused_and_never_panic(bytes: Vec<u8>) {
            let _ = String::read(&mut bytes.as_slice());
            let _ = u64::read(&mut bytes.as_slice());
            if let Some(version) = Version::read(&mut bytes.as_slice()) {
                prop_assert!(bytes.starts_with(&encoded(&version)));
            }
        }
    }
}
